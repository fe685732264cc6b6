"""Which path was chosen for each host, with the reason: what `path_choice` decides on, and said last."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from alcor.contracts.queue import QueueState
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.fast_path import HostStream
from alcor.control_plane.delivery.host_queue import HostQueue
from alcor.control_plane.delivery.path_choice import Asked, Choice, Place, StreamState
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock

HostSession: TypeAlias = HostStream | HostQueue

_NOTHING_ASKED = Asked(is_fast=False, hosts=1)
_NEVER_SEEN = Choice("none", "Its agent has not been heard since the controller started.")


class Paths:
    """Owner of the last choice for each host. Reads the sessions and the queue's state."""

    def __init__(
        self,
        sessions: Mapping[HostId, HostSession],
        queue_state: Callable[[], QueueState | None],
        is_away: Callable[[HostId], bool],
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._queue_state = queue_state
        self._is_away = is_away
        self._clock = clock
        self._choices: dict[HostId, Choice] = {}
        self._calm_since_s: dict[HostId, float] = {}

    def choose(self, host: HostId, asked: Asked = _NOTHING_ASKED) -> Choice:
        """Choose for what is asked, and keep the choice with its reason. O(1)."""
        session = self._sessions.get(host)
        former = self._choices.get(host, _NEVER_SEEN)
        choice = self._choices[host] = path_choice.choose(
            asked, self._stream(host, session), self._place(host, session), former=former.path
        )
        return choice

    def came(self, host: HostId) -> None:
        """A session began."""
        self._calm_since_s[host] = self._clock.monotonic_s()
        self.choose(host)

    def left(self, host: HostId) -> None:
        """A session ended."""
        self._calm_since_s.pop(host, None)
        self.choose(host)

    def choice(self, host: HostId) -> Choice:
        """Give the last choice."""
        return self._choices.get(host, _NEVER_SEEN)

    def words(self, host: HostId) -> dict[str, str]:
        """Say how each path to the host is."""
        session = self._sessions.get(host)
        stream, place = self._stream(host, session), self._place(host, session)
        fast = "down" if not stream.is_up else "congested" if stream.is_congested else "up"
        if place.queue is None:
            return {"fast": fast, "queue": "none in this region"}
        if not place.queue.is_up or place.queue.is_full:
            return {"fast": fast, "queue": place.queue.reason}
        if place.is_heard:
            return {"fast": fast, "queue": "up: the host answers there"}
        return {
            "fast": fast,
            "queue": "up: the host listens there" if place.is_offered else "up, not used by it",
        }

    def _stream(self, host: HostId, session: HostSession | None) -> StreamState:
        if not isinstance(session, HostStream):
            return StreamState(is_up=False)
        now_s = self._clock.monotonic_s()
        if session.is_congested:
            self._calm_since_s[host] = now_s
        calm_s = now_s - self._calm_since_s.get(host, now_s)
        return StreamState(True, session.is_congested, calm_s, by_rescuer=session.rescuer)

    def _place(self, host: HostId, session: HostSession | None) -> Place:
        queue = self._queue_state()
        if session is None:
            return Place(queue, is_offered=self._is_away(host))
        is_heard = isinstance(session, HostQueue)
        return Place(queue, is_offered=is_heard or session.has_queue, is_heard=is_heard)
