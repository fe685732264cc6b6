"""What a port may be, and which addresses it wants. Pure."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.port import address_pairs, dhcp_options
from alcor.management_plane.port.address_pairs import AddressPairFields
from alcor.management_plane.port.dhcp_options import DhcpOptionFields
from alcor.management_plane.port.fixed_ips import Draws, FixedIpFields, WantedIp, found, updated
from alcor.management_plane.port.macs import parsed_mac
from alcor.management_plane.settlement import revised
from alcor.model import errors
from alcor.model.addressing import mac_to_text
from alcor.model.ids import GroupId, HostId, NetworkId, PortGroupId, PortId, ProjectId
from alcor.model.records import ROUTER_INTERFACE, AddressPair, Network, Port

PROFILE_BYTES_MAX = 4096
EMPTY_PROFILE = msgspec.Raw(b"\x80")
# Second-lowest bit of the first octet: locally administered; lowest clear: one station. 2**40 follow.
_DRAWN_MACS = 0xFA << 40
TRUSTED = "network:"  # device owners that belong to the network itself
_TAKEN_AS_SAID = (
    "name",
    "description",
    "admin_state_up",
    "device_id",
    "device_owner",
    "fast_path",
    "data_plane_status",
    "tags",
)


Text = Annotated[str, msgspec.Meta(max_length=255)]
Uuid = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]


class PortFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client may say of a port. UNSET: not said.

    Bodies decode straight into it, so its limits are those of the attributes in `api/ports.py`.
    """

    network_id: Uuid | UnsetType = UNSET
    name: Text | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    admin_state_up: bool | UnsetType = UNSET
    mac_address: str | UnsetType | None = UNSET  # None: draw one
    fixed_ips: tuple[FixedIpFields, ...] | UnsetType = UNSET
    security_groups: tuple[Uuid, ...] | UnsetType = UNSET
    allowed_address_pairs: tuple[AddressPairFields, ...] | UnsetType = UNSET
    extra_dhcp_opts: tuple[DhcpOptionFields, ...] | UnsetType = UNSET
    port_security_enabled: bool | UnsetType = UNSET
    device_id: Text | UnsetType = UNSET
    device_owner: Text | UnsetType = UNSET
    host_id: Text | UnsetType = msgspec.field(default=UNSET, name="binding:host_id")
    vnic_type: str | UnsetType = msgspec.field(default=UNSET, name="binding:vnic_type")
    profile: dict[str, Any] | UnsetType = msgspec.field(default=UNSET, name="binding:profile")
    fast_path: bool | UnsetType = msgspec.field(default=UNSET, name="alcor:fast_path")
    data_plane_status: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | UnsetType = UNSET


def create(
    fields: PortFields,
    *,
    port_id: str,
    drawn_mac: int,
    network: Network,
    wanted: Sequence[WantedIp],
    draws: Draws,
    project_id: str,
    default_group: GroupId,
    port_group_id: str,
    now_us: int,
    foreign_groups: Collection[str] = (),
) -> Port:
    """Make the record of a new port. Raises Invalid. On the path of every port of a batch.

    `foreign_groups`: those groups that are other projects'.
    """
    network_id = network.id
    mac = parsed_mac(fields.mac_address) if isinstance(fields.mac_address, str) else drawn_mac
    fixed_ips = found(wanted, network_id, draws, mac)
    owner = "" if fields.device_owner is UNSET else fields.device_owner
    check_owner(owner)
    secured = network.port_security_enabled
    if fields.port_security_enabled is not UNSET:
        secured = fields.port_security_enabled
    if fields.security_groups is not UNSET:
        groups = _group_ids(fields.security_groups)
        _check_groups(groups, secured)
    else:
        groups = (default_group,) if secured and not owner.startswith(TRUSTED) else ()
    pairs: tuple[AddressPair, ...] = ()
    if fields.allowed_address_pairs is not UNSET:
        pairs = address_pairs.parsed(fields.allowed_address_pairs, mac)
        address_pairs.check(pairs, mac, fixed_ips, secured=secured)
    return Port(
        id=PortId(port_id),
        project_id=ProjectId(project_id),
        name="" if fields.name is UNSET else fields.name,
        description="" if fields.description is UNSET else fields.description,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
        tags=() if fields.tags is UNSET else fields.tags,
        network_id=NetworkId(network_id),
        mac=mac,
        fixed_ips=fixed_ips,
        security_groups=groups,
        host=HostId("" if fields.host_id is UNSET else fields.host_id),
        device_id="" if fields.device_id is UNSET else fields.device_id,
        device_owner=owner,
        admin_state_up=True if fields.admin_state_up is UNSET else fields.admin_state_up,
        port_security_enabled=secured,
        vnic_type=checked_vnic_type(fields.vnic_type),
        binding_profile=packed_profile(fields.profile),
        port_group_id=PortGroupId(port_group_id),
        fast_path=fields.fast_path is True,
        address_pairs=pairs,
        dhcp_options=() if fields.extra_dhcp_opts is UNSET else dhcp_options.merged((), fields.extra_dhcp_opts),
        network_owner=ProjectId("") if network.project_id == project_id else network.project_id,
        borrowed_groups=tuple(it for it in groups if it in foreign_groups) if foreign_groups else (),
    )


def needs_default_group(fields: PortFields) -> bool:
    """May the port end up in the default group? (Whether it does depends on its network too.)"""
    return fields.security_groups is UNSET and fields.port_security_enabled is not False


def update(
    port: Port,
    fields: PortFields,
    *,
    wanted: Sequence[WantedIp] | None,
    draws: Draws,
    drawn_mac: int = 0,
    now_us: int,
    foreign_groups: Collection[str] = (),
) -> Port:
    """Give the port as the client wants it; `wanted` None leaves its addresses. Raises Invalid, Conflict.

    `foreign_groups`: those groups that it is to be in, and was not, that are other projects'.
    """
    if port.device_owner == ROUTER_INTERFACE:
        _check_router_port(port, fields)
    elif fields.device_owner is not UNSET:
        check_owner(fields.device_owner)
    changes: dict[str, object] = {
        name: value for name in _TAKEN_AS_SAID if (value := getattr(fields, name)) is not UNSET
    }
    mac = port.mac
    if fields.mac_address is not UNSET:
        mac = drawn_mac if fields.mac_address is None else parsed_mac(fields.mac_address)
        changes["mac"] = _updated_mac(port, mac, fields)
    if wanted is not None:
        changes["fixed_ips"] = updated(port, wanted, draws, mac)
    if fields.extra_dhcp_opts is not UNSET:
        changes["dhcp_options"] = dhcp_options.merged(port.dhcp_options, fields.extra_dhcp_opts)
    if fields.host_id is not UNSET:
        check_host(port, fields.host_id)
        changes["host"] = HostId(fields.host_id)
        changes["inactive_bindings"] = tuple(it for it in port.inactive_bindings if it.host != fields.host_id)
    if fields.vnic_type is not UNSET:
        changes["vnic_type"] = checked_vnic_type(fields.vnic_type)
    if fields.profile is not UNSET:
        changes["binding_profile"] = packed_profile(fields.profile)
    secured = port.port_security_enabled
    if fields.port_security_enabled is not UNSET:
        secured = changes["port_security_enabled"] = fields.port_security_enabled
    groups = port.security_groups
    if fields.security_groups is not UNSET:
        groups = _group_ids(fields.security_groups)
        changes["security_groups"] = groups
        borrowed = {*port.borrowed_groups, *foreign_groups}
        changes["borrowed_groups"] = tuple(it for it in groups if it in borrowed)
    if groups and not secured and fields.security_groups is UNSET:
        raise errors.Conflict(
            "Port has security group associated. Cannot disable port security or IP address until "
            "security group is removed.",
            reason="PortSecurityPortHasSecurityGroup",
        )
    _check_groups(groups, secured)
    if port.address_pairs or fields.allowed_address_pairs is not UNSET:
        return _with_pairs(revised(port, now_us, **changes), port, fields)
    return revised(port, now_us, **changes)


def check_host(port: Port, host: str) -> None:
    """Raise Conflict for another host of a sub-port than its parent's."""
    if port.trunk is not None and not port.trunk.is_parent and host != port.host:
        raise errors.Conflict(
            f"Port {port.id} is currently a subport for trunk {port.trunk.trunk_id}: "
            f"it is bound where its parent port {port.trunk.parent_id} is.",
            reason="PortInUseAsSubPort",
        )


def _updated_mac(port: Port, mac: int, fields: PortFields) -> int:
    """Give the MAC address; raise Conflict for another of a port that stays bound: its workload has the old."""
    host = port.host if fields.host_id is UNSET else fields.host_id
    if mac != port.mac and port.host and host:
        raise errors.Conflict(
            f"Unable to complete operation on port {port.id}, port is already bound, port type: ovs, "
            f"old_mac {mac_to_text(port.mac)}, new_mac {mac_to_text(mac)}.",
            reason="PortBound",
        )
    return mac


def _with_pairs(after: Port, before: Port, fields: PortFields) -> Port:
    """Settle the pairs: those of the port's own MAC address follow it; what is held must be theirs still."""
    if fields.allowed_address_pairs is not UNSET:
        pairs = address_pairs.parsed(fields.allowed_address_pairs, after.mac)
    else:
        pairs = address_pairs.moved(before.address_pairs, before.mac, after.mac)
    address_pairs.check(pairs, after.mac, after.fixed_ips, secured=after.port_security_enabled)
    announced = tuple(ip for ip in after.announced if any(pair.covers(ip) for pair in pairs))
    return msgspec.structs.replace(after, address_pairs=pairs, announced=announced)


def check_deletable(port: Port) -> None:
    """Raise Conflict for the interface of a router, and for a port of a trunk."""
    if port.trunk is not None:
        parent, sub_port = ("parent port", "PortInUseAsTrunkParent"), ("subport", "PortInUseAsSubPort")
        role, reason = parent if port.trunk.is_parent else sub_port
        raise errors.Conflict(
            f"Port {port.id} is currently a {role} for trunk {port.trunk.trunk_id}.", reason=reason
        )
    if port.device_owner == ROUTER_INTERFACE:
        raise errors.Conflict(
            f"Port {port.id} cannot be deleted directly via the port API: "
            f"has device owner {port.device_owner}.",
            reason="ServicePortInUse",
        )


def check_owner(device_owner: str) -> None:
    """Raise Invalid for an owner that only a router may give its ports."""
    if device_owner == ROUTER_INTERFACE:
        raise _invalid(
            "Invalid input for device_owner. Reason: only add_router_interface sets it.",
            "HTTPBadRequest",
        )


def macs_from(entropy: bytes) -> list[int]:
    """Turn random bytes into locally administered MAC addresses, one for each 5."""
    return [
        _DRAWN_MACS | int.from_bytes(entropy[start : start + 5], "big") for start in range(0, len(entropy), 5)
    ]


def _check_router_port(port: Port, fields: PortFields) -> None:
    for name in (
        "fixed_ips",
        "device_id",
        "device_owner",
        "host_id",
        "mac_address",
        "security_groups",
        "allowed_address_pairs",
    ):
        if getattr(fields, name) is not UNSET:
            raise errors.Conflict(
                f"Unable to complete operation on port {port.id} for network {port.network_id}. "
                f"It is an interface of router {port.device_id}.",
                reason="PortInUse",
            )


def _group_ids(asked: Sequence[str]) -> tuple[GroupId, ...]:
    groups = tuple(sorted({GroupId(group_id) for group_id in asked}))
    if len(groups) != len(asked):
        raise _invalid(
            f"Invalid input for security_groups. Reason: Duplicate items in the list: '{', '.join(asked)}'.",
            "HTTPBadRequest",
        )
    return groups


def _check_groups(groups: Sequence[GroupId], secured: bool) -> None:
    if groups and not secured:
        raise _invalid(
            "Port security must be enabled and port must have an IP address in order to use security groups.",
            "PortSecurityAndIPRequiredForSecurityGroups",
        )


def checked_vnic_type(vnic_type: str | UnsetType) -> str:
    """Give the one kind of interface there is. Raises Invalid for others."""
    if vnic_type is not UNSET and vnic_type != "normal":
        raise _invalid(
            f"Invalid input for binding:vnic_type. Reason: '{vnic_type}' is not in ['normal'].",
            "HTTPBadRequest",
        )
    return "normal"


def packed_profile(profile: dict[str, Any] | UnsetType) -> msgspec.Raw:
    """Give a binding's profile as it is kept. Raises Invalid when it is too large."""
    if profile is UNSET or not profile:
        return EMPTY_PROFILE
    packed = msgspec.msgpack.encode(profile)
    if len(packed) > PROFILE_BYTES_MAX:
        raise _invalid("binding:profile value too large", "HTTPBadRequest")
    return msgspec.Raw(packed)


def _invalid(message: str, reason: str) -> errors.Invalid:
    return errors.Invalid(message, reason=reason)
