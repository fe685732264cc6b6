"""What a port group makes of its template. Pure."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.contracts.convergence import PortState
from alcor.management_plane.caller import Caller
from alcor.management_plane.port.decisions import PortFields
from alcor.management_plane.settlement import revised
from alcor.model import errors
from alcor.model.ids import NetworkId, PortGroupId, ProjectId
from alcor.model.records import PortGroup


class PortGroupFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a port group. UNSET: not said."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    network_id: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    hosts: tuple[str, ...] | UnsetType = UNSET
    fast_path: bool | UnsetType = UNSET  # for every port whose template does not say it
    port: PortFields = PortFields()
    template: msgspec.Raw = msgspec.Raw(b"\x80")  # `port` as the client sent it, packed
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET


class Progress(msgspec.Struct, frozen=True):
    """How far a group's ports are. `state`: EMPTY | ERROR | BUILD | IN_FORCE | ACTIVE, the worst that holds."""

    state: str
    ports: int
    in_force: int
    active: int
    failed: int


def create(fields: PortGroupFields, *, group_id: str, size: int, caller: Caller, now_us: int) -> PortGroup:
    """Make the record of a new group."""
    return PortGroup(
        id=PortGroupId(group_id),
        project_id=ProjectId(caller.project_id if fields.project_id is UNSET else fields.project_id),
        name="" if fields.name is UNSET else fields.name,
        description="" if fields.description is UNSET else fields.description,
        tags=() if fields.tags is UNSET else fields.tags,
        network_id=NetworkId(str(fields.network_id)),
        size=size,
        template=fields.template,
        fast_path=_asks_fast_path(fields),
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )


def update(group: PortGroup, fields: PortGroupFields, *, now_us: int) -> PortGroup:
    """Give the group with another name or description; its ports keep theirs."""
    changes: dict[str, object] = {
        name: value for name in ("name", "description") if (value := getattr(fields, name)) is not UNSET
    }
    return revised(group, now_us, **changes)


def placement(fields: PortGroupFields, live_hosts: Sequence[str], *, offset: int) -> list[str]:
    """Name the host of each port, in order: as asked, or in turn over the live hosts from an offset.

    Raises Invalid unless exactly one of count and hosts is said, Conflict when no host is live.
    """
    if (fields.count is UNSET) == (fields.hosts is UNSET):
        raise errors.Invalid("Invalid input for port_group. Reason: say either count or hosts.")
    if fields.hosts is not UNSET:
        return list(fields.hosts)
    assert fields.count is not UNSET
    if not live_hosts:
        raise errors.Conflict("No host is alive to take the ports.", reason="NoLiveHost")
    return [live_hosts[(offset + number) % len(live_hosts)] for number in range(fields.count)]


def ports(fields: PortGroupFields, hosts: Sequence[str]) -> list[PortFields]:
    """Give one port for each host, named after the group and numbered from 1."""
    name = "port" if fields.name is UNSET or not fields.name else fields.name
    return [
        msgspec.structs.replace(
            fields.port,
            network_id=fields.network_id,
            project_id=fields.project_id,
            name=f"{name}-{number}",
            host_id=host,
            fast_path=_asks_fast_path(fields),
        )
        for number, host in enumerate(hosts, start=1)
    ]


def _asks_fast_path(fields: PortGroupFields) -> bool:
    said = fields.fast_path if fields.port.fast_path is UNSET else fields.port.fast_path
    return said is True


def progress(states: Sequence[PortState]) -> Progress:
    """Count how far the ports are."""
    in_force = sum(state.in_force for state in states)
    active = sum(state.status == "ACTIVE" for state in states)
    failed = sum(state.status == "ERROR" for state in states)
    if not states:
        state = "EMPTY"
    elif failed:
        state = "ERROR"
    elif in_force < len(states):
        state = "BUILD"
    else:
        state = "ACTIVE" if active == len(states) else "IN_FORCE"
    return Progress(state, len(states), in_force, active, failed)
