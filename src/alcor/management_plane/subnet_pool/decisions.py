"""What a subnet pool may be, and which prefixes it gives. Pure.

    prefixes   |-------------------------|     what the pool is made of
    subnets    |##|      |####|                 cut from it
    free          |------|    |----------|     the rest: always prefixes without subnets

`free` is kept with the pool, so that no subnet need be read to find room, and two writers of one pool exclude
each other.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane import settlement
from alcor.management_plane.caller import Caller
from alcor.management_plane.settlement import given, revised
from alcor.management_plane.subnet import ranges
from alcor.model import errors, prefixes
from alcor.model.addressing import Cidr
from alcor.model.ids import AddressScopeId, SubnetPoolId
from alcor.model.prefixes import Prefix
from alcor.model.records import AddressScope, RbacPolicy, Subnet, SubnetPool

PREFIXES_MAX = 1000  # of one pool, as clients give them


class _Lengths(msgspec.Struct, frozen=True):
    """Prefix lengths of an IP version: the bounds when nobody says others, and what quotas count."""

    least: int
    most: int
    unit: int

    def units(self, size: int) -> Fraction:
        """Turn a number of addresses into what quotas count; of IPv6 subnets it may be less than one."""
        return Fraction(size, 1 << (self.most - self.unit))


_LENGTHS = {4: _Lengths(8, 32, 32), 6: _Lengths(64, 128, 64)}  # as Neutron's


class SubnetPoolFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a pool. UNSET: not said; `address_scope_id` None: in no scope."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    prefixes: tuple[Cidr, ...] | UnsetType = UNSET
    min_prefixlen: int | UnsetType = UNSET
    max_prefixlen: int | UnsetType = UNSET
    default_prefixlen: int | UnsetType = UNSET
    default_quota: int | UnsetType | None = UNSET
    address_scope_id: str | UnsetType | None = UNSET
    is_default: bool | UnsetType = UNSET
    shared: bool | UnsetType = UNSET  # with everybody, by a policy
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET


class Scoped(msgspec.Struct, frozen=True):
    """The scope that a pool is in or shall be in, and the pools in it."""

    scope: AddressScope
    pools: Sequence[SubnetPool]
    grants: tuple[RbacPolicy, ...] = ()  # by which the caller uses it, if it is another's


def create(
    fields: SubnetPoolFields, *, pool_id: str, scoped: Scoped | None, caller: Caller, now_us: int
) -> SubnetPool:
    """Make the record of a new pool. Raises Invalid, and Conflict AddressScopePrefixConflict."""
    asked = () if fields.prefixes is UNSET else fields.prefixes
    if not asked:
        raise _invalid("Empty subnet pool prefix list.", "EmptySubnetPoolPrefixList")
    ip_version = _version_of(asked[0])
    _check_prefixes(asked, ip_version)
    all_of_it = prefixes.compact(asked)
    lowest = settlement.either(fields.min_prefixlen, _LENGTHS[ip_version].least)
    pool = SubnetPool(
        id=SubnetPoolId(pool_id),
        project_id=caller.project_id,
        ip_version=ip_version,
        prefixes=all_of_it,
        free=all_of_it,
        min_prefixlen=lowest,
        max_prefixlen=_LENGTHS[ip_version].most,
        default_prefixlen=lowest,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    said = given(fields)
    said.pop("prefixes", None)
    said.pop("shared", None)
    pool = msgspec.structs.replace(pool, **said)
    _check_bounds(pool)
    _check_scope(pool, scoped)
    return pool


def update(pool: SubnetPool, fields: SubnetPoolFields, *, scoped: Scoped | None, now_us: int) -> SubnetPool:
    """Give the pool as the client wants it; its prefixes only grow. `scoped`: of the scope that it is to be in.

    Raises Invalid, and Conflict AddressScopePrefixConflict.
    """
    said = given(fields)
    asked = said.pop("prefixes", None)
    after = revised(pool, now_us, **said)
    if asked is not None and fields.prefixes is not UNSET:
        _check_prefixes(fields.prefixes, pool.ip_version)
        wanted = prefixes.compact(fields.prefixes)
        if prefixes.without(pool.prefixes, wanted):
            raise _illegal_prefixes("Existing prefixes must be a subset of the new prefixes")
        after = _with_prefixes(after, wanted)
    _check_bounds(after)
    _check_scope(after, scoped)
    return after


def with_more(pool: SubnetPool, more: Sequence[Cidr], *, scoped: Scoped | None, now_us: int) -> SubnetPool:
    """Give the pool with more prefixes. Raises as `update`."""
    _check_prefixes(more, pool.ip_version)
    after = _with_prefixes(revised(pool, now_us), prefixes.compact((*pool.prefixes, *more)))
    _check_scope(after, scoped)
    return after


def with_fewer(pool: SubnetPool, fewer: Sequence[Cidr], *, now_us: int) -> SubnetPool:
    """Give the pool without some prefixes. Raises Invalid when a subnet has addresses of them."""
    _check_versions(fewer, pool.ip_version)
    gone = prefixes.common(pool.prefixes, prefixes.compact(fewer))
    if prefixes.without(gone, pool.free):
        raise _illegal_prefixes("One or more the prefixes to be removed is in use by a subnet")
    return revised(
        pool,
        now_us,
        prefixes=prefixes.without(pool.prefixes, gone),
        free=prefixes.without(pool.free, gone),
    )


def with_subnets(
    pool: SubnetPool, subnets: Sequence[Subnet], *, scoped: Scoped | None, now_us: int
) -> SubnetPool:
    """Give the pool as if it had been extended by the subnets' prefixes, and they cut from it.

    Raises Invalid when others are cut there, and Conflict AddressScopePrefixConflict.
    """
    used = prefixes.without(pool.prefixes, pool.free)
    for subnet in subnets:
        if prefixes.common(used, (subnet.cidr,)):
            raise _invalid(
                f"Illegal subnetpool update : Onboarding subnet {subnet.id}: {Cidr(*subnet.cidr)} conflicts "
                f"with allocated prefixes in subnet pool {pool.id}.",
                "IllegalSubnetPoolUpdate",
            )
    ranges = [subnet.cidr for subnet in subnets]
    after = _with_prefixes(revised(pool, now_us), prefixes.compact((*pool.prefixes, *ranges)))
    _check_scope(after, scoped)
    return msgspec.structs.replace(after, free=prefixes.without(after.free, ranges))


def cut(pool: SubnetPool, *, cidr: Cidr | None, prefix_len: int | None, used: int) -> tuple[Cidr, SubnetPool]:
    """Cut a prefix off: the one named, or one of a length; of several blocks the smallest, then the lowest.

    `used`: addresses of the pool that the project has. The pool given is not revised.
    Raises Invalid for lengths that the pool does not give, and Conflict when there is none, or the project has
    had its share.
    """
    length = cidr.prefix_len if cidr is not None else prefix_len
    if length is None:
        length = pool.default_prefixlen
    _check_length(pool, length)
    counted = _LENGTHS[pool.ip_version]
    size = 1 << (counted.most - length)
    if pool.default_quota and counted.units(used + size) > pool.default_quota:
        raise errors.Conflict("Per-tenant subnet pool prefix quota exceeded.", reason="SubnetPoolQuotaExceeded")
    found = cidr
    if found is None:
        fitting = [block for block in pool.free if block[1] <= length]
        if not fitting:
            raise _no_room(f"Insufficient prefix space to allocate subnet size /{length}")
        found = Cidr(max(fitting, key=lambda block: block[1])[0], length)  # of equal ones the first
    left = prefixes.taken(pool.free, found)
    if left is None:
        raise _no_room("Cannot allocate requested subnet from the available set of prefixes")
    return found, msgspec.structs.replace(pool, free=left)


def given_back(pools: Mapping[str, SubnetPool], subnets: Iterable[Subnet], *, now_us: int) -> list[SubnetPool]:
    """Give the pools that some subnets are from, revised, with their prefixes free again."""
    freed: dict[str, list[Prefix]] = {}
    for subnet in subnets:
        if subnet.subnetpool_id is not None:
            freed.setdefault(subnet.subnetpool_id, []).append(subnet.cidr)
    return [
        revised(pools[pool_id], now_us, free=functools.reduce(prefixes.joined, ranges, pools[pool_id].free))
        for pool_id, ranges in sorted(freed.items())
    ]


def check_deletable(pool: SubnetPool) -> None:
    """Raise Invalid while a subnet is from the pool."""
    if pool.free != pool.prefixes:
        raise _invalid(
            "Unable to delete subnet pool: Subnet pool has existing allocations.", "SubnetPoolDeleteError"
        )


def second_default() -> errors.Invalid:
    """Make the error for another default pool of one IP version."""
    return _invalid(
        "Invalid input for operation: A default subnetpool for this IP family has already been set. "
        "Only one default may exist per IP family.",
        "InvalidInput",
    )


def scope_affinity() -> errors.Invalid:
    """Make the error for a network whose subnets would be in several scopes."""
    return _invalid(
        "Subnets of the same address family hosted on the same network must all participate in the same "
        "address scope.",
        "NetworkAddressScopeAffinityError",
    )


def pool_affinity() -> errors.Invalid:
    """Make the error for a network whose subnets would be from several pools of no scope."""
    return _invalid(
        "Subnets hosted on the same network must be allocated from the same subnet pool.",
        "NetworkSubnetPoolAffinityError",
    )


def _with_prefixes(pool: SubnetPool, wanted: tuple[Prefix, ...]) -> SubnetPool:
    added = prefixes.without(wanted, pool.prefixes)
    return msgspec.structs.replace(pool, prefixes=wanted, free=prefixes.compact((*pool.free, *added)))


def _version_of(prefix: Cidr) -> int:
    return 4 if len(prefix.network) == 4 else 6


def _check_prefixes(asked: Sequence[Cidr], ip_version: int) -> None:
    _check_versions(asked, ip_version)
    for prefix in asked:
        # A subnet cut from there would be refused again and again.
        if any(prefix.overlaps(nobody) for nobody in ranges.NO_HOSTS[len(prefix.network)]):
            raise _invalid(
                f"Invalid input for operation: {prefix} holds addresses that no host can have.", "InvalidInput"
            )


def _check_versions(asked: Sequence[Cidr], ip_version: int) -> None:
    if any(_version_of(prefix) != ip_version for prefix in asked):
        raise _invalid("Cannot mix IPv4 and IPv6 prefixes in a subnet pool.", "PrefixVersionMismatch")


def _check_bounds(pool: SubnetPool) -> None:
    low, high, usual = pool.min_prefixlen, pool.max_prefixlen, pool.default_prefixlen
    most = _LENGTHS[pool.ip_version].most
    for name, value, base, bound, is_wrong in (
        ("min_prefixlen", low, "max_prefixlen", high, low > high),
        ("max_prefixlen", high, "ip_version_max", most, high > most),
        ("default_prefixlen", usual, "min_prefixlen", low, usual < low),
        ("default_prefixlen", usual, "max_prefixlen", high, usual > high),
    ):
        if is_wrong:
            raise _invalid(
                f"Illegal prefix bounds: {name}={value}, {base}={bound}.", "IllegalSubnetPoolPrefixBounds"
            )


def _check_length(pool: SubnetPool, length: int) -> None:
    if length > pool.max_prefixlen:
        raise _invalid(
            f"Unable to allocate subnet with prefix length {length}, "
            f"maximum allowed prefix is {pool.max_prefixlen}.",
            "MaxPrefixSubnetAllocationError",
        )
    if length < pool.min_prefixlen:
        raise _invalid(
            f"Unable to allocate subnet with prefix length {length}, "
            f"minimum allowed prefix is {pool.min_prefixlen}.",
            "MinPrefixSubnetAllocationError",
        )


def _check_scope(pool: SubnetPool, scoped: Scoped | None) -> None:
    if pool.address_scope_id is None:
        return
    assert scoped is not None, "the scope was read"
    assert scoped.scope.id == AddressScopeId(pool.address_scope_id), "of the pool as it is to be"
    if scoped.scope.ip_version != pool.ip_version:
        raise _invalid(
            f"Illegal subnetpool association: subnetpool {pool.id} cannot be associated with address scope "
            f"{scoped.scope.id} because subnetpool ip_version is not {scoped.scope.ip_version}.",
            "IllegalSubnetPoolIpVersionAssociationToAddressScope",
        )
    for other in scoped.pools:
        if other.id != pool.id and prefixes.common(other.prefixes, pool.prefixes):
            raise errors.Conflict(
                "Failed to associate address scope: subnetpools within an address scope must have unique "
                "prefixes.",
                reason="AddressScopePrefixConflict",
            )


def _no_room(sentence: str) -> errors.Conflict:
    return errors.Conflict(f"Failed to allocate subnet: {sentence}.", reason="SubnetAllocationError")


def _illegal_prefixes(sentence: str) -> errors.Invalid:
    return _invalid(f"Illegal update to prefixes: {sentence}.", "IllegalSubnetPoolPrefixUpdate")


def _invalid(message: str, reason: str) -> errors.Invalid:
    return errors.Invalid(message, reason=reason)
