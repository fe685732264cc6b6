"""Streams between agents and controller that are slow, repeat, swap, replay, break and fall silent.

    send -> (twice? swapped? an old one too?) -> lane: under way, each frame with its moment -> receive

Without faults a wire is what the contract says: frames in order, once. What a broken network must not do to a
stream is not done: Hello and Welcome come first and once, and no frame is lost while the stream lives. Beats of
agents go beside it, as datagrams: some are lost, and they overtake each other.
"""

import asyncio
import random
from collections import defaultdict, deque

import msgspec

from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import Beat
from alcor.contracts.beat_datagram import BeatKey
from alcor.model.ids import HostId
from alcor.simulation import virtual_time

DELAY_MAX_S = 0.2
_DUPLICATED, _SWAPPED, _REPLAYED = 0.05, 0.05, 0.02
_LOST = 0.1  # of datagrams
_REMEMBERED = 32  # updates of earlier moments, for each host
_REPEATABLE = frozenset({b"update", b"ack", b"plugs", b"beat", b"ask", b"unknown"})
_SWAPPABLE = frozenset({b"update", b"ack"})
_TRUE = 0xC3  # msgpack
_encoder = msgspec.msgpack.Encoder()
_PACKED = packed_ids.TAG.encode()


class Network:
    """Makes wires, and owns what befalls them."""

    def __init__(self, chance: random.Random) -> None:
        self.faulty = True
        self.ends_made = 0
        self.counts: dict[str, int] = defaultdict(int)
        self._chance = chance
        self._wires: dict[HostId, list[Wire]] = defaultdict(list)
        self._old: dict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def open(self, host: HostId, speaker: str, place: str) -> "Wire":
        """Make a wire from a host to a controller's place. `speaker`: whom old updates come back to."""
        wire = Wire(self, speaker, place)
        wires = self._wires[host]
        wires[:] = [other for other in wires if other.is_open]
        wires.append(wire)
        return wire

    def cut(self, host: HostId) -> None:
        """Break the host's wires; both ends hear of it."""
        for wire in self._wires[host]:
            wire.cut()

    def silence(self, host: HostId, place: str | None = None) -> None:
        """Let everything under way and to come vanish; nobody hears of it. `place`: only between these two."""
        for wire in self._wires[host]:
            if place is None or wire.place == place:
                wire.silence()

    def forget_old(self, speaker: str) -> None:
        """Drop what could be replayed: the agent lost its state, and only state tells old from new."""
        self._old[speaker].clear()

    def delay_s(self) -> float:
        """Draw how long a frame is under way: mostly short."""
        if not self.faulty:
            return 0.001
        return float(self._chance.random() ** 4 * DELAY_MAX_S)

    def carry(self, lane: "_Lane", frame: bytes) -> None:
        """Put a frame on its way, and what goes wrong with it."""
        kind = _kind(frame)
        if kind in (b"ask", b"unknown"):
            self.counts[f"{kind.decode()}_sent"] += 1
        draw = self._chance.random() if self.faulty and kind in _REPEATABLE else 1.0
        if draw < _SWAPPED and kind in _SWAPPABLE and not _is_complete(kind, frame):
            self.counts["swapped"] += lane.put_before_last(frame, self.delay_s())
        else:
            lane.put(frame, self.delay_s())
        if _SWAPPED <= draw < _SWAPPED + _DUPLICATED:
            self.counts["duplicated"] += 1
            lane.put(frame, self.delay_s())
        if kind == b"update":
            old = self._old[lane.speaker]
            if old and 1 - _REPLAYED < draw < 1:
                self.counts["replayed"] += 1
                lane.put(old[self._chance.randrange(len(old))], self.delay_s())
            if not _is_complete(kind, frame):
                old.append(frame)

    def carry_datagram(self, lane: "_Lane", number: int, frame: bytes) -> None:
        """Put a beat on its way beside the stream, or lose it."""
        if self.faulty and self._chance.random() < _LOST:
            self.counts["datagrams_lost"] += 1
        else:
            lane.put_beside(number, frame, self.delay_s())


class Wire:
    """One stream: its two ends, and a lane to each."""

    def __init__(self, network: Network, speaker: str, place: str) -> None:
        self.place = place
        self.agent_end = WireEnd(network)
        self.controller_end = WireEnd(network)
        self._up = _Lane(speaker, self.controller_end)
        self._down = _Lane(speaker, self.agent_end)
        self.agent_end.lane, self.controller_end.lane = self._up, self._down

    @property
    def is_open(self) -> bool:
        return self.agent_end.close_reason is None or self.controller_end.close_reason is None

    def cut(self) -> None:
        self.silence()
        for end in (self.agent_end, self.controller_end):
            end.arrive(None, reason="connection reset")

    def silence(self) -> None:
        self._up.vanish()
        self._down.vanish()


class WireEnd:
    """One end of a wire. Implements `Channel`. Hashes by its number: sets have the same order always.

    It treats datagrams as the frames they stand for, and those need no seal.
    """

    beat_at_s = 0.0
    hears_datagrams = True

    def __init__(self, network: Network) -> None:
        network.ends_made += 1
        self._number = network.ends_made
        self.lane: _Lane | None = None
        self._network = network
        self._arrived: deque[bytes] = deque()
        self._beats_sent = self._newest_beat = 0
        self._wake = asyncio.Event()
        self._close_reason: str | None = None

    def __hash__(self) -> int:
        return self._number

    async def receive(self) -> bytes | None:
        while not self._arrived:
            if self._close_reason is not None:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._arrived.popleft()

    def send(self, frame_body: bytes) -> None:
        assert self.lane is not None, "the wire joins its ends"
        if self._close_reason is None:
            self._network.carry(self.lane, frame_body)

    def close(self, reason: str = "") -> None:
        assert self.lane is not None, "the wire joins its ends"
        if self._close_reason is None:
            self.lane.put(None, 0.0)
            self.arrive(None, reason=reason or "closed here")

    def new_beat_key(self) -> BeatKey | None:
        return BeatKey(self._number, b"")

    def beat(self, key: BeatKey, held: bytes) -> bool:
        assert self.lane is not None, "the wire joins its ends"
        self._beats_sent += 1
        if self._close_reason is None:
            self._network.carry_datagram(self.lane, self._beats_sent, _encoder.encode(Beat(held)))
        return True

    @property
    def backlog_bytes(self) -> int:
        return 0 if self.lane is None else self.lane.bytes_under_way

    @property
    def close_reason(self) -> str | None:
        return self._close_reason

    def hear_beat(self, number: int, frame: bytes) -> None:
        """Take a beat that came beside the stream, but none that a newer one overtook."""
        if number > self._newest_beat:
            self._newest_beat = number
            self.arrive(frame)

    def arrive(self, frame: bytes | None, *, reason: str = "closed by the peer") -> None:
        """Take a frame; None is the end."""
        if self._close_reason is None:
            if frame is None:
                self._close_reason = reason
            else:
                self._arrived.append(frame)
        self._wake.set()


class _Lane:
    """Frames under way to one end, each with the moment at which it arrives, ascending."""

    def __init__(self, speaker: str, end: WireEnd) -> None:
        self.speaker = speaker
        self.bytes_under_way = 0
        self._loop = virtual_time.running()
        self._end = end
        self._under_way: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._is_silent = False

    def put(self, frame: bytes | None, delay_s: float) -> None:
        if self._is_silent:
            return
        due = self._loop.now_s + delay_s
        if self._under_way:
            due = max(due, self._under_way[-1][0])
        self._under_way.append((due, frame))
        self.bytes_under_way += len(frame or b"")
        if self._timer is None:
            self._timer = self._loop.deliver_at(due, self._arrive)

    def put_beside(self, number: int, frame: bytes, delay_s: float) -> None:
        """Let a beat arrive by itself."""
        self._loop.deliver_at(self._loop.now_s + delay_s, self._arrive_beside, number, frame)

    def put_before_last(self, frame: bytes, delay_s: float) -> bool:
        """Let the frame overtake the one before it, if that one may be overtaken. True when it did."""
        last = self._under_way[-1] if self._under_way else None
        if last is None or last[1] is None or _kind(last[1]) not in _SWAPPABLE:
            self.put(frame, delay_s)
            return False
        if _is_complete(_kind(last[1]), last[1]):
            self.put(frame, delay_s)
            return False
        self._under_way[-1] = (last[0], frame)
        self._under_way.append(last)
        self.bytes_under_way += len(frame)
        return True

    def vanish(self) -> None:
        self._is_silent = True
        self._under_way.clear()
        self.bytes_under_way = 0

    def _arrive_beside(self, number: int, frame: bytes) -> None:
        if not self._is_silent:
            self._loop.deliveries += 1
            self._end.hear_beat(number, frame)

    def _arrive(self) -> None:
        self._timer = None
        while self._under_way and self._under_way[0][0] <= self._loop.now_s:
            _, frame = self._under_way.popleft()
            self._loop.deliveries += 1
            self.bytes_under_way -= len(frame or b"")
            self._end.arrive(frame)
        if self._under_way:
            self._timer = self._loop.deliver_at(self._under_way[0][0], self._arrive)


def _kind(frame: bytes) -> bytes:
    """Read a message's tag: a short text, the first field of a short array."""
    tag = frame[2 : 2 + (frame[1] & 0x1F)]
    return b"update" if tag == _PACKED else tag


def _is_complete(kind: bytes, frame: bytes) -> bool:
    """Is it the last update of a synchronisation? `complete` is followed by the stream's epoch, which is 0."""
    return kind == b"update" and frame[-2] == _TRUE
