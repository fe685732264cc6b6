"""Subnets: read, decide, commit."""

from collections import defaultdict
from collections.abc import Sequence

from msgspec import UNSET

from alcor.contracts.store import Guard, NoneWhere, Query, Store
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.subnet import decisions, derived, sources
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.management_plane.subnet.siblings import Siblings
from alcor.management_plane.subnet.sources import Sources
from alcor.management_plane.subnet_pool import decisions as pool_decisions
from alcor.management_plane.turns import Turns
from alcor.model.records import ROUTER_INTERFACE, Network, Port, RecordSet, Subnet
from alcor.runtime.clock import Clock, new_ids


class SubnetService:
    """Makes, changes and removes subnets."""

    def __init__(self, store: Store, clock: Clock, turns: Turns | None = None) -> None:
        """`turns`: shared with whoever else gives prefixes back to pools."""
        self._store = store
        self._clock = clock
        self._turns = turns or Turns()

    async def create(self, caller: Caller, asks: Sequence[SubnetFields]) -> tuple[int, list[Subnet]]:
        """Make subnets, all or none; give the revision and the records in order.

        Every network is revised with its subnets, so that two writers cannot both fail to see an overlap; and
        every pool with what is cut from it, so that no prefix is given twice. Ports that are made meanwhile
        rest on the network: so each has an address of a subnet that all have one of.
        """
        ids = new_ids(len(asks))
        network_ids = sorted({str(fields.network_id) for fields in asks})
        for fields in asks:
            decisions.check_source(fields)
        effort = derived.Effort()

        async def attempt() -> tuple[int, list[Subnet]]:
            networks = await access.fetch_all_own(self._store, caller, Network, network_ids, "create_subnet")
            siblings: dict[str, Siblings] = defaultdict(Siblings)
            beside = await self._store.select(Subnet, Query(where={"network_id": network_ids}))
            for subnet in beside:
                siblings[subnet.network_id].add(subnet)
            pools = Sources(self._store, caller)
            await pools.read(asks, beside)
            now_us = self._clock.now_us()
            made = []
            for fields, subnet_id in zip(asks, ids, strict=True):
                network = networks[str(fields.network_id)]
                project_id = network.project_id if fields.project_id is UNSET else fields.project_id
                fields, pool = await pools.cut(fields, project_id)
                ip_version = decisions.version_of(fields)
                decisions.check_affinity(pool, siblings[network.id], pools.held, ip_version)
                subnet = decisions.create(
                    fields,
                    subnet_id=subnet_id,
                    network=network,
                    siblings=siblings[network.id],
                    caller=caller,
                    now_us=now_us,
                    pool=pool,
                )
                siblings[network.id].add(subnet)
                made.append(subnet)
            ports, port_guards = await self._joined(made, now_us)
            effort.spend(ports)
            write = writes.making(
                caller,
                inserts=RecordSet(subnets=tuple(made)),
                within=("subnet",),
                updates=RecordSet(
                    ports=tuple(ports),
                    networks=tuple(settlement.revised(network, now_us) for network in networks.values()),
                    subnetpools=pools.revised(now_us),
                ),
                guards=(
                    *writes.unchanged(networks.values()),
                    *pools.guards(),
                    *port_guards,
                ),
            )
            return await self._store.commit(write), made

        async with self._turns.of(_keys(asks)):
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
            write = writes.changing(caller, before, updates=RecordSet(subnets=(after,)))
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, subnet_id: str, *, expected: int | None) -> int:
        """Remove a subnet. Raises Conflict SubnetInUse while a port has an address of it.

        Addresses that follow from MAC addresses are taken from their ports, but not from a router's.
        """
        effort = derived.Effort()

        async def attempt() -> int:
            subnet = await access.fetch_own(self._store, caller, Subnet, subnet_id, "delete_subnet")
            settlement.check_expected(subnet, expected)
            many = derived.PORTS_MAX + 1 if subnet.is_derived else 1
            users = Query(where={"fixed_ips.subnet_id": (subnet.id,)}, limit=many)
            held = await self._store.select(Port, users)
            ports = derived.parted(held, subnet, self._clock.now_us())
            effort.spend(ports)
            async with self._turns.of(sources.ids_of([subnet])):
                pools = await sources.of(self._store, [subnet])
                back = pool_decisions.given_back(pools, [subnet], now_us=self._clock.now_us())
                write = writes.removing(
                    caller,
                    subnet,
                    deletes=RecordSet(subnets=(subnet,)),
                    updates=RecordSet(subnetpools=tuple(back), ports=tuple(ports)),
                    guards=(
                        NoneWhere("port", "fixed_ips.subnet_id", subnet.id),  # but for those that lose theirs
                        *writes.unchanged((*held, *pools.values())),
                    ),
                )
                return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def _joined(self, made: Sequence[Subnet], now_us: int) -> tuple[list[Port], list[Guard]]:
        """Give the ports that get addresses of new subnets, and guard that there are no others. O(ports)."""
        found: list[Port] = []
        guards: list[Guard] = []
        for network_id in sorted({subnet.network_id for subnet in made if subnet.is_derived}):
            on_it = Query(where={"network_id": (network_id,)}, limit=derived.PORTS_MAX + 1)
            held = await self._store.select(Port, on_it)
            joined = derived.joined(held, [it for it in made if it.network_id == network_id], now_us)
            changed = {port.id for port in joined}
            others = tuple(port.id for port in held if port.id not in changed)
            guards += [NoneWhere("port", "network_id", network_id, but=others), *writes.unchanged(held)]
            found += joined
        return found, guards

    async def _routers_on(self, subnet_id: str) -> Sequence[Port]:
        where = {"fixed_ips.subnet_id": (subnet_id,), "device_owner": (ROUTER_INTERFACE,)}
        return await self._store.select(Port, Query(where=where))


def _keys(asks: Sequence[SubnetFields]) -> set[str]:
    """Name the pools that are asked, as far as they are named."""
    named = {fields.subnetpool_id for fields in asks if isinstance(fields.subnetpool_id, str)}
    return named | {sources.DEFAULT for fields in asks if fields.use_default_subnetpool is True}
