"""Which ports may be of a trunk, and what becomes of them. Pure.

Each port of a trunk says so itself: that is what keeps it from being of two. A sub-port is where its parent is.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.caller import Caller
from alcor.management_plane.settlement import given, revised
from alcor.model import errors
from alcor.model.ids import HostId, TrunkId
from alcor.model.records import ROUTER_INTERFACE, SUB_PORT, Network, Port, SubPort, Trunk, TrunkLink

SEGMENTATION_TYPE = "vlan"


class TrunkFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a trunk. UNSET: not said."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    admin_state_up: bool | UnsetType = UNSET
    port_id: str | UnsetType = UNSET
    sub_ports: tuple[SubPort, ...] | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET


class Surroundings(msgspec.Struct, frozen=True):
    """The ports that a decision is about, and their networks, as they were read."""

    ports: Mapping[str, Port]
    networks: Mapping[str, Network]

    def mtu(self, port: Port) -> int:
        return self.networks[port.network_id].mtu


class Decided(msgspec.Struct, frozen=True):
    """A trunk as it shall be, and the ports that change with it."""

    trunk: Trunk
    ports: tuple[Port, ...]


def named_ports(fields: TrunkFields) -> list[str]:
    """Name the ports that a client wants in a trunk."""
    subs = () if fields.sub_ports is UNSET else fields.sub_ports
    return [str(fields.port_id), *(sub.port_id for sub in subs)]


def create(fields: TrunkFields, around: Surroundings, *, trunk_id: str, caller: Caller, now_us: int) -> Decided:
    """Make a trunk of ports. Raises Conflict for those that are in use."""
    parent = around.ports[str(fields.port_id)]
    check_parent(parent)
    said = given(fields)
    sub_ports = tuple(sorted(() if fields.sub_ports is UNSET else fields.sub_ports))
    trunk = Trunk(
        id=TrunkId(trunk_id),
        project_id=caller.project_id,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
        port_id=parent.id,
    )
    trunk = msgspec.structs.replace(trunk, **(said | {"sub_ports": sub_ports, "port_id": parent.id}))
    joined = _joined(trunk, parent, sub_ports, around, now_us)
    return Decided(trunk, (revised(parent, now_us, trunk=TrunkLink(trunk.id)), *joined))


def update(trunk: Trunk, fields: TrunkFields, *, now_us: int) -> Trunk:
    """Give the trunk as the client wants it."""
    return revised(trunk, now_us, **given(fields))


def add(trunk: Trunk, more: Sequence[SubPort], around: Surroundings, *, now_us: int) -> Decided:
    """Give the trunk more sub-ports. Raises Conflict."""
    joined = _joined(trunk, around.ports[trunk.port_id], more, around, now_us)
    check_enabled(trunk)
    taken = {sub.vlan for sub in trunk.sub_ports}
    for sub in more:
        if sub.vlan in taken:
            raise errors.Conflict(
                f"segmentation_type {SEGMENTATION_TYPE} and segmentation_id {sub.vlan} "
                f"already in use on trunk {trunk.id}.",
                reason="DuplicateSubPort",
            )
    return Decided(revised(trunk, now_us, sub_ports=tuple(sorted((*trunk.sub_ports, *more)))), tuple(joined))


def remove(trunk: Trunk, gone: Sequence[str], ports: Mapping[str, Port], *, now_us: int) -> Decided:
    """Take sub-ports away from the trunk, by their ports' ids. Raises Conflict; Missing for what it has not."""
    check_enabled(trunk)
    held = {sub.port_id for sub in trunk.sub_ports}
    for port_id in gone:
        if port_id not in held:
            raise errors.Missing(
                f"SubPort on trunk {trunk.id} with parent port {port_id} could not be found.",
                reason="SubPortNotFound",
            )
    kept = tuple(sub for sub in trunk.sub_ports if sub.port_id not in set(gone))
    parted = tuple(_parted(ports[port_id], now_us) for port_id in gone)
    return Decided(revised(trunk, now_us, sub_ports=kept), parted)


def dissolve(trunk: Trunk, ports: Mapping[str, Port], *, now_us: int) -> tuple[Port, ...]:
    """Give the ports of a trunk that goes. Raises Conflict TrunkDisabled."""
    check_enabled(trunk)
    parent = revised(ports[trunk.port_id], now_us, trunk=None)
    return (parent, *(_parted(ports[sub.port_id], now_us) for sub in trunk.sub_ports))


def moved(parent: Port, sub_ports: Sequence[Port], *, now_us: int) -> tuple[Port, ...]:
    """Give the sub-ports where their parent is now."""
    return tuple(revised(port, now_us, host=parent.host) for port in sub_ports if port.host != parent.host)


def check_enabled(trunk: Trunk) -> None:
    """Raise Conflict TrunkDisabled for a trunk that is administratively down."""
    if not trunk.admin_state_up:
        raise errors.Conflict(f"Trunk {trunk.id} is currently disabled.", reason="TrunkDisabled")


def check_parent(port: Port) -> None:
    """Raise Conflict for a port that is of a trunk, or of a router."""
    if port.trunk is not None and not port.trunk.is_parent:
        raise _in_use(port)
    if port.trunk is not None or port.device_owner == ROUTER_INTERFACE:
        raise _no_parent(port)


def _joined(
    trunk: Trunk, parent: Port, sub_ports: Sequence[SubPort], around: Surroundings, now_us: int
) -> list[Port]:
    found = []
    for sub in sub_ports:
        port = around.ports[sub.port_id]
        _check_sub_port(trunk, parent, port, around)
        found.append(
            revised(
                port,
                now_us,
                trunk=TrunkLink(trunk.id, parent.id, sub.vlan),
                host=parent.host,
                inactive_bindings=(),
                device_id=trunk.id,
                device_owner=SUB_PORT,
            )
        )
    return found


def _parted(port: Port, now_us: int) -> Port:
    return revised(port, now_us, trunk=None, host=HostId(""), device_id="", device_owner="")


def _check_sub_port(trunk: Trunk, parent: Port, port: Port, around: Surroundings) -> None:
    if port.id == parent.id:
        raise _no_parent(port)
    if around.mtu(port) > around.mtu(parent):
        raise errors.Conflict(
            f"MTU {around.mtu(port)} of subport {port.id} cannot be greater "
            f"than MTU {around.mtu(parent)} of trunk {trunk.id}.",
            reason="SubPortMtuGreaterThanTrunkPortMtu",
        )
    if port.trunk is not None:
        raise _no_parent(port) if port.trunk.is_parent else _in_use(port)
    if port.device_id or port.device_owner == ROUTER_INTERFACE:
        raise errors.Conflict(
            f"Unable to complete operation on port {port.id} for network {port.network_id}. "
            f"Port already has an attached device {port.device_id}.",
            reason="PortInUse",
        )


def _in_use(port: Port) -> errors.Conflict:
    return errors.Conflict(f"Port {port.id} is in use by another trunk.", reason="TrunkPortInUse")


def _no_parent(port: Port) -> errors.Conflict:
    return errors.Conflict(
        f"Port {port.id} is currently in use and is not eligible for use as a parent port.",
        reason="ParentPortInUse",
    )
