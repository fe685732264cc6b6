"""What the control plane tells the management plane: how far the hosts are."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from alcor.model.ids import HostId, NetworkId, PortId
from alcor.model.records import Host, Port

PortStatus = Literal["ACTIVE", "DOWN", "BUILD", "ERROR"]
Until = Literal["in_force", "active"]  # what is waited for
PathName = Literal["", "fast", "queue", "rescue", "none"]
HostProgress = Literal["pending", "in_force", "refused", "unreachable", "superseded"]


class PortState(msgspec.Struct, frozen=True, array_like=True):
    """The truth about one port (law 1).

    ACTIVE: in force and plugged. BUILD: being delivered to a live agent. ERROR: its host refused it.
    DOWN: everything else. `applied_revision`: the revision its host acknowledged for it, None if none.
    `host_is_alive`: the host that its record names has an agent that is connected.
    """

    status: PortStatus
    in_force: bool
    plugged: bool
    applied_revision: int | None
    reason: str
    host_is_alive: bool = False


class HostReceipt(msgspec.Struct, frozen=True):
    """One host's part in a change."""

    host: HostId
    state: HostProgress
    took_ms: float | None  # from commit to acknowledgement
    reason: str = ""
    path: PathName = ""  # by which it was, or is to be, delivered
    path_reason: str = ""  # a sentence: why by that one


class Omitted(msgspec.Struct, frozen=True):
    """Hosts that have a change and are not listed any longer. None of them took longer than each that is."""

    hosts: int
    in_force: int
    superseded: int
    paths: dict[PathName, int]  # hosts by the path that it came by


class Receipt(msgspec.Struct, frozen=True):
    """Which hosts a revision concerns, and what each has. Kept for the newest revisions only.

    `omitted`: of an older one, the hosts that have it are counted instead of listed, but for a few.
    """

    revision: int
    committed_at: int  # microseconds since 1970 UTC
    in_force: bool  # on every host concerned
    hosts: tuple[HostReceipt, ...]
    omitted: Omitted | None = None


class RescueStatus(msgspec.Struct, frozen=True):
    """Who writes to a host's data plane instead of its own agent."""

    by: HostId
    since: int  # microseconds since 1970 UTC
    why: str


class HostStatus(msgspec.Struct, frozen=True):
    """One host, as the controller sees it."""

    record: Host
    alive: bool
    started_at: int | None  # of its agent, microseconds
    last_heard_at: int | None  # microseconds
    ports: int
    ports_in_force: int
    ports_plugged: int
    sections: int
    sections_pending: int
    reason: str  # a sentence on its state
    rescue: RescueStatus | None = None  # then `alive` is about the neighbour that writes for it
    path: PathName = ""  # by which changes go to it
    path_reason: str = ""  # a sentence: why by that one
    paths: dict[str, str] = {}  # how each path to it is, in words
    agent_version: str = ""  # of the agent that is heard for it; empty: none is


class ResyncProgress(msgspec.Struct, frozen=True):
    """How far the hosts are in this term of the controller. Each host is in one of four states."""

    epoch: int
    hosts: int  # that an agent introduced, ever
    away: int  # their agents are not connected
    waiting: int  # connected and welcomed; their turn has not come
    synchronising: int
    done: int  # each answered for all that it must hold
    networks: int  # with hosts that must hold them
    networks_complete: int  # all those hosts are done
    bytes_left: int  # estimated, of the hosts that wait or are being synchronised


class NetworkProgress(msgspec.Struct, frozen=True):
    """How far the hosts are that must hold a network."""

    network_id: NetworkId
    hosts: int
    hosts_done: int


class Convergence(Protocol):
    """What the API asks of the controller, in this process or in another. Nothing here reads the store.

    All but `port_states`, `wait` and `wait_revision` raise Unavailable when the controller does not answer.
    """

    async def port_states(self, ports: Sequence[Port]) -> list[PortState]:
        """Give the state of each port, in order; of which nothing is known, none is in force. O(1) each."""
        ...

    async def wait(
        self,
        port_ids: Sequence[PortId],
        *,
        revision: int,
        until: Until,
        timeout_s: float,
    ) -> bool:
        """Wait until the revision is known here and each port is so, or deleted. False on timeout."""
        ...

    async def wait_revision(self, revision: int, *, timeout_s: float) -> bool:
        """Wait until a revision is in force on every host concerned. False on timeout."""
        ...

    async def receipt(self, revision: int) -> Receipt | None:
        """Give the receipt of a revision; None when it is unknown or too old."""
        ...

    async def hosts(self) -> list[HostStatus]:
        """Give all hosts, by name. O(their ports)."""
        ...

    async def host(self, host_id: HostId) -> HostStatus | None:
        """Give one host; None when no agent has introduced it. O(its ports)."""
        ...

    async def host_records(self) -> list[Host]:
        """Give the records of all hosts, by name. O(hosts)."""
        ...

    async def live_hosts(self) -> list[HostId]:
        """Name the hosts that have an agent that is connected, in order. O(hosts)."""
        ...

    async def resync(self) -> ResyncProgress:
        """Tell how far the region's restart is. O(hosts, networks and what is left): for who asks."""
        ...

    async def resync_networks(self) -> list[NetworkProgress]:
        """Tell how far each network with hosts is, by id. O(sections of all hosts)."""
        ...


class TraceStep(msgspec.Struct, frozen=True):
    """One table's decision: where, what was matched, and what it did."""

    host: HostId
    table: str
    rule: str  # in words, with the ids of the objects it comes from
    action: str


class TraceResult(msgspec.Struct, frozen=True):
    """Where a packet ends, and why."""

    delivered: bool
    to_port: PortId | None
    decided_by: str  # a sentence: the rule that decided
    steps: tuple[TraceStep, ...]
    packet: dict[str, Any] = {}
    far_end: PortId | None = None  # the port that it reached or that refuses it; None: it does not come so far


class Tracer(Protocol):
    """Follows a packet through the rules of the hosts; wired from the controller and the simulated pipeline."""

    async def trace(
        self, *, port_id: PortId, to_ip: bytes, protocol: str, dst_port: int, icmp_type: int | None
    ) -> TraceResult:
        """Send one packet from a port, in memory. `protocol`: icmp | tcp | udp | sctp.

        The address says the IP version, and so what icmp is; `icmp_type` None: a ping's.
        Raises Missing, Invalid, Unavailable.
        """
        ...
