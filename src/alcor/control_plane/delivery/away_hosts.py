"""What the queue keeps for hosts that nobody hears: marked when it changes, written at a bounded pace.

    change --> line of the section, marked --------- a round later --> its newest value --> queue
                  ^---- further changes meanwhile: the same value has them

The last value of a section is what counts, so a section is written once a round, whatever happened to it
meanwhile; and a round is so slow that a thousand hosts away do not hold up those that are heard. What is marked
when the controller ends is not written, and nothing is lost by it: a host that comes back says what it holds.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from alcor.contracts.queue import AWAY, GoalQueue
from alcor.control_plane.compiler.sections import HostSection
from alcor.control_plane.delivery.queue_lines import Line, Writer
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.model.version import Version


class AwayPace(msgspec.Struct, frozen=True):
    """How fast it is written: a section of a host at most once in a round, and so much in a turn of it."""

    round_s: float = 1.0
    turn_s: float = 0.1
    turn_frames: int = 100  # a thousand a second
    turn_bytes: int = 512 * 1024  # 5 MiB a second, and at least one frame a turn


class AwayHost:
    """What the queue keeps for a host that nobody hears: each section's newest value, since it was last heard.

    Owner of its lines. What was under way when it was lost is not known to be held: such sections go whole.
    Updates have the number of the session that ended, so that the agent knows them to be newer than that.
    """

    def __init__(self, host: HostId, lines: dict[SectionKey, Line], writer: Writer, *, session: int) -> None:
        self.host = host
        self._lines = lines
        self._writer = writer
        self._session = session

    def offer(self, revision: int, sections: Iterable[HostSection]) -> None:
        """Take a change's sections. None may be left out: what is kept next leads over all of them."""
        version = Version(self._writer.epoch, revision)
        for section in sections:
            line = self._lines.get(section.key)
            if line is None:
                line = self._lines[section.key] = Line()
            self._writer.add(line, version, section)

    def frame(self, key: SectionKey) -> bytes:
        """Give what is to be kept of a section now."""
        return self._writer.frame(self._writer.step(key, self._lines[key]), self._session)[0]


class AwayHosts:
    """Owner of the hosts away, and of the marks of what is to be written for them."""

    def __init__(self, queue: GoalQueue, pace: AwayPace) -> None:
        self._queue = queue
        self._pace = pace
        self._hosts: dict[HostId, AwayHost] = {}
        self._marked: dict[tuple[AwayHost, SectionKey], None] = {}
        self._wake = asyncio.Event()

    def left(self, away: AwayHost) -> None:
        """Keep for a host from now on what is offered to it."""
        self._hosts[away.host] = away

    def came(self, host: HostId) -> None:
        """Stop keeping: the host is heard by whatever path, or is no longer of the region."""
        self._hosts.pop(host, None)

    def has(self, host: HostId) -> bool:
        """Does the queue keep what is offered to the host?"""
        return host in self._hosts

    def keep(self, host: HostId, revision: int, sections: Iterable[HostSection]) -> None:
        """Take a change's sections for a host that nobody hears. O(sections): it is written later."""
        away = self._hosts.get(host)
        if away is None:
            return
        away.offer(revision, given := list(sections))
        for section in given:
            self._marked[away, section.key] = None
        self._wake.set()

    async def run(self) -> None:
        """Write what is marked, round by round, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._pace.round_s)
            await self._write_round()

    async def _write_round(self) -> None:
        marked, self._marked = self._marked, {}
        while marked and self._can_keep:
            self._write_turn(marked)
            await asyncio.sleep(self._pace.turn_s)
        if marked:  # they wait until the queue keeps again, with what comes until then
            self._marked = marked | self._marked
        if self._marked:
            self._wake.set()

    def _write_turn(self, marked: dict[tuple[AwayHost, SectionKey], None]) -> None:
        frames = size = 0
        while marked and frames < self._pace.turn_frames and size < self._pace.turn_bytes:
            away, key = next(iter(marked))
            if self._hosts.get(away.host) is away:  # else it was heard since
                frame = away.frame(key)
                frames += 1
                size += len(frame)  # made, if not sent: what is too large is a part of what is kept next
                if not self._publish(away.host, key, frame):
                    return  # it keeps its mark, and all behind it: there is room in a later turn
            del marked[away, key]

    def _publish(self, host: HostId, key: SectionKey, frame: bytes) -> bool:
        """Give a frame to the queue. False: later, not now."""
        is_too_large = len(frame) > self._queue.frame_max
        return is_too_large or self._queue.publish(host, key, frame, session=AWAY)

    @property
    def _can_keep(self) -> bool:
        state = self._queue.state
        return state.is_up and not state.is_full
