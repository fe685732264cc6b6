"""What a project may say of its ports on a network that is not its own: Neutron's default policies. Pure."""

from collections.abc import Iterable

from msgspec import UNSET

from alcor.management_plane import access
from alcor.management_plane.port.decisions import TRUSTED, PortFields
from alcor.model.ids import GroupId
from alcor.model.records import SecurityGroup

# Who chooses these could take others' addresses, or speak for them: the network's owner says them only.
_OWNERS = ("mac_address", "port_security_enabled", "allowed_address_pairs")


def check_created(fields: PortFields) -> None:
    """Raise Invalid (403) for what only the network's owner may say of a new port."""
    _check(fields, "create_port")
    if fields.fixed_ips is not UNSET and any(it.ip_address is not UNSET for it in fields.fixed_ips):
        raise access.forbidden("create_port", "fixed_ips:ip_address")


def check_updated(fields: PortFields) -> None:
    """Raise Invalid (403) for what only the network's owner may change."""
    _check(fields, "update_port")
    if fields.fixed_ips is not UNSET:
        raise access.forbidden("update_port", "fixed_ips")


def foreign(groups: Iterable[SecurityGroup], project_id: str) -> frozenset[GroupId]:
    """Name those of the groups that are not the project's."""
    return frozenset(group.id for group in groups if group.project_id != project_id)


def _check(fields: PortFields, action: str) -> None:
    for name in _OWNERS:
        if getattr(fields, name) is not UNSET:
            raise access.forbidden(action, name)
    if fields.device_owner is not UNSET and fields.device_owner.startswith(TRUSTED):
        raise access.forbidden(action, "device_owner")
