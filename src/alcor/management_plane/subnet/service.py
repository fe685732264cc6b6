"""Subnets: read, decide, commit."""

from collections import defaultdict
from collections.abc import Sequence

from msgspec import UNSET

from alcor.contracts.store import NoneWhere, Query, Store, Unchanged, Write
from alcor.management_plane import access, settlement
from alcor.management_plane.caller import Caller
from alcor.management_plane.subnet import decisions
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.model import errors
from alcor.model.records import ROUTER_INTERFACE, Network, Port, RecordSet, Subnet
from alcor.runtime.clock import Clock, new_ids


class SubnetService:
    """Makes, changes and removes subnets."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, caller: Caller, asks: Sequence[SubnetFields]) -> tuple[int, list[Subnet]]:
        """Make subnets, all or none; give the revision and the records in order.

        Every network is revised with its subnets, so that two writers cannot both fail to see an overlap.
        """
        ids = new_ids(len(asks))
        network_ids = sorted({str(fields.network_id) for fields in asks})

        async def attempt() -> tuple[int, list[Subnet]]:
            networks = await access.fetch_all_own(self._store, caller, Network, network_ids, "create_subnet")
            siblings: dict[str, list[Subnet]] = defaultdict(list)
            for subnet in await self._store.select(Subnet, Query(where={"network_id": network_ids})):
                siblings[subnet.network_id].append(subnet)
            now_us = self._clock.now_us()
            made = []
            for fields, subnet_id in zip(asks, ids, strict=True):
                network = networks[str(fields.network_id)]
                subnet = decisions.create(
                    fields,
                    subnet_id=subnet_id,
                    network=network,
                    siblings=siblings[network.id],
                    caller=caller,
                    now_us=now_us,
                )
                siblings[network.id].append(subnet)
                made.append(subnet)
            write = Write(
                request_id=caller.request_id,
                actor=caller.actor,
                project_id=caller.project_id,
                inserts=RecordSet(subnets=tuple(made)),
                within=("subnet",),
                once=caller.once,
                updates=RecordSet(
                    networks=tuple(settlement.revised(network, now_us) for network in networks.values())
                ),
                guards=tuple(
                    Unchanged("network", network.id, network.revision_number) for network in networks.values()
                ),
            )
            return await self._store.commit(write), made

        return await settlement.settle(attempt)

    async def update(
        self, caller: Caller, subnet_id: str, fields: SubnetFields, *, expected: int | None
    ) -> tuple[int, Subnet]:
        """Change a subnet."""

        async def attempt() -> tuple[int, Subnet]:
            before = await access.fetch_own(self._store, caller, Subnet, subnet_id, "update_subnet")
            settlement.check_expected(before, expected)
            routers = [] if fields.gateway_ip is UNSET else await self._routers_on(subnet_id)
            after = decisions.update(before, fields, routers, now_us=self._clock.now_us())
            write = Write(
                request_id=caller.request_id,
                actor=caller.actor,
                project_id=before.project_id,
                updates=RecordSet(subnets=(after,)),
                guards=(Unchanged("subnet", before.id, before.revision_number),),
            )
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, subnet_id: str, *, expected: int | None) -> int:
        """Remove a subnet. Raises Conflict SubnetInUse while a port has an address of it."""

        async def attempt() -> int:
            subnet = await access.fetch_own(self._store, caller, Subnet, subnet_id, "delete_subnet")
            settlement.check_expected(subnet, expected)
            users = Query(where={"fixed_ips.subnet_id": (subnet.id,)}, limit=1)
            if await self._store.select(Port, users):
                raise errors.Conflict(
                    f"Unable to complete operation on subnet {subnet.id}: "
                    "One or more ports have an IP allocation from this subnet.",
                    reason="SubnetInUse",
                )
            write = Write(
                request_id=caller.request_id,
                actor=caller.actor,
                project_id=subnet.project_id,
                deletes=RecordSet(subnets=(subnet,)),
                guards=(NoneWhere("port", "fixed_ips.subnet_id", subnet.id),),
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def _routers_on(self, subnet_id: str) -> Sequence[Port]:
        where = {"fixed_ips.subnet_id": (subnet_id,), "device_owner": (ROUTER_INTERFACE,)}
        return await self._store.select(Port, Query(where=where))
