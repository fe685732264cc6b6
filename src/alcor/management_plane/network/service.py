"""Networks: read, decide, commit."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from alcor.contracts.store import NotBorrowed, Query, Stale, Store, Taken, Unchanged, Write
from alcor.management_plane import access, settlement
from alcor.management_plane.caller import Caller
from alcor.management_plane.network import decisions
from alcor.management_plane.network.decisions import NetworkFields
from alcor.management_plane.rbac_policy import decisions as policy_decisions
from alcor.model import errors
from alcor.model.records import EVERYBODY, Network, Port, RbacPolicy, RecordSet, Subnet
from alcor.runtime.clock import Clock, new_ids, random_bytes


class NetworkService:
    """Makes, changes and removes networks."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, caller: Caller, asks: Sequence[NetworkFields]) -> tuple[int, list[Network]]:
        """Make networks, all or none; give the revision and the records in order."""
        ids = new_ids(len(asks))
        open_ids = dict(zip(ids, new_ids(len(asks)), strict=True))

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
            write = Write(
                request_id=caller.request_id,
                actor=caller.actor,
                project_id=caller.project_id,
                inserts=RecordSet(
                    networks=tuple(networks),
                    rbac_policies=tuple(
                        _opening(network, open_ids[network.id], now_us)
                        for fields, network in zip(asks, networks, strict=True)
                        if fields.shared is True
                    ),
                ),
                within=("network",),
                once=caller.once,
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
            write = Write(
                request_id=caller.request_id,
                actor=caller.actor,
                project_id=before.project_id,
                updates=RecordSet(networks=(after,)),
                guards=(Unchanged("network", before.id, before.revision_number),),
            )
            if fields.shared is not UNSET:
                write = await self._sharing(write, before, now_us, shared=fields.shared)
            try:
                return await self._store.commit(write), after
            except Taken as taken:
                raise settlement.Again from taken  # somebody else shares it just now
            except Stale as stale:
                if isinstance(stale.guard, NotBorrowed):
                    raise policy_decisions.sharing_in_use(before.id) from stale
                raise

        return await settlement.settle(attempt)

    async def _sharing(self, write: Write, network: Network, now_us: int, *, shared: bool) -> Write:
        """Have the write share the network with everybody, or no longer."""
        policies = await access.policies_on(self._store, network.id)
        opening = [policy for policy in policies if policy.target == EVERYBODY]
        if shared == bool(opening):
            return write
        if shared:
            policy = _opening(network, new_ids(1)[0], now_us)
            return msgspec.structs.replace(write, inserts=RecordSet(rbac_policies=(policy,)))
        others = [policy for policy in policies if policy.target != EVERYBODY]
        return msgspec.structs.replace(
            write,
            deletes=RecordSet(rbac_policies=tuple(opening)),
            guards=(*write.guards, *policy_decisions.without(opening[0], network, others)),
        )

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
            return await self._store.commit(decisions.delete(network, subnets, policies, caller))

        return await settlement.settle(attempt)

    async def subnet_ids(self, networks: Sequence[Network]) -> dict[str, list[str]]:
        """Name the subnets of each network, ascending."""
        by_network: dict[str, list[str]] = {network.id: [] for network in networks}
        if not by_network:
            return {}
        for subnet in await self._store.select(Subnet, Query(where={"network_id": tuple(by_network)})):
            by_network[subnet.network_id].append(subnet.id)
        return by_network


def _opening(network: Network, policy_id: str, now_us: int) -> RbacPolicy:
    """Make the policy that shares a network with everybody: `shared` is a view of it."""
    return policy_decisions.made(
        policy_decisions.object_type_of(Network),
        network,
        EVERYBODY,
        project_id=network.project_id,
        policy_id=policy_id,
        now_us=now_us,
    )
