"""Subnet pools: read, decide, commit."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.contracts.store import Guard, NoneWhere, Query, Store
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.rbac_policy import sharing
from alcor.management_plane.subnet import sources
from alcor.management_plane.subnet_pool import decisions
from alcor.management_plane.subnet_pool.decisions import Scoped, SubnetPoolFields
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.records import AddressScope, Network, RecordSet, Subnet, SubnetPool
from alcor.runtime.clock import Clock, new_ids

Decide = Callable[[SubnetPool, Scoped | None, int], SubnetPool]  # `now_us` last


class SubnetPoolService:
    """Makes, changes and removes subnet pools.

    Whoever changes which prefixes a scope holds revises the scope, so that two writers cannot both fail to see
    that pools would overlap. Whoever moves subnets to another scope guards their networks, so that the subnets
    of a network stay in one.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, caller: Caller, asks: Sequence[SubnetPoolFields]) -> tuple[int, list[SubnetPool]]:
        """Make pools, all or none; give the revision and the records in order."""
        ids = new_ids(len(asks))

        async def attempt() -> tuple[int, list[SubnetPool]]:
            now_us = self._clock.now_us()
            scopes: dict[str, Scoped] = {}
            made: list[SubnetPool] = []
            for fields, pool_id in zip(asks, ids, strict=True):
                scope_id = None if fields.address_scope_id is UNSET else fields.address_scope_id
                if scope_id is not None and scope_id not in scopes:
                    scopes[scope_id] = await self._scoped_anew(caller, scope_id)
                scoped = scopes[scope_id] if scope_id is not None else None
                pool = decisions.create(fields, pool_id=pool_id, scoped=scoped, caller=caller, now_us=now_us)
                if scoped is not None:
                    scopes[scoped.scope.id] = msgspec.structs.replace(scoped, pools=(*scoped.pools, pool))
                made.append(pool)
            await self._check_defaults(None, made)
            revised, guards = _scopes_revised(scopes.values(), now_us)
            write = writes.making(
                caller,
                inserts=RecordSet(subnetpools=tuple(made), rbac_policies=sharing.openings(asks, made, now_us)),
                updates=RecordSet(address_scopes=revised),
                guards=(*guards, *_default_guards(made)),
                within=("subnetpool",),
            )
            return await self._store.commit(write), made

        return await settlement.settle(attempt)

    async def update(
        self, caller: Caller, pool_id: str, fields: SubnetPoolFields, *, expected: int | None
    ) -> tuple[int, SubnetPool]:
        """Change a pool."""

        def decide(pool: SubnetPool, scoped: Scoped | None, now_us: int) -> SubnetPool:
            settlement.check_expected(pool, expected)
            return decisions.update(pool, fields, scoped=scoped, now_us=now_us)

        return await self._changed(
            caller, pool_id, decide, "update_subnetpool", scope_id=fields.address_scope_id
        )

    async def add_prefixes(self, caller: Caller, pool_id: str, more: Sequence[Cidr]) -> tuple[int, SubnetPool]:
        """Extend a pool."""
        return await self._changed(
            caller,
            pool_id,
            lambda pool, scoped, now_us: decisions.with_more(pool, more, scoped=scoped, now_us=now_us),
            "add_prefixes",
        )

    async def remove_prefixes(
        self, caller: Caller, pool_id: str, fewer: Sequence[Cidr]
    ) -> tuple[int, SubnetPool]:
        """Take prefixes that no subnet is from out of a pool."""
        return await self._changed(
            caller,
            pool_id,
            lambda pool, _, now_us: decisions.with_fewer(pool, fewer, now_us=now_us),
            "remove_prefixes",
        )

    async def onboard(self, caller: Caller, pool_id: str, network_id: str) -> tuple[int, list[Subnet]]:
        """Make the subnets of a network subnets from the pool, which is extended by their prefixes."""

        async def attempt() -> tuple[int, list[Subnet]]:
            pool = await access.fetch_own(self._store, caller, SubnetPool, pool_id, "onboard_network_subnets")
            network = await access.fetch_own(
                self._store, caller, Network, network_id, "onboard_network_subnets"
            )
            subnets = await self._subnets([network.id], pool.ip_version)
            await self._check_owner(caller, pool)
            scoped = await self._scoped(pool.address_scope_id)
            now_us = self._clock.now_us()
            after = decisions.with_subnets(pool, subnets, scoped=scoped, now_us=now_us)
            former = await sources.of(self._store, subnets)
            moved = [settlement.revised(subnet, now_us, subnetpool_id=pool.id) for subnet in subnets]
            scopes, guards = _scopes_revised(() if scoped is None else (scoped,), now_us)
            write = writes.changing(
                caller,
                pool,
                updates=RecordSet(
                    subnetpools=(after, *decisions.given_back(former, subnets, now_us=now_us)),
                    subnets=tuple(moved),
                    networks=(settlement.revised(network, now_us),),
                    address_scopes=scopes,
                ),
                guards=(
                    *guards,
                    *writes.unchanged([network, *subnets, *former.values()]),
                ),
            )
            return await self._store.commit(write), moved

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, pool_id: str, *, expected: int | None) -> int:
        """Remove a pool. Raises Invalid SubnetPoolDeleteError while a subnet is from it."""

        async def attempt() -> int:
            pool = await access.fetch_own(self._store, caller, SubnetPool, pool_id, "delete_subnetpool")
            settlement.check_expected(pool, expected)
            decisions.check_deletable(pool)
            policies = await access.policies_on(self._store, pool.id)
            write = writes.removing(
                caller,
                pool,
                # Subnets cut from it revise it, so this is the guard.
                deletes=RecordSet(subnetpools=(pool,), rbac_policies=tuple(policies)),
                guards=(NoneWhere("rbac_policy", "object_id", pool.id),),  # but for those that go with it
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def _changed(
        self,
        caller: Caller,
        pool_id: str,
        decide: Decide,
        action: str,
        *,
        scope_id: str | UnsetType | None = UNSET,
    ) -> tuple[int, SubnetPool]:
        """Commit what is decided about a pool. `scope_id`: the scope that it is to be in; UNSET: as before."""

        async def attempt() -> tuple[int, SubnetPool]:
            before = await access.fetch_own(self._store, caller, SubnetPool, pool_id, action)
            await self._check_owner(caller, before)
            if scope_id is UNSET or scope_id == before.address_scope_id:
                scoped = await self._scoped(before.address_scope_id)
            else:
                scoped = None if scope_id is None else await self._scoped_anew(caller, scope_id)
            now_us = self._clock.now_us()
            after = decide(before, scoped, now_us)
            await self._check_defaults(before, [after])
            guards: list[Guard] = []
            if after.is_default and not before.is_default:
                guards += _default_guards([after])
            if after.address_scope_id != before.address_scope_id:
                guards += await self._affinity_guards(before)
            scopes: tuple[AddressScope, ...] = ()
            if (after.address_scope_id, after.prefixes) != (before.address_scope_id, before.prefixes):
                scopes, scope_guards = _scopes_revised(() if scoped is None else (scoped,), now_us)
                guards += scope_guards
            write = writes.changing(
                caller,
                before,
                updates=RecordSet(subnetpools=(after,), address_scopes=scopes),
                guards=tuple(guards),
            )
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def _scoped_anew(self, caller: Caller, scope_id: str) -> Scoped:
        """Read a scope that the caller names, and what is in it. Raises Missing."""
        _, grants = await access.fetch_granted(self._store, caller, AddressScope, [scope_id])
        scoped = await self._scoped(scope_id)
        assert scoped is not None
        return msgspec.structs.replace(scoped, grants=tuple(grants.values()))

    async def _scoped(self, scope_id: str | None) -> Scoped | None:
        """Read the scope that a pool is in, whoever's it is, and the pools in it. O(those pools)."""
        if scope_id is None:
            return None
        scope = (await self._store.get(AddressScope, [scope_id])).get(scope_id)
        if scope is None:
            raise settlement.Again  # removed since the pool was read, which left it before
        pools = await self._store.select(SubnetPool, Query(where={"address_scope_id": (scope_id,)}))
        return Scoped(scope, pools)

    async def _check_owner(self, caller: Caller, pool: SubnetPool) -> None:
        """Raise Invalid for a pool in a scope that is somebody else's."""
        if pool.address_scope_id is None or caller.is_admin:
            return
        scope = (await self._store.get(AddressScope, [pool.address_scope_id])).get(pool.address_scope_id)
        if scope is not None and scope.project_id != caller.project_id:
            raise errors.Invalid(
                f"Illegal subnetpool update : subnetpool {pool.id} cannot be updated when associated with "
                f"shared address scope {pool.address_scope_id}.",
                reason="IllegalSubnetPoolUpdate",
            )

    async def _check_defaults(self, before: SubnetPool | None, after: Sequence[SubnetPool]) -> None:
        """Raise Invalid for a second default pool of an IP version."""
        versions = [pool.ip_version for pool in after if pool.is_default]
        if not versions or (before is not None and before.is_default):
            return
        where = {"default_version": tuple(versions)}
        held = await self._store.select(SubnetPool, Query(where=where, limit=1))
        if held or len(set(versions)) != len(versions):
            raise decisions.second_default()

    async def _subnets(self, network_ids: Sequence[str], ip_version: int) -> list[Subnet]:
        return await self._store.select(
            Subnet, Query(where={"network_id": network_ids, "ip_version": (ip_version,)})
        )

    async def _affinity_guards(self, pool: SubnetPool) -> list[Guard]:
        """Guard the networks whose subnets change their scope. Raises Invalid when one has others too.

        O(subnets from the pool and beside them): for scopes that change under subnets only.
        """
        subnets = await self._store.select(Subnet, Query(where={"subnetpool_id": (pool.id,)}))
        if not subnets:
            return []
        network_ids = sorted({subnet.network_id for subnet in subnets})
        beside = await self._subnets(network_ids, pool.ip_version)
        if any(subnet.subnetpool_id != pool.id for subnet in beside):
            raise decisions.scope_affinity()
        networks = await self._store.get(Network, network_ids)
        if len(networks) != len(network_ids):
            raise settlement.Again  # one was removed meanwhile, with its subnets
        return list(writes.unchanged(networks.values()))


def _default_guards(pools: Sequence[SubnetPool]) -> list[Guard]:
    return [NoneWhere("subnetpool", "default_version", it.ip_version) for it in pools if it.is_default]


def _scopes_revised(scopes: Iterable[Scoped], now_us: int) -> tuple[tuple[AddressScope, ...], list[Guard]]:
    """Give the scopes one revision further, and the guards that nobody else did so."""
    them = list(scopes)
    found = [scoped.scope for scoped in them]
    return (
        tuple(settlement.revised(scope, now_us) for scope in found),
        [
            *writes.unchanged(found),
            *writes.unchanged(grant for scoped in them for grant in scoped.grants),
        ],
    )
