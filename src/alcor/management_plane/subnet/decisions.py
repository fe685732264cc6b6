"""What a subnet may be. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.caller import Caller
from alcor.management_plane.network import decisions as network_decisions
from alcor.management_plane.settlement import given, revised
from alcor.management_plane.subnet import derived, modes, ranges
from alcor.management_plane.subnet.ranges import Pool
from alcor.management_plane.subnet.siblings import Siblings
from alcor.management_plane.subnet_pool import decisions as pool_decisions
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_text, ip_to_text
from alcor.model.ids import NetworkId, SubnetId
from alcor.model.records import Network, Port, Subnet, SubnetPool


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
    ra_mode: str | UnsetType = UNSET
    address_mode: str | UnsetType = UNSET
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
    """Make the record of a new subnet beside its siblings of the network. Raises Invalid, Conflict.

    `pool`: the one that its `cidr`, which `fields` have by now, was cut from.
    """
    cidr = _checked_cidr(fields)
    if len(cidr.network) == 16:
        network_decisions.check_carries_ipv6(network)
    _check_overlap(cidr, network, siblings)
    gateway = ranges.first_address(cidr) if fields.gateway_ip is UNSET else fields.gateway_ip
    ranges.check_gateway(gateway, cidr)
    if fields.pools is UNSET:
        pools = ranges.default_pools(cidr, gateway)
    else:
        pools = ranges.checked_pools(fields.pools, cidr)
    ranges.check_gateway_outside(gateway, pools)
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
    subnet = msgspec.structs.replace(subnet, **said)
    modes.check(subnet)
    _check_derived(subnet, siblings)
    _check_told(subnet)
    return subnet


def update(subnet: Subnet, fields: SubnetFields, routers: Sequence[Port], *, now_us: int) -> Subnet:
    """Give the subnet as the client wants it; `routers` are the interfaces on it.

    Raises Invalid, and Conflict GatewayIpInUse when a router holds the gateway address that would change.
    """
    cidr = Cidr(*subnet.cidr)
    gateway = subnet.gateway_ip if fields.gateway_ip is UNSET else fields.gateway_ip
    if gateway != subnet.gateway_ip:
        ranges.check_gateway(gateway, cidr)
        _check_gateway_free(subnet, routers)
    pools = subnet.pools if fields.pools is UNSET else ranges.checked_pools(fields.pools, cidr)
    ranges.check_gateway_outside(gateway, pools)
    said = given(fields)
    said.pop("gateway_ip", None)
    said.pop("pools", None)
    after = revised(subnet, now_us, gateway_ip=gateway, pools=pools, **said)
    modes.check_update(after)
    _check_told(after)
    return after


def version_of(fields: SubnetFields) -> int:
    """Give the IP version of a subnet whose range is known by now."""
    assert isinstance(fields.cidr, Cidr), "it was asked for, or cut from a pool"
    return 4 if len(fields.cidr.network) == 4 else 6


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


def check_pool_version(fields: SubnetFields, pool: SubnetPool) -> None:
    """Raise Invalid for a pool of another IP version."""
    if fields.ip_version not in (UNSET, pool.ip_version):
        raise _bad(f"Cannot allocate IPv{fields.ip_version} subnet from IPv{pool.ip_version} subnet pool")


def no_default_pool(version: int) -> errors.Invalid:
    """Make the error for asking for the default pool where there is none."""
    return _bad(f"No default subnetpool found for IPv{version}")


def check_affinity(
    pool: SubnetPool | None, siblings: Siblings, pools: Mapping[str, SubnetPool], ip_version: int
) -> None:
    """Raise Invalid unless all subnets of the network are of one scope or, without scope, of one pool or none.

    Those of each IP version for themselves. `pools`: at least those that the siblings are from.
    """
    wanted = None if pool is None else pool.id
    used = siblings.pool_ids(ip_version)
    scopes = {pools[pool_id].address_scope_id for pool_id in used if pool_id is not None}
    scope = next((scope for scope in scopes if scope is not None), None)
    if scope is not None and pool is not None:
        if pool.address_scope_id != scope:
            raise pool_decisions.scope_affinity()
    elif used - {wanted}:
        raise pool_decisions.pool_affinity()


def _check_version(fields: SubnetFields) -> None:
    if isinstance(fields.cidr, Cidr) and fields.ip_version is not UNSET:
        ranges.check_version("cidr", str(fields.cidr), fields.cidr.network, fields.ip_version)


def _checked_cidr(fields: SubnetFields) -> Cidr:
    _check_version(fields)
    cidr = fields.cidr
    assert isinstance(cidr, Cidr), "it was asked for, or cut from a pool"
    ranges.check_cidr(cidr)
    return cidr


def _check_derived(subnet: Subnet, siblings: Siblings) -> None:
    if subnet.is_derived and siblings.derived >= derived.SUBNETS_MAX:
        raise errors.Conflict(
            f"Network {subnet.network_id} has {derived.SUBNETS_MAX} subnets already whose addresses follow "
            "from MAC addresses, the most that it may have.",
            reason="TooManyDerivedSubnets",
        )


def _check_told(subnet: Subnet) -> None:
    """Raise Invalid for routes that no workload could be told of.

    Router advertisements name nobody but their sender, and DHCPv6 has no routes.
    """
    for _, hop in subnet.host_routes:
        ranges.check_version("nexthop", hop, ip_from_text(hop), subnet.ip_version)
        if subnet.ra_mode and ip_from_text(hop) != subnet.gateway_ip:
            raise _invalid(
                f"Invalid input for operation: nexthop {hop} of a host route is not the gateway, and a router "
                "advertises only routes through itself.",
                "InvalidInput",
            )


def _check_overlap(cidr: Cidr, network: Network, siblings: Siblings) -> None:
    if siblings.overlap(cidr):
        raise _invalid(
            f"Invalid input for operation: Requested subnet with cidr: {cidr} for network: {network.id} "
            "overlaps with another subnet.",
            "InvalidInput",
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


def _bad(sentence: str) -> errors.Invalid:
    return errors.Invalid(f"Bad subnets request: {sentence}.", reason="BadRequest")


def _invalid(message: str, reason: str) -> errors.Invalid:
    return errors.Invalid(message, reason=reason)
