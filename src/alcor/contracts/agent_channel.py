"""The messages between controller and agents, the same bytes on every path (law 3).

    agent                                   controller
      Hello(held digests, plugged) ------->   what differs?
      <------- Welcome(epoch)
      <------- Update(number, sections)       deltas; full only where asked or differing
      Acknowledgement(number, results) ---->  ledger: in force
      Plugs(plugged, unplugged) ----------->  ACTIVE
      Beat <------------------------------->  silence is noticed
      Ask(addresses) --------------------->  where are they? (on-demand networks)
      <------- Update | Unknown               found ones are goal state from now on

On a stream each message is one frame: 4 bytes length (big endian, at most FRAME_MAX) and msgpack.
"""

from enum import IntEnum
from typing import Protocol, TypeAlias

import msgspec

from alcor.model.goal_state import SectionKey, SectionUpdate
from alcor.model.ids import HostId, NetworkId, PortId, Vni
from alcor.model.version import Version

PROTOCOL = 1
FRAME_MAX = 64 * 1024 * 1024  # a full section of 500,000 placements fits; more is a broken peer
BEAT_S = 1.0
WANTS_MAX = 256  # addresses in one Ask
SILENCE_S = 3.5  # three beats may be lost before a peer is taken for gone


class Outcome(IntEnum):
    """What became of one section update at the agent. Zero is unspecified: never success."""

    UNSPECIFIED = 0
    IN_FORCE = 1
    REFUSED = 2  # the data plane cannot; `reason` says why
    SEND_ALL = 3  # the base is not what the agent holds


class Learned(msgspec.Struct, frozen=True, array_like=True):
    """Ports of an on-demand network whose placements the agent holds because it asked for them."""

    network_id: NetworkId
    ports: tuple[PortId, ...]


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A section that the agent holds, in force."""

    key: SectionKey
    version: Version
    digest: bytes


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """First message of an agent."""

    protocol: int
    host: HostId
    vtep: bytes
    zone: str
    data_plane: str
    agent_version: str
    started_at: int  # microseconds since 1970 UTC
    held: tuple[Held, ...] = ()
    plugged: tuple[PortId, ...] = ()
    learned: tuple["Learned", ...] = ()  # what it asked for earlier and still holds


class SectionResult(msgspec.Struct, frozen=True, array_like=True):
    """Answer to one section update. `version`: the version that was sent."""

    key: SectionKey
    version: Version
    outcome: Outcome
    reason: str = ""


class Acknowledgement(msgspec.Struct, frozen=True, array_like=True, tag="ack"):
    """Answer to one update: every section of it, after the data plane confirmed them.

    `number` 0: not an answer; sections that were refused before are in force now (or the reverse).
    """

    number: int
    results: tuple[SectionResult, ...]
    took_us: int = 0


class Plugs(msgspec.Struct, frozen=True, array_like=True, tag="plugs"):
    """Workloads that came or went, since the last such message."""

    plugged: tuple[PortId, ...] = ()
    unplugged: tuple[PortId, ...] = ()


class Want(msgspec.Struct, frozen=True, array_like=True, order=True):
    """An address that a packet is for. (VNI, IP), never IP alone (law 8)."""

    vni: Vni
    ip: bytes


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """Where are these addresses? At most WANTS_MAX of them.

    What is found becomes part of the network's section, and follows as an Update; what is not, as Unknown.
    Either may be lost with the stream: the next packet asks again.
    """

    number: int
    wants: tuple[Want, ...]


class Release(msgspec.Struct, frozen=True, array_like=True, tag="release"):
    """Placements that the agent needs no longer; they go with an Update."""

    learned: tuple[Learned, ...]


class Unknown(msgspec.Struct, frozen=True, array_like=True, tag="unknown"):
    """Nobody has these addresses: do not ask for them again for so many seconds.

    `limited`: they were not looked up, because too many of the network are asked for.
    """

    number: int
    wants: tuple[Want, ...]
    for_s: float
    limited: bool = False


class Beat(msgspec.Struct, frozen=True, array_like=True, tag="beat"):
    """I am alive. Sent by both ends every BEAT_S."""

    number: int


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """First answer of the controller."""

    protocol: int
    epoch: int


class Farewell(msgspec.Struct, frozen=True, array_like=True, tag="farewell"):
    """The controller refuses or ends the stream, and why."""

    reason: str


class Update(msgspec.Struct, frozen=True, array_like=True, tag="update"):
    """Goal state. All sections of one update are put in force together, or each refused on its own."""

    number: int  # grows by one per stream, from 1
    sections: tuple[SectionUpdate, ...]
    # Last of a synchronisation. By now every section that Hello named and that the host should not hold was
    # removed by name, and every one that differs was sent; what was not named stays as Hello told it.
    complete: bool = False


FromAgent: TypeAlias = Hello | Acknowledgement | Plugs | Beat | Ask | Release
FromController: TypeAlias = Welcome | Update | Beat | Farewell | Unknown


class Channel(Protocol):
    """One stream of frames between two peers, in order. Bytes are frame bodies: one encoded message each."""

    async def receive(self) -> bytes | None:
        """Give the next frame; None at the end, whoever ended it. One reader at a time."""
        ...

    def send(self, frame_body: bytes) -> None:
        """Queue a frame. Never blocks and never raises; after the end it does nothing.

        Frames of one turn of the loop leave together. A backlog above its bound closes the channel.
        """
        ...

    def close(self, reason: str = "") -> None:
        """End the channel after what is queued was sent."""
        ...

    @property
    def backlog_bytes(self) -> int:
        """How much is queued and not yet taken by the kernel."""
        ...

    @property
    def close_reason(self) -> str | None:
        """Say why the channel ended; None while it is open."""
        ...
