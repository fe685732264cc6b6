"""Watches the sessions of all hosts for silence: each is looked at when it is due, not all of them always.

came -> due when it would be late -> heard meanwhile? due again
                                     not: a neighbour asks its data plane (probes) -> due when it is quiet
                                          dead by `detector.judge` -> lost

A neighbour that rescues speaks from its own machine: the data plane that it writes to says nothing about that
one's load, and is not asked. Its rescues that are late are lost with its own agent, which is the same process.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from alcor.contracts.agent_channel import BEAT_S, Channel
from alcor.control_plane.health import detector, pace
from alcor.control_plane.health.detector import BeatWatch, DetectorSettings, Evidence, Surroundings, Verdict
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock

TURN_S = 0.025
QUESTIONS_PER_TURN = 8  # on streams; where all agents are late, questions must not make everything later
OBSERVED = 1.5  # beats over the queue follow each other within so many times the pace, or it is not known there
SETTLE_S = 0.2  # a machine that has come back from a stall answers, and so does its agent within this
QUEUE_BEAT_S = 3.0  # of an agent that does not know the pace there
_IRRELEVANT = Surroundings(1, 0)


class Heard(Protocol):
    """What is watched of a session. `last_heard_...`: by its reader, monotonic and in microseconds of UTC."""

    host: HostId
    rescuer: HostId  # a neighbour that speaks for the host; or nobody
    channel: Channel
    last_heard_s: float
    last_heard_at: int

    @property
    def path(self) -> str: ...

    @property
    def is_busy(self) -> bool: ...


def heard_s(session: Heard) -> float:
    """Give when a session was heard last, monotonic: by its reader, or by its channel, which wakes none."""
    return max(session.last_heard_s, session.channel.beat_at_s)


def heard_at(session: Heard) -> int:
    """Give the same in microseconds since 1970 UTC."""
    return session.last_heard_at + int((heard_s(session) - session.last_heard_s) * 1_000_000)


class _Watched:
    __slots__ = (
        "answer_s",
        "answered_at_s",
        "beat_at_s",
        "beat_s",
        "channel",
        "is_questioned",
        "late_s",
        "quiet_since_s",
        "read_s",
        "session",
        "since_s",
        "slot",
    )

    def __init__(self, session: Heard, beat_s: float, now_s: float) -> None:
        self.session = session
        self.channel = session.channel
        self.read_s = now_s  # when its reader heard it last
        self.beat_s = beat_s  # how often it is to beat
        self.since_s = now_s  # it knows so since
        self.late_s = 0.0  # so long it may be quiet
        self.slot = -1
        # When it was heard last, as a neighbour was asked about its data plane. Not when that was asked: the
        # time of a beat is the loop's, which may be behind.
        self.quiet_since_s: float | None = None
        self.is_questioned = False  # itself, on its stream, as its datagrams may be lost
        self.answer_s: float | None = None
        self.answered_at_s = 0.0
        self.beat_at_s = -math.inf  # heard of last by its reader

    def is_late(self) -> bool:
        """Is it suspected, and has not spoken since?"""
        return self.quiet_since_s is not None and self.heard_s() <= self.quiet_since_s

    def heard_s(self) -> float:
        """When was it heard last, by its reader or by the channel itself?"""
        return max(self.read_s, self.channel.beat_at_s)


class Watch:
    """Owner of what is noted of each session, and of the pace.

    `ask` has a neighbour ask a host's data plane; `lost` ends a session and says why; `tell` sends an agent its
    pace.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        ask: Callable[[HostId], None],
        lost: Callable[[Heard, str], None],
        tell: Callable[[Heard, float], None],
        settings: DetectorSettings = detector.USUAL,
    ) -> None:
        self._clock = clock
        self._ask = ask
        self._lost = lost
        self._tell = tell
        self._settings = settings
        self._watched: dict[HostId, _Watched] = {}
        self._rescued: dict[HostId, dict[HostId, None]] = {}  # by whom: the hosts that it speaks for
        self._wheel: dict[int, list[_Watched]] = {}  # by turn
        self._slot = self._slot_of(clock.monotonic_s())
        self._questions = 0  # that may be asked in this turn
        self._queued = 0  # so many speak over the queue
        self._turns = BeatWatch(TURN_S, clock.monotonic_s())
        self._excused_s = 0.0  # this process was held up until then
        self.beat_s = BEAT_S
        self.queue_beat_s = BEAT_S

    async def run(self) -> None:
        """Take turns until cancelled."""
        while True:
            await asyncio.sleep(TURN_S)
            self.turn(self._clock.monotonic_s())

    def set_pace(self, *, helpers: int) -> None:
        """Choose how often agents are to beat; they are told when each is looked at next."""
        hosts = len(self._watched) - self._queued
        self.beat_s = pace.beat_s(self.beat_s, hosts=hosts, helpers=helpers)
        self.queue_beat_s = pace.beat_s(
            self.queue_beat_s, hosts=self._queued, helpers=helpers, beats_per_s=pace.QUEUE_BEATS_PER_S
        )

    def came(self, session: Heard) -> None:
        """Watch a session from now on, until another one is served for its host, or none."""
        self.left(session.host)
        now_s = self._clock.monotonic_s()
        beat_s = QUEUE_BEAT_S if session.path == "queue" else BEAT_S
        watched = self._watched[session.host] = _Watched(session, beat_s, now_s)
        self._queued += session.path == "queue"
        if session.rescuer:
            self._rescued.setdefault(session.rescuer, {})[session.host] = None
        self._heard(session, now_s)
        self._expect(watched, beat_s)
        self._pace(watched, now_s)
        self._schedule(watched, now_s + watched.late_s, now_s)

    def left(self, host: HostId) -> None:
        """Watch the host no longer."""
        watched = self._watched.pop(host, None)
        if watched is not None:
            watched.slot = -1  # never its turn
            self._queued -= watched.session.path == "queue"
            if rescuer := watched.session.rescuer:
                del self._rescued[rescuer][host]
                if not self._rescued[rescuer]:
                    del self._rescued[rescuer]

    def heard(self, session: Heard, *, is_beat: bool) -> None:
        """Take note of a word. O(1)."""
        watched = self._watched.get(session.host)
        if watched is None or watched.session is not session:
            return
        now_s = self._clock.monotonic_s()
        if is_beat:
            if session.path == "queue" and now_s - watched.beat_at_s < OBSERVED * self.queue_beat_s:
                self._observed(watched, now_s)
            watched.beat_at_s = now_s
        watched.read_s = now_s
        self._heard(session, now_s)

    def answered(self, host: HostId, answer_s: float) -> None:
        """Take note that the data plane of a host that is late answers a neighbour."""
        watched = self._watched.get(host)
        if watched is not None and watched.is_late():
            now_s = self._clock.monotonic_s()
            watched.answer_s, watched.answered_at_s = answer_s, now_s
            quiet_at_s = watched.heard_s() + detector.quiet_after_s(watched.beat_s, self._settings)
            self._schedule(watched, max(quiet_at_s, now_s + SETTLE_S), now_s)

    def is_late(self, host: HostId) -> bool:
        """Is the host suspected?"""
        watched = self._watched.get(host)
        return watched is None or watched.is_late()

    def turn(self, now_s: float) -> None:
        """Look at those that are due. O(those)."""
        was_held_up = self._turns.was_held_up(now_s)
        if was_held_up:
            self._excused_s = now_s
        self._questions = QUESTIONS_PER_TURN
        until = self._slot_of(now_s)
        for slot in range(self._slot, until):
            for watched in self._wheel.pop(slot, ()):
                if watched.slot == slot and not self._is_well(watched, now_s):
                    self._look(watched, now_s, may_blame=not was_held_up)
        self._slot = max(self._slot, until)

    def _is_well(self, watched: _Watched, now_s: float) -> bool:
        """Was it heard soon enough? Most are, tens of thousands a second: little is called or touched here."""
        heard_s = watched.channel.beat_at_s
        due_s = (heard_s if heard_s > watched.read_s else watched.read_s) + watched.late_s
        if due_s <= now_s or watched.beat_s != self.beat_s or watched.quiet_since_s is not None:
            return False
        slot = watched.slot = int(due_s / TURN_S) + 1
        line = self._wheel.get(slot)
        if line is None:
            self._wheel[slot] = [watched]
        else:
            line.append(watched)
        return True

    def _look(self, watched: _Watched, now_s: float, *, may_blame: bool) -> None:
        session = watched.session
        self._pace(watched, now_s)
        heard_s = watched.heard_s()
        if now_s - heard_s <= watched.late_s:
            watched.quiet_since_s = watched.answer_s = None
            self._schedule(watched, heard_s + watched.late_s, now_s)
            return
        if not may_blame:  # what was said meanwhile has not been read, and who was asked answered long ago
            watched.quiet_since_s = watched.answer_s = None
            self._schedule(watched, now_s + SETTLE_S, now_s)
            return
        if not watched.is_late():
            watched.answer_s, watched.is_questioned = None, False  # about an earlier silence
        judgement = detector.judge(self._evidence(watched, now_s), _IRRELEVANT, now_s, self._settings)
        if judgement.verdict is Verdict.AGENT_DEAD:
            self._lose(session, judgement.reason, now_s)
            return
        if not watched.is_late() and not session.rescuer:
            watched.quiet_since_s = heard_s
            self._ask(session.host)
        quiet_at_s = heard_s + detector.quiet_after_s(watched.beat_s, self._settings)
        silent_at_s = heard_s + detector.silent_after_s(watched.beat_s, self._settings)
        if self._question(watched):
            quiet_at_s = max(quiet_at_s, now_s + SETTLE_S)
        self._schedule(watched, quiet_at_s if quiet_at_s > now_s else silent_at_s, now_s)

    def _question(self, watched: _Watched) -> bool:
        """Ask an agent whose datagrams may be lost on its stream, which loses nothing. True: asked now."""
        if not watched.channel.hears_datagrams or watched.is_questioned or not self._questions:
            return False
        self._questions -= 1
        watched.is_questioned = True
        self._tell(watched.session, watched.beat_s)
        return True

    def _lose(self, session: Heard, reason: str, now_s: float) -> None:
        rescued = list(self._rescued.get(session.host, ())) if not session.rescuer else ()
        self._lost(session, reason)
        for host in rescued:
            watched = self._watched.get(host)
            if watched is not None and now_s - watched.heard_s() > watched.late_s:
                self._lost(watched.session, f"who wrote for it is lost: {reason}")

    def _evidence(self, watched: _Watched, now_s: float) -> Evidence:
        """Leave the witness out where the silence may be our own, of an older pace, or of a stall just over."""
        session = watched.session
        counts = (
            watched.heard_s() > watched.since_s
            and now_s - self._excused_s > watched.late_s
            and now_s - watched.answered_at_s >= SETTLE_S
            and (watched.is_questioned or not watched.channel.hears_datagrams)
        )
        return Evidence(
            heard_at_s=watched.heard_s(),
            beat_s=watched.beat_s,
            answer_s=watched.answer_s if counts else None,
            is_busy=session.is_busy,
        )

    def _observed(self, watched: _Watched, now_s: float) -> None:
        """Nothing tells that an agent over the queue heard of the pace, but that it keeps it."""
        if watched.beat_s != self.queue_beat_s:
            self._expect(watched, self.queue_beat_s)
            self._schedule(watched, now_s + watched.late_s, now_s)

    def _heard(self, session: Heard, now_s: float) -> None:
        session.last_heard_s = now_s
        session.last_heard_at = self._clock.now_us()

    def _expect(self, watched: _Watched, beat_s: float) -> None:
        watched.beat_s, watched.late_s = beat_s, detector.late_after_s(beat_s, self._settings)

    def _pace(self, watched: _Watched, now_s: float) -> None:
        if watched.session.path == "queue":  # told to all there again and again
            self._expect(watched, max(watched.beat_s, self.queue_beat_s))
        elif watched.beat_s != self.beat_s:
            watched.since_s = now_s
            self._expect(watched, self.beat_s)
            self._tell(watched.session, self.beat_s)

    def _schedule(self, watched: _Watched, due_s: float, now_s: float) -> None:
        slot = watched.slot = max(self._slot_of(due_s), self._slot_of(now_s)) + 1
        line = self._wheel.get(slot)
        if line is None:
            self._wheel[slot] = [watched]
        else:
            line.append(watched)

    def _slot_of(self, at_s: float) -> int:
        return int(at_s / TURN_S)
