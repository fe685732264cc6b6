"""What a subnet may be. Pure."""

import itertools
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.caller import Caller
from alcor.management_plane.settlement import given, revised
from alcor.management_plane.subnet.siblings import Siblings
from alcor.management_plane.subnet_pool import decisions as pool_decisions
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_int, ip_to_int, ip_to_text
from alcor.model.ids import NetworkId, SubnetId
from alcor.model.records import Network, Port, Subnet, SubnetPool

Pool = tuple[bytes, bytes]


class SubnetFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a subnet. UNSET: not said; `gateway_ip` None: no gateway."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    network_id: str | UnsetType = UNSET
    ip_version: int | UnsetType = UNSET
    cidr: Cidr | UnsetType | None = UNSET
    subnetpool_id: str | UnsetType | None = UNSET
    use_default_subnetpool: bool | UnsetType = UNSET
    prefixlen: int | UnsetType = UNSET
    gateway_ip: bytes | UnsetType | None = UNSET
    pools: tuple[Pool, ...] | UnsetType = UNSET
    dns_nameservers: tuple[str, ...] | UnsetType = UNSET
    host_routes: tuple[tuple[str, str], ...] | UnsetType = UNSET
    enable_dhcp: bool | UnsetType = UNSET
    service_types: tuple[str, ...] | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET


def create(
    fields: SubnetFields,
    *,
    subnet_id: str,
    network: Network,
    siblings: Siblings,
    caller: Caller,
    now_us: int,
    pool: SubnetPool | None = None,
) -> Subnet:
    """Make the record of a new subnet beside its siblings of the network. Raises Invalid.

    `pool`: the one that its `cidr`, which `fields` have by now, was cut from.
    """
    cidr = _checked_cidr(fields)
    _check_overlap(cidr, network, siblings)
    gateway = _first_address(cidr) if fields.gateway_ip is UNSET else fields.gateway_ip
    _check_gateway(gateway, cidr)
    pools = default_pools(cidr, gateway) if fields.pools is UNSET else checked_pools(fields.pools, cidr)
    _check_gateway_outside(gateway, pools)
    said = given(fields)
    for name in (
        "network_id",
        "ip_version",
        "cidr",
        "gateway_ip",
        "pools",
        "subnetpool_id",
        "use_default_subnetpool",
        "prefixlen",
    ):
        said.pop(name, None)
    subnet = Subnet(
        id=SubnetId(subnet_id),
        project_id=network.project_id,
        network_id=NetworkId(network.id),
        cidr=cidr,
        gateway_ip=gateway,
        pools=pools,
        subnetpool_id=None if pool is None else pool.id,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    return msgspec.structs.replace(subnet, **said)


def update(subnet: Subnet, fields: SubnetFields, routers: Sequence[Port], *, now_us: int) -> Subnet:
    """Give the subnet as the client wants it; `routers` are the interfaces on it.

    Raises Invalid, and Conflict GatewayIpInUse when a router holds the gateway address that would change.
    """
    cidr = Cidr(*subnet.cidr)
    gateway = subnet.gateway_ip if fields.gateway_ip is UNSET else fields.gateway_ip
    if gateway != subnet.gateway_ip:
        _check_gateway(gateway, cidr)
        _check_gateway_free(subnet, routers)
    pools = subnet.pools if fields.pools is UNSET else checked_pools(fields.pools, cidr)
    _check_gateway_outside(gateway, pools)
    said = given(fields)
    said.pop("gateway_ip", None)
    said.pop("pools", None)
    return revised(subnet, now_us, gateway_ip=gateway, pools=pools, **said)


def default_pools(cidr: Cidr, gateway: bytes | None) -> tuple[Pool, ...]:
    """Give all host addresses but the gateway's, as inclusive ranges."""
    first, last = _host_range(cidr)
    inside = gateway is not None and first <= ip_to_int(gateway) <= last
    cut = ip_to_int(gateway) if gateway is not None and inside else None
    ranges = [(first, last)] if cut is None else [(first, cut - 1), (cut + 1, last)]
    return tuple((ip_from_int(start), ip_from_int(end)) for start, end in ranges if start <= end)


def checked_pools(pools: Sequence[Pool], cidr: Cidr) -> tuple[Pool, ...]:
    """Give the pools ascending. Raises Invalid when one is outside, upside down or overlaps another."""
    first, last = _host_range(cidr)
    ordered = sorted((ip_to_int(start), ip_to_int(end)) for start, end in pools)
    for start, end in ordered:
        if start > end:
            raise _invalid(
                f"The allocation pool {_range_text(start, end)} is not valid.", "InvalidAllocationPool"
            )
        if not (first <= start and end <= last):
            raise _invalid(
                f"The allocation pool {_range_text(start, end)} spans beyond the subnet cidr {cidr}.",
                "OutOfBoundsAllocationPool",
            )
    for (start, end), (next_start, next_end) in itertools.pairwise(ordered):
        if next_start <= end:
            raise errors.Conflict(
                f"Found overlapping allocation pools: {_range_text(start, end)} "
                f"{_range_text(next_start, next_end)} for subnet {cidr}.",
                reason="OverlappingAllocationPools",
            )
    return tuple((ip_from_int(start), ip_from_int(end)) for start, end in ordered)


def check_source(fields: SubnetFields) -> None:
    """Raise Invalid when what is said of where the addresses come from does not go together."""
    has_cidr = isinstance(fields.cidr, Cidr)
    has_pool = isinstance(fields.subnetpool_id, str)
    if has_cidr and fields.prefixlen is not UNSET:
        raise _bad("cidr and prefixlen must not be supplied together")
    if has_pool and fields.use_default_subnetpool is True:
        raise _bad("subnetpool_id and use_default_subnetpool cannot both be specified")
    if not has_cidr and not has_pool and fields.use_default_subnetpool is not True:
        raise _bad("a subnetpool must be specified in the absence of a cidr")
    if not has_cidr and fields.pools is not UNSET:
        raise _bad("allocation_pools allowed only for specific subnet requests")
    _check_version(fields)


def no_default_pool(version: int) -> errors.Invalid:
    """Make the error for asking for the default pool where there is none."""
    return _bad(f"No default subnetpool found for IPv{version}")


def check_affinity(pool: SubnetPool | None, siblings: Siblings, pools: Mapping[str, SubnetPool]) -> None:
    """Raise Invalid unless all subnets of the network are of one scope or, without scope, of one pool or none.

    `pools`: at least those that the siblings are from.
    """
    wanted = None if pool is None else pool.id
    scopes = {pools[pool_id].address_scope_id for pool_id in siblings.pool_ids if pool_id is not None}
    scope = next((scope for scope in scopes if scope is not None), None)
    if scope is not None and pool is not None:
        if pool.address_scope_id != scope:
            raise pool_decisions.scope_affinity()
    elif siblings.pool_ids - {wanted}:
        raise pool_decisions.pool_affinity()


def _check_version(fields: SubnetFields) -> None:
    if fields.ip_version == 6 or (isinstance(fields.cidr, Cidr) and len(fields.cidr.network) != 4):
        raise _invalid("IPv6 subnets are not supported yet: ip_version must be 4.", "InvalidInput")


def _checked_cidr(fields: SubnetFields) -> Cidr:
    _check_version(fields)
    cidr = fields.cidr
    assert isinstance(cidr, Cidr), "it was asked for, or cut from a pool"
    if cidr.prefix_len == 0 or cidr.prefix_len > 30:
        raise _invalid(
            f"Invalid input for operation: the prefix length of {cidr} must be between 1 and 30.",
            "InvalidInput",
        )
    if cidr.network[0] in (0, 127) or cidr.network[0] >= 224:
        raise _invalid(f"Invalid input for operation: {cidr} holds no addresses for hosts.", "InvalidInput")
    return cidr


def _check_overlap(cidr: Cidr, network: Network, siblings: Siblings) -> None:
    if siblings.overlap(cidr):
        raise _invalid(
            f"Invalid input for operation: Requested subnet with cidr: {cidr} for network: {network.id} "
            "overlaps with another subnet.",
            "InvalidInput",
        )


def _check_gateway(gateway: bytes | None, cidr: Cidr) -> None:
    if gateway is None:
        return
    if len(gateway) != 4:
        raise _invalid(
            f"Invalid input for operation: gateway_ip '{ip_to_text(gateway)}' is not IPv4.", "InvalidInput"
        )
    first, last = _host_range(cidr)
    if not first <= ip_to_int(gateway) <= last:
        raise _invalid("Gateway is not valid on subnet", "InvalidInput")


def _check_gateway_outside(gateway: bytes | None, pools: Sequence[Pool]) -> None:
    for start, end in pools:
        if gateway is not None and start <= gateway <= end:
            raise errors.Conflict(
                f"Gateway ip {ip_to_text(gateway)} conflicts with allocation pool "
                f"{ip_to_text(start)}-{ip_to_text(end)}.",
                reason="GatewayConflictWithAllocationPools",
            )


def _check_gateway_free(subnet: Subnet, routers: Sequence[Port]) -> None:
    for port in routers:
        if any(fixed.subnet_id == subnet.id and fixed.ip == subnet.gateway_ip for fixed in port.fixed_ips):
            raise errors.Conflict(
                f"Current gateway ip {ip_to_text(fixed_gateway(subnet))} already in use by port {port.id}. "
                "Unable to update.",
                reason="GatewayIpInUse",
            )


def fixed_gateway(subnet: Subnet) -> bytes:
    """Give the gateway of a subnet that has one."""
    assert subnet.gateway_ip is not None
    return subnet.gateway_ip


def _host_range(cidr: Cidr) -> tuple[int, int]:
    base = ip_to_int(cidr.network)
    return base + 1, base + cidr.size - 2


def _first_address(cidr: Cidr) -> bytes:
    return ip_from_int(ip_to_int(cidr.network) + 1)


def _range_text(start: int, end: int) -> str:
    return f"{ip_to_text(ip_from_int(start))}-{ip_to_text(ip_from_int(end))}"


def _bad(sentence: str) -> errors.Invalid:
    return errors.Invalid(f"Bad subnets request: {sentence}.", reason="BadRequest")


def _invalid(message: str, reason: str) -> errors.Invalid:
    return errors.Invalid(message, reason=reason)
