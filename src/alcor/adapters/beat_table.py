"""What is heard of all sessions that beat by datagrams, in arrays: a beat touches few lines of memory.

    session = random bits | place      arrays, by place: session, number, when heard, when answered, held, key

With an object for each session, what belongs to it is in many places of a large heap, and nothing of it is in a
cache when the next beat of one of 10,000 sessions comes.
"""

from array import array

from alcor.contracts import beat_datagram
from alcor.contracts.beat_datagram import AGENT, CONTROLLER, HEAD, HELD_MAX, KEY_BYTES, SEAL_BYTES, BeatKey
from alcor.runtime.clock import random_bytes

_PLACE_BITS = 24
_DRAWN_BYTES = 4
_PLACE = (1 << _PLACE_BITS) - 1
_ROW = HELD_MAX + 1  # of what is held: the text, padded, and its length plus one; 0: it is to be passed on
_HEAD_BYTES = HEAD.size
_LENGTHS = [bytes([size + 1]) for size in range(HELD_MAX + 1)]


class BeatTable:
    """Owner of the numbers, keys and last beats of sessions. Times: the loop's, in seconds."""

    def __init__(self) -> None:
        self._sessions = array("Q")  # 0: the place is free
        self._numbers = array("Q")  # of the newest beat
        self._heard_s = array("d")
        self._answered_s = array("d")
        self._held = bytearray()
        self._keys = bytearray()
        self._free: list[int] = []

    def begin(self) -> BeatKey:
        """Begin a session, and give what its beats are sealed with."""
        place = self._free.pop() if self._free else self._add_place()
        drawn = int.from_bytes(random_bytes(_DRAWN_BYTES)) + 1  # so that no session is 0
        key = BeatKey(drawn << _PLACE_BITS | place, random_bytes(KEY_BYTES))
        self._sessions[place] = key.session
        self._numbers[place] = 0
        self._heard_s[place] = self._answered_s[place] = 0.0
        self._held[place * _ROW] = 0
        self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES] = key.key
        return key

    def end(self, session: int) -> None:
        """End a session: what comes of it is refused."""
        place = session & _PLACE
        if self._is_of(place, session):
            self._sessions[place] = 0
            self._free.append(place)

    def hear(self, datagram: bytes, now_s: float) -> int:
        """Take a datagram. Give its session; 0: nobody sealed it, or it is no news. What is wrong is cheap."""
        if not _HEAD_BYTES + SEAL_BYTES <= len(datagram) <= _HEAD_BYTES + HELD_MAX + SEAL_BYTES:
            return 0
        session, number = HEAD.unpack_from(datagram)
        place = session & _PLACE
        if not self._is_of(place, session) or number <= self._numbers[place]:
            return 0
        key = self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES]
        if not beat_datagram.is_sealed(datagram, key, by=AGENT):
            return 0
        self._numbers[place] = number
        self._heard_s[place] = now_s
        return int(session)

    def is_new(self, session: int, held: bytes) -> bool:
        """Does a session's beat say another thing than was passed on last? It is passed on now."""
        at = (session & _PLACE) * _ROW
        row = _LENGTHS[len(held)] + held
        if self._held.startswith(row, at):
            return False
        self._held[at : at + len(row)] = row
        return True

    def pass_on(self, session: int) -> None:
        """Let what the session's next beat says be passed on, whatever it is."""
        self._held[(session & _PLACE) * _ROW] = 0

    def times(self, session: int) -> tuple["array[float]", int]:
        """Say where it is noted when a beat of the session was heard last. 0: never."""
        return self._heard_s, session & _PLACE

    def is_due(self, session: int, now_s: float, every_s: float) -> bool:
        """Has the session had no answer for so long? It has one now."""
        place = session & _PLACE
        if now_s - self._answered_s[place] < every_s:
            return False
        self._answered_s[place] = now_s
        return True

    def answer(self, session: int) -> bytes:
        """Make the answer to the newest beat of a session."""
        place = session & _PLACE
        key = BeatKey(session, bytes(self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES]))
        return beat_datagram.sealed(key, self._numbers[place], by=CONTROLLER)

    def _is_of(self, place: int, session: int) -> bool:
        return place < len(self._sessions) and self._sessions[place] == session

    def _add_place(self) -> int:
        for numbers in (self._sessions, self._numbers):
            numbers.append(0)
        for times in (self._heard_s, self._answered_s):
            times.append(0.0)
        self._held.extend(bytes(_ROW))
        self._keys.extend(bytes(KEY_BYTES))
        return len(self._sessions) - 1
