"""Further bindings of a port: hosts that it is prepared for, until one is activated. Pure.

Nova makes one on the host that a server is migrated to, activates it when the server runs there, and removes
the former. Only the active one, the port's `host`, concerns hosts.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.port import decisions
from alcor.management_plane.settlement import revised
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.model.records import Port, PortBinding

INACTIVE_MAX = 8
_COMPUTE = "compute:"  # what the owners of servers' ports begin with; others do not migrate


class BindingFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client may say of a binding. UNSET: not said."""

    host: str | UnsetType = UNSET
    vnic_type: str | UnsetType = UNSET
    profile: dict[str, Any] | UnsetType = UNSET


def active(port: Port) -> PortBinding | None:
    """Give the binding that is in force; None when there is none."""
    return PortBinding(port.host, port.vnic_type, port.binding_profile) if port.host else None


def found(port: Port, host: str) -> PortBinding:
    """Give the binding to a host, active or not. Raises Missing."""
    for binding in (active(port), *port.inactive_bindings):
        if binding is not None and binding.host == host:
            return binding
    raise errors.Missing(
        f"Binding for port {port.id} on host {host} could not be found.", reason="PortBindingNotFound"
    )


def added(port: Port, fields: BindingFields, now_us: int) -> Port:
    """Prepare the port for one host more, also while it has none. Raises Invalid, Conflict."""
    if not port.device_owner.startswith(_COMPUTE):
        raise errors.Conflict(
            f"Operation create_port_binding is not supported for device_owner {port.device_owner} "
            f"on port {port.id}.",
            reason="UnsupportedPortDeviceOwner",
        )
    host = HostId(str(fields.host))
    if host == port.host or any(binding.host == host for binding in port.inactive_bindings):
        raise errors.Conflict(
            f"Binding for port {port.id} on host {host} already exists.", reason="PortBindingAlreadyExists"
        )
    if len(port.inactive_bindings) >= INACTIVE_MAX:
        raise errors.Conflict(
            f"Port {port.id} has {INACTIVE_MAX} inactive bindings already.", reason="PortBindingError"
        )
    binding = PortBinding(
        host, decisions.checked_vnic_type(fields.vnic_type), decisions.packed_profile(fields.profile)
    )
    return revised(port, now_us, inactive_bindings=_ascending((*port.inactive_bindings, binding)))


def updated(port: Port, host: str, fields: BindingFields, now_us: int) -> Port:
    """Change a binding. Raises Missing, Invalid."""
    binding = found(port, host)
    changed = msgspec.structs.replace(
        binding,
        vnic_type=binding.vnic_type
        if fields.vnic_type is UNSET
        else decisions.checked_vnic_type(fields.vnic_type),
        profile=binding.profile if fields.profile is UNSET else decisions.packed_profile(fields.profile),
    )
    if host == port.host:
        return _bound(port, changed, port.inactive_bindings, now_us)
    return revised(port, now_us, inactive_bindings=_ascending((*_others(port, host), changed)))


def activated(port: Port, host: str, now_us: int) -> Port:
    """Bind the port to a host that it is prepared for. Raises Missing, Conflict."""
    if host == port.host:
        raise errors.Conflict(
            f"Binding for port {port.id} on host {host} is already active.", reason="PortBindingAlreadyActive"
        )
    binding, former = found(port, host), active(port)
    others = (*_others(port, host), former) if former is not None else _others(port, host)
    return _bound(port, binding, others, now_us)


def removed(port: Port, host: str, now_us: int) -> Port:
    """Take a binding away; without the active one the port is not bound. Raises Missing, Conflict."""
    found(port, host)
    if host == port.host:
        return _bound(port, PortBinding(HostId("")), port.inactive_bindings, now_us)
    return revised(port, now_us, inactive_bindings=_others(port, host))


def _bound(port: Port, binding: PortBinding, others: tuple[PortBinding, ...], now_us: int) -> Port:
    decisions.check_host(port, binding.host)
    return revised(
        port,
        now_us,
        host=binding.host,
        vnic_type=binding.vnic_type,
        binding_profile=binding.profile,
        inactive_bindings=_ascending(others),
    )


def _others(port: Port, host: str) -> tuple[PortBinding, ...]:
    return tuple(binding for binding in port.inactive_bindings if binding.host != host)


def _ascending(bindings: tuple[PortBinding, ...]) -> tuple[PortBinding, ...]:
    return tuple(sorted(bindings, key=lambda binding: binding.host))
