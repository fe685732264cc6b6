"""The pools that new subnets are cut from, read for one attempt and cut one ask after the other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from alcor.contracts.store import Guard, Query, Store
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.subnet import decisions
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.management_plane.subnet_pool import decisions as pool_decisions
from alcor.model.addressing import Cidr
from alcor.model.records import RbacPolicy, Subnet, SubnetPool

DEFAULT = "default"  # the turn of who asks for the default pool, whichever that is


def ids_of(subnets: Iterable[Subnet]) -> list[str]:
    """Name the pools that subnets are from."""
    return sorted({it.subnetpool_id for it in subnets if it.subnetpool_id is not None})


async def of(store: Store, subnets: Iterable[Subnet]) -> Mapping[str, SubnetPool]:
    """Read the pools that subnets are from. Raises Again when one is gone, and so are they."""
    ids = ids_of(subnets)
    found = await store.get(SubnetPool, ids) if ids else {}
    if len(found) != len(ids):
        raise settlement.Again
    return found


class Sources:
    """Owner of the pools as they are after what was cut so far."""

    def __init__(self, store: Store, caller: Caller) -> None:
        self._store = store
        self._caller = caller
        self._read: dict[str, SubnetPool] = {}
        self._grants: list[RbacPolicy] = []  # by which the caller uses what is not its own
        self._defaults: dict[int, SubnetPool] = {}  # by IP version
        self._used: dict[tuple[str, str], int] = defaultdict(int)  # by pool and project, where it matters
        self.held: dict[str, SubnetPool] = {}

    async def read(self, asks: Sequence[SubnetFields], siblings: Sequence[Subnet]) -> None:
        """Read the pools that are asked for and those of subnets that are there. Raises Missing, Invalid."""
        named = sorted({it.subnetpool_id for it in asks if isinstance(it.subnetpool_id, str)})
        found = await self._store.get(SubnetPool, named) if named else {}
        versions = sorted({_version(it) for it in asks if it.use_default_subnetpool is True})
        defaults = await _default_pools(self._store, versions)
        grants = await access.grants_for(self._store, self._caller, [*found.values(), *defaults])
        access.require(self._caller, SubnetPool, found, named, grants)
        self._grants = list(grants.values())
        self._read |= found
        for pool in defaults:
            if self._caller.sees(pool) or pool.id in grants:
                self._defaults[pool.ip_version] = self._read[pool.id] = pool
        for version in versions:
            if version not in self._defaults:
                raise decisions.no_default_pool(version)
        self._read |= await of(self._store, siblings)
        self.held = dict(self._read)

    async def cut(self, fields: SubnetFields, project_id: str) -> tuple[SubnetFields, SubnetPool | None]:
        """Give the ask with the range that it gets, and the pool it is from. Raises Invalid, Conflict."""
        if isinstance(fields.subnetpool_id, str):
            pool = self.held[fields.subnetpool_id]
        elif fields.use_default_subnetpool is True:
            pool = self.held[self._defaults[_version(fields)].id]
        else:
            return fields, None
        decisions.check_pool_version(fields, pool)
        used = await self._used_of(pool, project_id)
        cidr, after = pool_decisions.cut(
            pool,
            cidr=fields.cidr if isinstance(fields.cidr, Cidr) else None,
            prefix_len=fields.prefixlen if isinstance(fields.prefixlen, int) else None,
            used=used,
        )
        self._used[pool.id, project_id] = used + cidr.size
        self.held[pool.id] = after
        return msgspec.structs.replace(fields, cidr=cidr), after

    def revised(self, now_us: int) -> tuple[SubnetPool, ...]:
        """Give the pools that something was cut from, as they are to be."""
        return tuple(
            settlement.revised(pool, now_us)
            for id_, pool in sorted(self.held.items())
            if pool is not self._read[id_]
        )

    def guards(self) -> list[Guard]:
        """Guard all that was read: which scope a network is in rests on pools that nothing was cut from."""
        return [
            *writes.unchanged(self._read[id_] for id_ in sorted(self._read)),
            *writes.unchanged(self._grants),
        ]

    async def _used_of(self, pool: SubnetPool, project_id: str) -> int:
        """Count the addresses of a pool that a project has. O(its subnets from there); 0 where nobody asks."""
        if not pool.default_quota:
            return 0
        key = (pool.id, project_id)
        if key not in self._used:
            where = {"subnetpool_id": (pool.id,), "project_id": (project_id,)}
            held = await self._store.select(Subnet, Query(where=where))
            self._used[key] = sum(Cidr(*subnet.cidr).size for subnet in held)
        return self._used[key]


def _version(fields: SubnetFields) -> int:
    return settlement.either(fields.ip_version, 4)


async def _default_pools(store: Store, versions: Sequence[int]) -> list[SubnetPool]:
    """Give the region's default pools of some IP versions, whosever they are, as far as there are some."""
    if not versions:
        return []
    return await store.select(SubnetPool, Query(where={"default_version": tuple(versions)}))
