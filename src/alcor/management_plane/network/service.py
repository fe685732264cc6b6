"""Networks: read, decide, commit."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET

from alcor.contracts.store import Query, Store, Taken
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.network import decisions
from alcor.management_plane.network.decisions import NetworkFields
from alcor.management_plane.rbac_policy import decisions as policy_decisions
from alcor.management_plane.rbac_policy import sharing
from alcor.management_plane.subnet import sources
from alcor.management_plane.turns import Turns
from alcor.management_plane.zones import ZoneBook
from alcor.model import errors
from alcor.model.records import Network, Port, RecordSet, Subnet, SubnetPool
from alcor.runtime.clock import Clock, new_ids, random_bytes


class Contents(msgspec.Struct, frozen=True):
    """What a network shows of what is in it."""

    subnet_ids: list[str]  # ascending
    scope_ids: Mapping[int, str | None] = {}  # by IP version: of its subnets, which are all in the same


class NetworkService:
    """Makes, changes and removes networks."""

    def __init__(
        self, store: Store, clock: Clock, turns: Turns | None = None, zones: ZoneBook | None = None
    ) -> None:
        """`turns`: shared with whoever else gives prefixes back to pools. `zones`: with whoever else asks."""
        self._store = store
        self._clock = clock
        self._turns = turns or Turns()
        self._zones = zones or ZoneBook(store)

    async def create(self, caller: Caller, asks: Sequence[NetworkFields]) -> tuple[int, list[Network]]:
        """Make networks, all or none; give the revision and the records in order."""
        await self._zones.require(hint for fields in asks for hint in settlement.either(fields.zone_hints, ()))
        ids = new_ids(len(asks))

        async def attempt() -> tuple[int, list[Network]]:
            now_us = self._clock.now_us()
            networks = [
                decisions.create(
                    fields,
                    network_id=network_id,
                    caller=caller,
                    drawn_vni=decisions.vni_from(random_bytes(3)),
                    now_us=now_us,
                )
                for fields, network_id in zip(asks, ids, strict=True)
            ]
            write = writes.making(
                caller,
                inserts=RecordSet(
                    networks=tuple(networks), rbac_policies=sharing.openings(asks, networks, now_us)
                ),
                within=("network",),
            )
            try:
                return await self._store.commit(write), networks
            except Taken as taken:
                if taken.constraint != "vni":
                    raise
                if any(fields.vni is not UNSET and fields.vni == taken.value for fields in asks):
                    raise errors.Conflict(
                        f"Unable to create the network. The tunnel ID {taken.value} is in use.",
                        reason="TunnelIdInUse",
                    ) from taken
                raise settlement.Again from taken

        return await settlement.settle(attempt)

    async def update(
        self, caller: Caller, network_id: str, fields: NetworkFields, *, expected: int | None
    ) -> tuple[int, Network]:
        """Change a network."""

        async def attempt() -> tuple[int, Network]:
            before = await access.fetch_own(self._store, caller, Network, network_id, "update_network")
            settlement.check_expected(before, expected)
            now_us = self._clock.now_us()
            after = decisions.update(before, fields, now_us=now_us)
            if not decisions.carries_ipv6(after) and await self._has_ipv6(before.id):
                decisions.check_carries_ipv6(after)
            write = writes.changing(caller, before, updates=RecordSet(networks=(after,)))
            in_use = policy_decisions.sharing_in_use(before.id)
            revision = await sharing.commit(self._store, write, before, fields, now_us, in_use=in_use)
            return revision, after

        return await settlement.settle(attempt)

    async def _has_ipv6(self, network_id: str) -> bool:
        """Has the network a subnet of IPv6? One that is made meanwhile changes the network: this stays true."""
        of_ipv6 = Query(where={"network_id": (network_id,), "ip_version": (6,)}, limit=1)
        return bool(await self._store.select(Subnet, of_ipv6))

    async def delete(self, caller: Caller, network_id: str, *, expected: int | None) -> int:
        """Remove a network and its subnets. Raises Conflict NetworkInUse while a port is on it."""

        async def attempt() -> int:
            network = await access.fetch_own(self._store, caller, Network, network_id, "delete_network")
            settlement.check_expected(network, expected)
            where = {"network_id": (network.id,)}
            if await self._store.select(Port, Query(where=where, limit=1)):
                raise errors.Conflict(
                    f"Unable to complete operation on network {network.id}. "
                    "There are one or more ports still in use on the network.",
                    reason="NetworkInUse",
                )
            subnets = await self._store.select(Subnet, Query(where=where))
            policies = await access.policies_on(self._store, network.id)
            async with self._turns.of(sources.ids_of(subnets)):
                pools = await sources.of(self._store, subnets)
                now_us = self._clock.now_us()
                write = decisions.delete(network, subnets, policies, caller, pools=pools, now_us=now_us)
                return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def contents(self, networks: Sequence[Network]) -> dict[str, Contents]:
        """Give what is in each network."""
        if not networks:
            return {}
        subnets: dict[str, list[Subnet]] = {network.id: [] for network in networks}
        for subnet in await self._store.select(Subnet, Query(where={"network_id": tuple(subnets)})):
            subnets[subnet.network_id].append(subnet)
        pool_ids = {it.subnetpool_id for group in subnets.values() for it in group} - {None}
        pools = await self._store.get(SubnetPool, sorted(map(str, pool_ids))) if pool_ids else {}
        return {
            network_id: Contents([subnet.id for subnet in group], _scopes(group, pools))
            for network_id, group in subnets.items()
        }


def _scopes(subnets: Sequence[Subnet], pools: Mapping[str, SubnetPool]) -> dict[int, str | None]:
    """Name the scopes that subnets of a network are in, by IP version."""
    return {
        it.ip_version: pools[it.subnetpool_id].address_scope_id
        for it in subnets
        if it.subnetpool_id is not None and it.subnetpool_id in pools
    }
