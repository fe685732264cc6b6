"""By which path each host is told, and why: what `path_choice` decides on, for changes and when asked."""

from collections.abc import Mapping
from typing import TypeAlias

from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.fast_path import HostStream
from alcor.control_plane.delivery.host_queue import HostQueue
from alcor.control_plane.delivery.path_choice import (
    NEVER_SEEN,
    NOTHING_ASKED,
    Asked,
    Choice,
    Place,
    StreamState,
)
from alcor.control_plane.delivery.queue_path import QueuePath
from alcor.model.ids import HostId

HostSession: TypeAlias = HostStream | HostQueue

_IRRELEVANT = Place(None)  # while there is a stream
_ANSWERS = Place(None, is_offered=True, is_heard=True)  # whatever else is said of the queue
_DOWN, _UP = StreamState(is_up=False), StreamState(is_up=True)
_ALIKE_MAX = 1024  # choices that are kept to be shared; there are few sentences at a time


class _Usual:
    """What a change chooses for a stream that keeps up, and for who answers over the queue: for most hosts."""

    __slots__ = ("asked", "over_queue", "over_stream")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.over_stream = path_choice.choose(asked, _UP, _IRRELEVANT)
        self.over_queue = path_choice.choose(asked, _DOWN, _ANSWERS)


class Paths:
    """Owner of what was asked for last of each host that was heard. Reads sessions and queue."""

    def __init__(self, sessions: Mapping[HostId, HostSession], queue: QueuePath | None) -> None:
        self._sessions = sessions
        self._queue = queue
        self._asked: dict[HostId, Asked] = {}
        self._alike: dict[Choice, Choice] = {}
        self._usual_last = _Usual(NOTHING_ASKED)

    def came(self, host: HostId) -> None:
        """Hear that a host is heard."""
        self._asked[host] = NOTHING_ASKED

    def removed(self, host: HostId) -> None:
        """Forget a host."""
        self._asked.pop(host, None)

    def choose(self, host: HostId, asked: Asked) -> Choice:
        """Choose for what is asked. Equal choices are one, because receipts keep them. O(1)."""
        if host in self._asked:
            self._asked[host] = asked
        session = self._sessions.get(host)
        if isinstance(session, HostQueue):
            return self._usual(asked).over_queue
        stream = _stream(session)
        if stream is _UP:
            return self._usual(asked).over_stream
        place = _IRRELEVANT if stream.is_up else self._place(host, session)
        choice = path_choice.choose(asked, stream, place)
        if len(self._alike) >= _ALIKE_MAX:
            self._alike.clear()
        return self._alike.setdefault(choice, choice)

    def _usual(self, asked: Asked) -> "_Usual":
        """Choose once for all hosts of a change that are heard as hosts mostly are."""
        if self._usual_last.asked is not asked:
            self._usual_last = _Usual(asked)
        return self._usual_last

    def choice(self, host: HostId) -> Choice:
        """Choose as things are now, for what was asked for last."""
        asked = self._asked.get(host)
        return NEVER_SEEN if asked is None else self.choose(host, asked)

    def words(self, host: HostId) -> dict[str, str]:
        """Say how each path to the host is."""
        session = self._sessions.get(host)
        stream, place = _stream(session), self._place(host, session)
        fast = "down" if not stream.is_up else "congested" if stream.is_congested else "up"
        if place.queue is None:
            return {"fast": fast, "queue": "none in this region"}
        if not place.queue.is_up or place.queue.is_full:
            return {"fast": fast, "queue": place.queue.reason}
        if isinstance(session, HostQueue):
            too_large = f", but {len(session.too_large)} sections are too large for it" * bool(
                session.too_large
            )
            return {"fast": fast, "queue": f"up: the host answers there{too_large}"}
        return {
            "fast": fast,
            "queue": "up: the host listens there" if place.is_offered else "up, not used by it",
        }

    def _place(self, host: HostId, session: HostSession | None) -> Place:
        if self._queue is None:
            return _IRRELEVANT
        if session is None:
            return Place(self._queue.state, is_offered=self._queue.away.has(host))
        is_heard = isinstance(session, HostQueue)
        return Place(self._queue.state, is_offered=is_heard or session.has_queue, is_heard=is_heard)


def _stream(session: HostSession | None) -> StreamState:
    if not isinstance(session, HostStream):
        return _DOWN
    if not session.rescuer and not session.is_congested:
        return _UP
    return StreamState(True, session.is_congested, session.rescuer)
