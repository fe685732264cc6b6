"""Sockets of the beats that go as datagrams (`contracts.beat_datagram`): a controller's, an agent process's."""

import asyncio
import contextlib
import math
import socket
from array import array
from typing import Any, Protocol, TypeAlias

from alcor.adapters.beat_table import BeatTable
from alcor.contracts import beat_datagram
from alcor.contracts.agent_channel import BEAT_S
from alcor.contracts.beat_datagram import AGENT, CONTROLLER, DATAGRAM_MAX, HEAD, SEAL_BYTES, BeatKey
from alcor.runtime.event_log import EventLog

ANSWER_S = 1.5 * BEAT_S  # the first beat after it is answered: an answer costs more than the beat
# When one did not come, datagrams are not relied on: there is time for a word on the stream before its silence.
ANSWERED_S = 2.5 * BEAT_S
READ_PER_TURN = 256  # then others have their turn
PAUSE_S = 0.01  # what comes meanwhile is read together: to wake for each costs as much again
RECEIVED_BYTES = 16 * 1024 * 1024  # 20,000 beats wait here while the controller does something else
TOLD_AGAIN_S = 60.0
REFUSED_TOLD = 100  # sessions that end with a beat under way are no news
UNANSWERED_TOLD = 5  # beats without any answer: the first may be on its way
Address: TypeAlias = tuple[Any, ...]  # as the socket module has it: of two kinds
_SO_RCVBUFFORCE = 33  # <asm-generic/socket.h>; the socket module has no name for it


class Hearer(Protocol):
    """Whose beats these are, at the controller. It hears those that say something new."""

    def hear_beat(self, held: bytes) -> None: ...


class Speaker(Protocol):
    """Who beats, at the agent."""

    def hear_answer(self, now_s: float) -> None: ...


class BeatListener:
    """Hears beats. Owner of its sockets, and of the key of each session that has one."""

    def __init__(self, log: EventLog) -> None:
        self.refused = 0  # datagrams that no session sealed, or that came again
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._table = BeatTable()
        self._hearers: dict[int, Hearer] = {}
        self._refusals_told_s, self._tell_refused = -math.inf, REFUSED_TOLD

    async def open(self, host: str | None, port: int) -> None:
        """Listen there. Raises OSError when the address cannot be had."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        with contextlib.ExitStack() as opened:
            made = [
                opened.enter_context(_bound(family, address))
                for family, _, _, _, address in dict.fromkeys(found)
            ]
            opened.pop_all()
        for listening in made:
            self._watch(listening)
        self._sockets += made

    def close(self) -> None:
        """Hear nothing any longer."""
        for listening in self._sockets:
            if (pause := self._pauses.pop(listening, None)) is not None:
                pause.cancel()
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def new_session(self, hearer: Hearer) -> BeatKey | None:
        """Make a key for beats that `hearer` is to hear; None: there is no socket for them."""
        if not self._sockets:
            return None
        key = self._table.begin()
        self._hearers[key.session] = hearer
        return key

    def forget(self, session: int) -> None:
        """Refuse what comes of this session from now on."""
        if self._hearers.pop(session, None) is not None:
            self._table.end(session)

    def times(self, session: int) -> tuple["array[float]", int]:
        """Say where it is noted when a beat of this session was heard last; until it is forgotten."""
        return self._table.times(session)

    def pass_on(self, session: int) -> None:
        """Let the hearer have the session's next beat, whether it says anything new or not."""
        self._table.pass_on(session)

    def _watch(self, listening: socket.socket) -> None:
        self._pauses.pop(listening, None)
        self._loop.add_reader(listening, self._read, listening)

    def _read(self, listening: socket.socket) -> None:
        now_s, table = self._loop.time(), self._table
        answers: list[tuple[bytes, Address]] = []
        for _ in range(READ_PER_TURN):
            try:
                datagram, sender = listening.recvfrom(DATAGRAM_MAX + 1)
            except OSError:  # BlockingIOError: there is no more
                self._loop.remove_reader(listening)
                self._pauses[listening] = self._loop.call_later(PAUSE_S, self._watch, listening)
                break
            session = table.hear(datagram, now_s)
            if not session:
                self._refuse(sender, now_s)
                continue
            held = datagram[HEAD.size : -SEAL_BYTES]
            if table.is_new(session, held):
                self._hearers[session].hear_beat(held)
            if table.is_due(session, now_s, ANSWER_S):
                answers.append((table.answer(session), sender))
        for answer, sender in answers:  # in a row, which is cheaper than one now and then
            _send(listening, answer, sender)

    def _refuse(self, sender: Address, now_s: float) -> None:
        self.refused += 1
        if self.refused >= self._tell_refused and now_s - self._refusals_told_s > TOLD_AGAIN_S:
            self._refusals_told_s, self._tell_refused = now_s, self.refused + REFUSED_TOLD
            self._log.warning("beat_datagrams_refused", name=f"{sender[0]}:{sender[1]}", refused=self.refused)


class _Spoken:
    __slots__ = ("address", "answered", "answered_s", "family", "key", "number", "speaker")

    def __init__(self, key: BeatKey, speaker: Speaker, family: int, address: Address) -> None:
        self.key = key
        self.speaker = speaker
        self.family = family
        self.address = address
        self.number = 0
        self.answered = 0  # the greatest number that was
        self.answered_s = -math.inf


class BeatSender:
    """Sends the beats of all sessions of a process. Owner of its sockets, one for each family of addresses.

    They are opened for the first that is begun, so nothing else needs a loop.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._unanswered_told_s = -math.inf
        self._sockets: dict[int, socket.socket] = {}
        self._sessions: dict[int, _Spoken] = {}

    def begin_beside(self, key: BeatKey, speaker: Speaker, stream: socket.socket | None) -> bool:
        """Send a session's beats to where its stream goes. False: it goes to no address, or there is no socket.

        It may have been reset and its owner not been told yet: who beats goes on.
        """
        if stream is None or stream.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        try:
            self.begin(key, speaker, stream.family, stream.getpeername())
        except OSError:
            return False
        return True

    def begin(self, key: BeatKey, speaker: Speaker, family: int, address: Address) -> None:
        """Send a session's beats to this address from now on. Raises OSError when there can be no socket."""
        if family not in self._sockets:
            sending = socket.socket(family, socket.SOCK_DGRAM)
            sending.setblocking(False)
            self._sockets[family] = sending
            asyncio.get_running_loop().add_reader(sending, self._read, sending)
        self._sessions[key.session] = _Spoken(key, speaker, family, address)

    def beat(self, session: int, held: bytes) -> bool:
        """Send a beat. False: the controller has not answered lately."""
        spoken = self._sessions[session]
        spoken.number += 1
        datagram = beat_datagram.sealed(spoken.key, spoken.number, held, by=AGENT)
        _send(self._sockets[spoken.family], datagram, spoken.address)
        now_s = asyncio.get_running_loop().time()
        if now_s - spoken.answered_s < ANSWERED_S:
            return True
        if spoken.number > UNANSWERED_TOLD and now_s - self._unanswered_told_s > TOLD_AGAIN_S:
            self._unanswered_told_s = now_s
            name = f"{spoken.address[0]}:{spoken.address[1]}"
            self._log.warning(
                "beat_datagrams_unanswered", name=name, remedy="let UDP pass to that port and back"
            )
        return False

    def forget(self, session: int) -> None:
        """End a session."""
        self._sessions.pop(session, None)

    def close(self) -> None:
        """Send nothing any longer."""
        for sending in self._sockets.values():
            asyncio.get_running_loop().remove_reader(sending)
            sending.close()
        self._sockets.clear()
        self._sessions.clear()

    def _read(self, sending: socket.socket) -> None:
        now_s = asyncio.get_running_loop().time()
        for _ in range(READ_PER_TURN):
            try:
                datagram = sending.recv(DATAGRAM_MAX + 1)
            except OSError:  # BlockingIOError: there is no more
                return
            if len(datagram) != HEAD.size + SEAL_BYTES:
                continue
            session, number = HEAD.unpack_from(datagram)
            spoken = self._sessions.get(session)
            if spoken is None or not spoken.answered < number <= spoken.number:
                continue
            if beat_datagram.is_sealed(datagram, spoken.key.key, by=CONTROLLER):
                spoken.answered, spoken.answered_s = number, now_s
                spoken.speaker.hear_answer(now_s)


def _send(sending: socket.socket, datagram: bytes, address: Address) -> None:
    with contextlib.suppress(OSError):  # no room, or nobody there: as if it were lost on the way
        sending.sendto(datagram, address)


def _bound(family: int, address: Address) -> socket.socket:
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _make_room(listening)
        listening.setblocking(False)
        listening.bind(address)
        opened.pop_all()
    return listening


def _make_room(listening: socket.socket) -> None:
    """Have the kernel keep what comes while this process is at something else; less where it is not allowed."""
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVED_BYTES)
    except PermissionError:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)  # up to net.core.rmem_max
