"""The messages between API processes and the controller.

    API process                             controller
      ApiHello ----------------------------->
      <------- ApiWelcome(epoch)              or Farewell
      Committed(revision) ------------------> reads the change log now, not at its next look
      Request(number, question) ------------>
      <------- Reply(number) | Refusal(number)
      Cancel(number) ----------------------->  nobody waits for the answer any more
      Beat <-------------------------------->  silence is noticed

Framed as those of agents (`agent_channel`). Losing any of them does no harm: what was committed is in the
change log, which the controller looks at anyhow, and whoever asked is told that nothing is known.
"""

from typing import Any, TypeAlias

import msgspec

from alcor.contracts.agent_channel import Beat, Farewell
from alcor.contracts.convergence import (
    HostStatus,
    NetworkProgress,
    PortState,
    Receipt,
    ResyncProgress,
    TraceResult,
    Until,
)
from alcor.model import errors
from alcor.model.ids import HostId, PortId
from alcor.model.records import Host, Port

PROTOCOL = 1
STATES_MAX = 1_000  # ports in one question: the controller does nothing else while it answers
WAITS_MAX = 4_096  # under way of one API process


class ApiHello(msgspec.Struct, frozen=True, array_like=True, tag="api_hello"):
    """First message of an API process."""

    protocol: int
    name: str  # for the event log


class ApiWelcome(msgspec.Struct, frozen=True, array_like=True, tag="api_welcome"):
    """First answer of the controller."""

    protocol: int
    epoch: int


class Committed(msgspec.Struct, frozen=True, array_like=True, tag="committed"):
    """The change log has this revision. The change itself is read there, where it cannot be lost."""

    revision: int


class PortStates(msgspec.Struct, frozen=True, array_like=True, tag="port_states"):
    """`Convergence.port_states`, for at most STATES_MAX ports."""

    ports: tuple[Port, ...]


class Wait(msgspec.Struct, frozen=True, array_like=True, tag="wait"):
    """`Convergence.wait`."""

    port_ids: tuple[PortId, ...]
    revision: int
    until: Until
    timeout_s: float


class WaitRevision(msgspec.Struct, frozen=True, array_like=True, tag="wait_revision"):
    """`Convergence.wait_revision`."""

    revision: int
    timeout_s: float


class ReceiptOf(msgspec.Struct, frozen=True, array_like=True, tag="receipt"):
    """`Convergence.receipt`."""

    revision: int


class Hosts(msgspec.Struct, frozen=True, array_like=True, tag="hosts"):
    """`Convergence.hosts`."""


class OneHost(msgspec.Struct, frozen=True, array_like=True, tag="host"):
    """`Convergence.host`."""

    host_id: HostId


class HostRecords(msgspec.Struct, frozen=True, array_like=True, tag="host_records"):
    """`Convergence.host_records`."""


class LiveHosts(msgspec.Struct, frozen=True, array_like=True, tag="live_hosts"):
    """`Convergence.live_hosts`."""


class Resync(msgspec.Struct, frozen=True, array_like=True, tag="resync"):
    """`Convergence.resync`."""


class ResyncNetworks(msgspec.Struct, frozen=True, array_like=True, tag="resync_networks"):
    """`Convergence.resync_networks`."""


class Trace(msgspec.Struct, frozen=True, array_like=True, tag="trace"):
    """`Tracer.trace`."""

    port_id: PortId
    to_ip: bytes
    protocol: str
    dst_port: int
    icmp_type: int | None


Question: TypeAlias = (
    PortStates
    | Wait
    | WaitRevision
    | ReceiptOf
    | Hosts
    | OneHost
    | HostRecords
    | LiveHosts
    | Resync
    | ResyncNetworks
    | Trace
)
# What a Reply to each question holds.
ANSWERS: dict[type[Question], Any] = {
    PortStates: list[PortState],
    Wait: bool,
    WaitRevision: bool,
    ReceiptOf: Receipt | None,
    Hosts: list[HostStatus],
    OneHost: HostStatus | None,
    HostRecords: list[Host],
    LiveHosts: list[HostId],
    Resync: ResyncProgress,
    ResyncNetworks: list[NetworkProgress],
    Trace: TraceResult,
}


class Request(msgspec.Struct, frozen=True, array_like=True, tag="request"):
    """A question. Numbers are the API process's own, each used once per stream."""

    number: int
    question: Question


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """Nobody waits for the answer any more."""

    number: int


class Reply(msgspec.Struct, frozen=True, array_like=True, tag="reply"):
    """The answer: of the type that ANSWERS names for the question."""

    number: int
    answer: msgspec.Raw


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag="refusal"):
    """An error instead of an answer."""

    number: int
    kind: str
    message: str
    reason: str
    retry_after_s: float | None = None


FromApi: TypeAlias = ApiHello | Committed | Request | Cancel | Beat
ToApi: TypeAlias = ApiWelcome | Farewell | Reply | Refusal | Beat

_KINDS: dict[str, type[errors.AlcorError]] = {
    kind.__name__: kind for kind in (errors.Invalid, errors.Missing, errors.Conflict)
}


def refusal_of(number: int, error: errors.AlcorError) -> Refusal:
    """Write an error down, so that it can be raised at the other end."""
    kind = next((name for name, one in _KINDS.items() if isinstance(error, one)), "Unavailable")
    return Refusal(number, kind, error.message, error.reason, getattr(error, "retry_after_s", None))


def error_of(refusal: Refusal) -> errors.AlcorError:
    """Give the error that was written down; what is not known here is a reason to ask again later."""
    kind = _KINDS.get(refusal.kind)
    if kind is None:
        return errors.Unavailable(refusal.message, retry_after_s=refusal.retry_after_s or 1.0)
    return kind(refusal.message, reason=refusal.reason)
