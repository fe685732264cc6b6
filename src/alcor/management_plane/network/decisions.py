"""What a network may be. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec
from msgspec import UNSET, UnsetType

from alcor.contracts.store import Guard, NoneWhere, Write
from alcor.management_plane import writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.settlement import given, revised
from alcor.management_plane.subnet_pool import decisions as pool_decisions
from alcor.model import errors
from alcor.model.ids import NetworkId, Vni
from alcor.model.records import Network, RbacPolicy, RecordSet, Subnet, SubnetPool

# A VXLAN frame adds 50 bytes to the underlay's 1500.
MTU_MAX = 1450
MTU_MIN = 68  # RFC 791: every IPv4 link carries this much
MTU_MIN_IPV6 = 1280  # RFC 8200, section 5
VNI_MAX = (1 << 24) - 1


class NetworkFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a network. UNSET: not said."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    admin_state_up: bool | UnsetType = UNSET
    mtu: int | UnsetType = UNSET
    port_security_enabled: bool | UnsetType = UNSET
    vni: int | UnsetType = UNSET
    shared: bool | UnsetType = UNSET  # with everybody, by a policy
    zone_hints: tuple[str, ...] | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET


def create(fields: NetworkFields, *, network_id: str, caller: Caller, drawn_vni: int, now_us: int) -> Network:
    """Make the record of a new network. Raises Invalid for an MTU that the tunnels cannot carry."""
    said = given(fields)
    said.pop("vni", None)
    said.pop("shared", None)
    if said.get("mtu") == 0:  # Neutron's way to say "the default"
        said.pop("mtu")
    _check_mtu(fields.mtu)
    network = Network(
        id=NetworkId(network_id),
        project_id=caller.project_id,
        vni=Vni(drawn_vni if fields.vni is UNSET else fields.vni),
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    return msgspec.structs.replace(network, **said)


def update(network: Network, fields: NetworkFields, *, now_us: int) -> Network:
    """Give the network as the client wants it. Raises Invalid."""
    _check_mtu(fields.mtu)
    said = given(fields)
    said.pop("shared", None)
    if said.get("mtu") == 0:
        said["mtu"] = MTU_MAX
    return revised(network, now_us, **said)


def carries_ipv6(network: Network) -> bool:
    """Is its MTU one that IPv6 may rely on?"""
    return network.mtu >= MTU_MIN_IPV6


def check_carries_ipv6(network: Network) -> None:
    """Raise Conflict for a network that has, or is to have, a subnet of IPv6 and does not carry it."""
    if not carries_ipv6(network):
        raise errors.Conflict(
            f"MTU of {network.id} is not valid, subnet requires a minimum of {MTU_MIN_IPV6}",
            reason="NetworkMTUSubnetConflict",
        )


def delete(
    network: Network,
    subnets: Sequence[Subnet],
    policies: Sequence[RbacPolicy],
    caller: Caller,
    *,
    pools: Mapping[str, SubnetPool] = MappingProxyType({}),
    now_us: int = 0,
) -> Write:
    """Give the write that removes a network, its subnets and its policies, if no port is left on it.

    `pools`: those that the subnets are from, by id; they get the prefixes back.
    """
    guards: tuple[Guard, ...] = (
        NoneWhere("port", "network_id", network.id),
        NoneWhere("subnet", "network_id", network.id),  # but for those that go with it
        NoneWhere("rbac_policy", "object_id", network.id),
        *writes.unchanged(pools.values()),
    )
    return writes.removing(
        caller,
        network,
        deletes=RecordSet(networks=(network,), subnets=tuple(subnets), rbac_policies=tuple(policies)),
        updates=RecordSet(subnetpools=tuple(pool_decisions.given_back(pools, subnets, now_us=now_us))),
        guards=guards,
    )


def vni_from(entropy: bytes) -> int:
    """Turn 3 random bytes into a VNI, 1 .. 2**24 - 1."""
    return int.from_bytes(entropy, "big") % VNI_MAX + 1


def _check_mtu(mtu: int | UnsetType) -> None:
    if mtu is not UNSET and mtu != 0 and not MTU_MIN <= mtu <= MTU_MAX:
        raise errors.Invalid(
            f"Invalid input for operation: Requested MTU is not between {MTU_MIN} and {MTU_MAX}, "
            "the largest that the tunnels carry.",
            reason="InvalidInput",
        )
