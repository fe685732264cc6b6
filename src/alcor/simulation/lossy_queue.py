"""The queue under simulation: goal state is lost, late, twice and out of order; what was kept may be wiped.

What agents answer is in order and complete as long as nobody was told otherwise, as it is on a connection: an
outage loses what is under way, and both ends hear of it, or one of them only. Every controller that is
connected hears all answers, an old one as well as the new one.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from alcor.contracts.queue import AWAY, OnAnswer, OnFrame, OnLost, QueueState
from alcor.model import errors
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.simulation import virtual_time
from alcor.simulation.virtual_time import Part

DELAY_MAX_S = 0.3
FRAME_MAX = 1024 * 1024
_LOST, _TWICE = 0.04, 0.04  # chances of a frame to an agent
_FAREWELL_LOST = 0.5  # an agent that is killed says nothing
TO_ALL = -1


class LossyQueue:
    """Implements `AgentQueue`; makes the controllers' ends. Owner of what is kept and under way."""

    def __init__(self, chance: random.Random) -> None:
        self.faulty = True
        self.is_up = True
        self.counts: dict[str, int] = defaultdict(int)
        self.places: dict[HostId, Place] = {}
        self.ends: list[ControllerEnd] = []
        self._chance = chance
        self._kept: dict[HostId, dict[SectionKey, tuple[int, bytes]]] = defaultdict(dict)  # session, frame
        self._generation = 0  # what was under way in an earlier one is lost
        self._answers_due_s = 0.0

    def controller_end(self) -> "ControllerEnd":
        """Connect a controller."""
        end = ControllerEnd(self)
        self.ends.append(end)
        return end

    def subscribe(self, host: HostId, on_frame: OnFrame, on_lost: OnLost) -> "Place":
        place = self.places[host] = Place(self, host, on_frame, on_lost)
        return place

    def fail(self, *, wipe: bool) -> None:
        """Lose the server with all that is under way."""
        self.counts["queue_outages"] += 1
        self.is_up = False
        self._generation += 1
        if wipe:
            self._kept.clear()
        for place in list(self.places.values()):
            place.part.tell(place.on_lost)
        for end in self.ends:
            end.lose()

    def come_back(self) -> None:
        """Serve again."""
        self.is_up = True

    def keep(self, host: HostId, key: SectionKey, frame: bytes, *, session: int) -> None:
        """Keep a section's last value."""
        if self.is_up:
            self._kept[host][key] = session, frame

    def kept(self, host: HostId) -> list[bytes]:
        """Give what is kept for a host that is back."""
        self.counts["queue_read_back"] += sum(session == AWAY for session, _ in self._kept[host].values())
        return [frame for _, frame in self._kept[host].values()]

    def carry_down(self, host: HostId, session: int, frame: bytes) -> None:
        """Put a frame to an agent on its way, or not."""
        draw = self._chance.random() if self.faulty else 1.0
        if not self.is_up or draw < _LOST:
            self.counts["queue_lost"] += 1
            return
        for _ in range(2 if draw < _LOST + _TWICE else 1):
            self._later(self._delay_s(), lambda: self._arrive(host, session, frame))

    def carry_up(self, host: HostId, session: int, frame: bytes) -> None:
        """Put an answer on its way, behind those before it."""
        if not self.is_up:
            return
        if self.faulty and b"farewell" in frame[:12] and self._chance.random() < _FAREWELL_LOST:
            return
        now_s = virtual_time.running().now_s
        self._answers_due_s = max(self._answers_due_s, now_s + self._delay_s() / 10)
        for end in self.ends:
            self._carry_to(end, self._answers_due_s - now_s, host, session, frame)

    def _carry_to(self, end: "ControllerEnd", delay_s: float, host: HostId, session: int, frame: bytes) -> None:
        generation = end.generation
        self._later(delay_s, lambda: end.hear(host, session, frame) if end.generation == generation else None)

    def _arrive(self, host: HostId, session: int, frame: bytes) -> None:
        place = self.places.get(host)
        if place is not None:
            place.part.tell(place.on_frame, session, frame)

    def _later(self, delay_s: float, work: Callable[[], None]) -> None:
        generation = self._generation
        loop = virtual_time.running()

        def arrive() -> None:
            if generation == self._generation:
                loop.deliveries += 1
                work()

        loop.deliver_at(loop.now_s + delay_s, arrive)

    def _delay_s(self) -> float:
        return float(self._chance.random() ** 4 * DELAY_MAX_S) if self.faulty else 0.001


class ControllerEnd:
    """Implements `GoalQueue` for one controller. Owner of its connection to the queue."""

    frame_max = FRAME_MAX

    def __init__(self, queue: LossyQueue) -> None:
        self.generation = 0
        self._is_cut = False
        self._part: Part | None = None
        self._on_answer: OnAnswer | None = None
        self._on_lost: OnLost | None = None
        self._queue = queue

    @property
    def state(self) -> QueueState:
        up = self._is_connected
        return QueueState(is_up=up, reason="" if up else "the connection to the queue is lost")

    def listen(self, on_answer: OnAnswer, on_lost: OnLost) -> None:
        self._part = virtual_time.current()
        self._on_answer, self._on_lost = on_answer, on_lost

    def publish(self, host: HostId, key: SectionKey, frame: bytes, *, session: int) -> bool:
        if not self._is_connected:
            return False
        self._queue.counts["queue_kept_for_away" if session == AWAY else "queue_published"] += 1
        self._queue.keep(host, key, frame, session=session)
        self._queue.carry_down(host, session, frame)
        return True

    def tell(self, host: HostId, frame: bytes, *, session: int) -> None:
        if self._is_connected:
            self._queue.carry_down(host, session, frame)

    def tell_all(self, frame: bytes) -> None:
        if self._is_connected:
            for host in list(self._queue.places):
                self._queue.carry_down(host, TO_ALL, frame)

    def cut(self) -> None:
        """Cut it off from the queue."""
        if not self._is_cut:
            self._is_cut = True
            self.lose()

    def join(self) -> None:
        """End the cut."""
        self._is_cut = False

    def lose(self) -> None:
        """Lose what is under way to it; it hears of that."""
        self._queue.counts["queue_lost_by_controller"] += 1
        self.generation += 1
        if self._part is not None and self._on_lost is not None:
            self._part.tell(self._on_lost)

    def hear(self, host: HostId, session: int, frame: bytes) -> None:
        """Take an answer."""
        if self._is_connected and self._part is not None and self._on_answer is not None:
            self._part.tell(self._on_answer, host, session, frame)

    def end(self) -> None:
        """Leave: its process is gone."""
        self._is_cut = True
        self._queue.ends.remove(self)

    @property
    def _is_connected(self) -> bool:
        return self._queue.is_up and not self._is_cut


class Place:
    """Implements `HostSubscription`."""

    def __init__(self, queue: LossyQueue, host: HostId, on_frame: OnFrame, on_lost: OnLost) -> None:
        self.on_frame = on_frame
        self.on_lost = on_lost
        part = virtual_time.current()
        assert part is not None, "agents are parts"
        self.part = part
        self._queue = queue
        self._host = host

    @property
    def is_up(self) -> bool:
        return self._queue.is_up

    async def last_values(self) -> Sequence[bytes]:
        await asyncio.sleep(0.001)
        if not self._queue.is_up:
            raise errors.Unavailable("the queue is down", retry_after_s=1)
        return self._queue.kept(self._host)

    def answer(self, frame: bytes, *, session: int) -> None:
        self._queue.carry_up(self._host, session, frame)

    def close(self) -> None:
        if self._queue.places.get(self._host) is self:
            del self._queue.places[self._host]
