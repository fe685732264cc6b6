"""Which path was chosen for each host, with the reason: what `path_choice` decides on, and said last."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from alcor.contracts.queue import QueueState
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.fast_path import HostStream
from alcor.control_plane.delivery.host_queue import HostQueue
from alcor.control_plane.delivery.path_choice import Asked, Choice, Place, StreamState
from alcor.model.ids import HostId

HostSession: TypeAlias = HostStream | HostQueue

_NOTHING_ASKED = Asked(is_fast=False, hosts=1)
_IRRELEVANT = Place(None)  # while there is a stream; a change may concern ten thousand hosts
_DOWN, _UP = StreamState(is_up=False), StreamState(is_up=True)
_NEVER_SEEN = Choice("none", "Its agent has not been heard since the controller started.")


class Paths:
    """Owner of the last choice for each host. Reads the sessions and the queue's state."""

    def __init__(
        self,
        sessions: Mapping[HostId, HostSession],
        queue_state: Callable[[], QueueState | None],
        is_away: Callable[[HostId], bool],
    ) -> None:
        self._sessions = sessions
        self._queue_state = queue_state
        self._is_away = is_away
        self._choices: dict[HostId, Choice] = {}
        self._usual = (_NOTHING_ASKED, path_choice.choose(_NOTHING_ASKED, _UP, _IRRELEVANT))

    def choose(self, host: HostId, asked: Asked = _NOTHING_ASKED) -> Choice:
        """Choose for what is asked, and keep the choice with its reason. O(1)."""
        session = self._sessions.get(host)
        stream = _stream(session)
        if stream is _UP:
            choice = self._choose_usual(asked)
        else:
            place = _IRRELEVANT if stream.is_up else self._place(host, session)
            choice = path_choice.choose(asked, stream, place)
        self._choices[host] = choice
        return choice

    def _choose_usual(self, asked: Asked) -> Choice:
        """Choose for a stream that keeps up: once for all the hosts of a change."""
        if self._usual[0] is not asked:
            self._usual = (asked, path_choice.choose(asked, _UP, _IRRELEVANT))
        return self._usual[1]

    def choice(self, host: HostId) -> Choice:
        """Give the last choice."""
        return self._choices.get(host, _NEVER_SEEN)

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
        queue = self._queue_state()
        if session is None:
            return Place(queue, is_offered=self._is_away(host))
        is_heard = isinstance(session, HostQueue)
        return Place(queue, is_offered=is_heard or session.has_queue, is_heard=is_heard)


def _stream(session: HostSession | None) -> StreamState:
    if not isinstance(session, HostStream):
        return _DOWN
    if not session.rescuer and not session.is_congested:
        return _UP
    return StreamState(True, session.is_congested, session.rescuer)
