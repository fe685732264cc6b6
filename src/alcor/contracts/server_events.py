"""What the compute service is told about the ports of its servers, and what is kept of how far it was told."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from alcor.model.ids import HostId

EventName = Literal["network-vif-plugged", "network-vif-unplugged", "network-vif-deleted", "network-changed"]
PLUGGED: EventName = "network-vif-plugged"
UNPLUGGED: EventName = "network-vif-unplugged"
DELETED: EventName = "network-vif-deleted"
CHANGED: EventName = "network-changed"


class ServerEvent(msgspec.Struct, frozen=True):
    """One word about one port of a server, in Nova's form of an external event."""

    name: EventName
    server_uuid: str
    tag: str  # the port's id
    status: Literal["completed", "failed"] = "completed"


class ServerEvents(Protocol):
    """The way to the compute service."""

    async def tell(self, events: Sequence[ServerEvent]) -> list[int]:
        """Say all of it in one request; give a status for each event, 200 where it was taken.

        Raises Unavailable (whether it was heard is not known: say it again later) and Invalid (the request as
        a whole was refused: what is in it cannot be right)."""
        ...


class Told(msgspec.Struct, frozen=True):
    """How far the compute service was told: `revision` of the change log, and a mark for each host.

    A mark is the exclusive-or over the ports of servers that were told to be plugged on the host; hosts
    without any have none."""

    revision: int
    marks: Mapping[HostId, int]


class ToldMarks(Protocol):
    """Where it is kept how far the compute service was told. Raises Unavailable."""

    async def load(self) -> Told | None:
        """Give what is kept; None: nothing was ever told."""
        ...

    async def keep(self, told: Told) -> None:
        """Keep the revision, and the marks of the hosts named: 0 forgets a host. O(hosts named)."""
        ...
