"""The messages between controller and agents, the same bytes on every path (law 3).

    agent                                   controller
      Hello(held digests, plugged) ------->   what differs?
      <------- Welcome(epoch)
      <------- Update(number, sections)       deltas; full only where asked or differing
      Acknowledgement(number, results) ---->  ledger: in force
      Plugs(plugged, unplugged) ----------->  ACTIVE
      Beat(what is held) <----------------->  silence is noticed, and what is held otherwise than thought;
                                              as datagrams where these arrive (`beat_datagram`)
      <------- Pace                           how often to beat
      <------- Compare                        it differs
      Holds(held digests) ---------------->   what differs?
      Announce(port, address) ------------>   goal state from now on, by a commit
      Ask(addresses) --------------------->  where are they? (on-demand networks)
      <------- Update | Unknown               found ones are goal state from now on
      <------- Rescue, RescueRenewal, RescueEnd  write for a neighbour
      RescueReport ----------------------->
      <------- Probe                          does a neighbour's data plane answer?
      Probed ----------------------------->

On a stream each message is one frame: 4 bytes length (big endian, at most FRAME_MAX) and msgpack.
In small updates ids are packed (`packed_ids`).
"""

from enum import IntEnum
from typing import Protocol, TypeAlias

import msgspec

from alcor.contracts.beat_datagram import BeatKey
from alcor.model.goal_state import SectionKey, SectionUpdate
from alcor.model.ids import HostId, NetworkId, PortId, Vni
from alcor.model.version import Version

PROTOCOL = 1
FRAME_MAX = 64 * 1024 * 1024  # a full section of 500,000 placements fits; more is a broken peer
BEAT_S = 1.0  # of the controller always, of agents until a Pace tells them otherwise
WANTS_MAX = 256  # addresses in one Ask
SILENCE_S = 3.5  # three beats may be lost before a peer is taken for gone
# So long what is said on a stream may wait in vain: beats may pass as datagrams where its segments do not.
# More than a slow reader takes to read.
UNANSWERED_S = 30.0

TOKEN_COUNTER_BITS = 32


def token_of(epoch: int, counter: int) -> int:
    """Make the token of a controller's change of writer: they grow over controllers, too."""
    return epoch << TOKEN_COUNTER_BITS | counter


def epoch_of(token: int) -> int:
    """Tell the term of the controller that granted a token; 0: none did."""
    return token >> TOKEN_COUNTER_BITS


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
    """A section that the agent holds, in force; `digest` is empty while its data plane refuses it."""

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
    # A neighbour that writes for the host, by order of the controller and under the order's token; or nobody.
    rescuer: HostId = HostId("")
    token: int = 0
    helps: bool = False  # it can rescue neighbours
    session: int = 0  # grows with each Hello of an agent; the queue's messages name it
    queue: bool = False  # it has a place at the queue
    helped: tuple[HostId, ...] = ()  # hosts it wrote for until no controller renewed the lease
    epoch: int = 0  # of the newest controller that it has heard; older ones do not serve it
    warrant: bytes = b""  # of a rescuer: as its order had it, or the renewal since
    anew: tuple[PortId, ...] = ()  # of those plugged: since the last controller was heard, or shortly before
    public_key: bytes = b""  # of one that helps (SubjectPublicKeyInfo, DER): orders bring certificates for it
    reads_packed: bool = False  # ids as 16 bytes, too (`packed_ids`)


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


class Plugs(msgspec.Struct, frozen=True, array_like=True, tag="plugs"):
    """Workloads that came or went, since the last such message."""

    plugged: tuple[PortId, ...] = ()
    unplugged: tuple[PortId, ...] = ()


class Announce(msgspec.Struct, frozen=True, array_like=True, tag="announce"):
    """The workload of a port says that an address of its pairs is its own. Lost, the workload says it again."""

    port_id: PortId
    ip: bytes


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
    """I am alive. Sent by both ends.

    `held`, of an agent: 8 bytes for which sections it holds in which versions (`model.held_mark`). It is the
    same from beat to beat as long as nothing changes, and so is the whole frame.
    """

    held: bytes = b""


# How each encoded beat begins: who meets ten thousand of them a second does not decode them.
BEAT_HEAD = b"\x92\xa4beat"


class Compare(msgspec.Struct, frozen=True, array_like=True, tag="compare"):
    """Tell all that you hold: your beats say that it is not what you acknowledged."""


class Holds(msgspec.Struct, frozen=True, array_like=True, tag="holds"):
    """What an agent holds: all of it as an answer to Compare, or one section by turns, unasked."""

    held: tuple[Held, ...]
    is_all: bool


class Pace(msgspec.Struct, frozen=True, array_like=True, tag="pace"):
    """Beat so often from now on, and once at once.

    To an agent that does so already it is the question whether it is there: it answers by a Beat on the stream.
    """

    beat_s: float


class Probe(msgspec.Struct, frozen=True, array_like=True, tag="probe"):
    """Ask a neighbour's data plane whether it answers, without changing anything there."""

    target: HostId
    vtep: bytes
    number: int


class Probed(msgspec.Struct, frozen=True, array_like=True, tag="probed"):
    """Whether it does. `reason` empty: it does, after `took_us`."""

    target: HostId
    number: int
    took_us: int
    reason: str = ""


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """First answer of the controller."""

    protocol: int
    epoch: int
    # Under it the agent writes to its data plane, so that whoever wrote before is refused there. It grows with
    # every change of writer; 0: none.
    token: int = 0
    beat_key: BeatKey | None = None  # beats may be sent as datagrams, too


class Farewell(msgspec.Struct, frozen=True, array_like=True, tag="farewell"):
    """The controller refuses or ends the stream, and why. From an agent: it ends its session on the queue.

    `epoch`: of the controller. Over the queue an agent hears all of them, and listens to the newest.
    """

    reason: str
    epoch: int = 0


class Update(msgspec.Struct, frozen=True, array_like=True, tag="update"):
    """Goal state. All sections of one update are put in force together, or each refused on its own."""

    number: int  # grows by one per stream, from 1
    sections: tuple[SectionUpdate, ...]
    # Last of a synchronisation. By now every section that Hello named and that the host should not hold was
    # removed by name, and every one that differs was sent; what was not named stays as Hello told it.
    complete: bool = False
    epoch: int = 0  # of the controller; over the queue, where several may be heard


class Rescue(msgspec.Struct, frozen=True, array_like=True, tag="rescue"):
    """Write for a neighbour whose agent is dead, over a stream of your own that says Hello in its name."""

    target: HostId
    vtep: bytes
    zone: str
    data_plane: str
    token: int
    lease_s: float  # without a word from the controller on that stream for so long: stop
    warrant: bytes = b""  # proves to a later controller that this order was given; for minutes
    # With it the target's switch lets the neighbour in, for minutes. For the key of its Hello, and no secret.
    certificate: bytes = b""


class RescueRenewal(msgspec.Struct, frozen=True, array_like=True, tag="rescue_renewal"):
    """Go on: here are a newer certificate and a newer warrant. Without that rescue they mean nothing."""

    target: HostId
    token: int
    certificate: bytes
    warrant: bytes = b""


class RescueEnd(msgspec.Struct, frozen=True, array_like=True, tag="rescue_end"):
    """Stop writing for a neighbour."""

    target: HostId
    token: int
    reason: str


class RescueOutcome(IntEnum):
    """What became of an order. That it was carried out is told by the Hello in the target's name."""

    UNSPECIFIED = 0
    NO_ANSWER = 1  # the target's data plane does not answer
    REFUSED = 2  # not by this host, or not now
    ENDED = 3


class RescueReport(msgspec.Struct, frozen=True, array_like=True, tag="rescue_report"):
    """A neighbour does not write for a host, or no longer."""

    target: HostId
    token: int
    outcome: RescueOutcome
    reason: str


FromAgent: TypeAlias = (
    Hello | Acknowledgement | Announce | Plugs | Beat | Holds | Ask | Release | RescueReport | Probed | Farewell
)
FromController: TypeAlias = (
    Welcome | Update | Beat | Pace | Compare | Farewell | Unknown | Rescue | RescueRenewal | RescueEnd | Probe
)


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
    def beat_at_s(self) -> float:
        """When the channel itself last took a beat, by the loop's clock; 0: it passes all of them on.

        It passes on a beat that says something else than the one before. At an agent's end: when the controller
        last answered a datagram.
        """
        ...

    @property
    def hears_datagrams(self) -> bool:
        """Did any of the peer's beats come as a datagram?

        It relies on these for as long as they were answered lately: a word on the stream does not tell that the
        next beat comes there, too.
        """
        ...

    def new_beat_key(self) -> BeatKey | None:
        """Make a key that the peer may send beats as datagrams with; None: there is no socket for them."""
        ...

    def beat(self, key: BeatKey, held: bytes) -> bool:
        """Send a beat as a datagram. False: it is not sure that it arrives, as none was answered lately."""
        ...

    @property
    def backlog_bytes(self) -> int:
        """How much is queued and not yet taken by the kernel."""
        ...

    @property
    def close_reason(self) -> str | None:
        """Say why the channel ended; None while it is open."""
        ...


class BeatsInFrames:
    """What channels have in common that treat beats as any other frame."""

    beat_at_s = 0.0
    hears_datagrams = False

    def new_beat_key(self) -> BeatKey | None:
        return None

    def beat(self, key: BeatKey, held: bytes) -> bool:
        return False
