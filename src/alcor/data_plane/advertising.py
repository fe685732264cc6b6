"""When a port is told of its routers: at once when something has changed, and again before it lapses. Pure.

    goal state, plugs --look--> differs from what was said last? --due--> take --> frames to the workload

RFC 4861, sections 6.2.4 and 6.2.5: what is new, and what is no longer so, is said three times, 16 s apart,
because nobody acknowledges it; otherwise every 7 to 10 minutes. Nobody is told more often than every 3 s
(section 6.2.6). What was said lasts 18 hours at least (`advertisements`): so long, less ten minutes,
workloads go on when an agent dies.
"""

import heapq
import zlib
from collections.abc import Callable, Iterable, Sequence, Set
from typing import NamedTuple

from alcor.data_plane import advertisements
from alcor.data_plane.advertisements import Advertisement
from alcor.model.ids import PortId

PERIOD_MAX_S = 600.0  # RFC 8319, section 4: the default of MaxRtrAdvInterval
PERIOD_MIN_S = 420.0
AGAIN_S = 16.0  # MAX_INITIAL_RTR_ADVERT_INTERVAL
AGAIN_TIMES = 2  # MAX_INITIAL_RTR_ADVERTISEMENTS is 3
PAUSE_S = 3.0  # MIN_DELAY_BETWEEN_RAS


class _Telling:
    """What one port was told, and when it is told again. Owner: `Advertising`."""

    __slots__ = ("again", "due_s", "is_true", "said", "said_s")

    def __init__(self) -> None:
        self.is_true: tuple[Advertisement, ...] | None = ()  # None: to be looked at again, whatever is
        self.said: tuple[Advertisement, ...] = ()  # that, and what is taken back
        self.said_s: float | None = None
        self.due_s = 0.0
        self.again = 0  # how often more it is said soon


class Due(NamedTuple):
    """What to say now to the workload of a port."""

    port_id: PortId
    said: tuple[Advertisement, ...]


class Advertising:
    """Owner of what every port was told. Times are the caller's, in seconds, and never step back."""

    def __init__(self, told: Callable[[PortId], Sequence[Advertisement]]) -> None:
        """`told`: what is true for a port now; nothing when nobody is there to hear it."""
        self._told = told
        self._ports: dict[PortId, _Telling] = {}
        self._queue: list[tuple[float, PortId]] = []  # entries whose time is not the port's own are old

    def look(self, port_ids: Iterable[PortId], now_s: float) -> None:
        """Find out what is true for ports that something has changed about. O(ports named)."""
        for port_id in sorted(port_ids):
            is_true, held = tuple(self._told(port_id)), self._ports.get(port_id)
            if held is None:
                if is_true:
                    held = self._ports[port_id] = _Telling()
                    self._change(port_id, held, is_true, now_s)
            elif held.is_true != is_true:
                self._change(port_id, held, is_true, now_s)

    def remember(self, port_id: PortId, said: Advertisement) -> None:
        """Know what another has told a port: unless it is true, the next `look` takes it back."""
        held = self._ports.setdefault(port_id, _Telling())
        held.said = (*held.said, said)
        held.is_true = None

    @property
    def ports(self) -> Set[PortId]:
        """Name the ports that are told something."""
        return self._ports.keys()

    def forget(self, port_ids: Iterable[PortId]) -> None:
        """Tell ports nothing more: their workloads are gone, or others, which have heard nothing."""
        for port_id in port_ids:
            self._ports.pop(port_id, None)

    @property
    def next_s(self) -> float | None:
        """When `take` has something to give; None: not before another `look`."""
        self._drop_old()
        return self._queue[0][0] if self._queue else None

    def take(self, now_s: float, *, at_most: int) -> list[Due]:
        """Give what is due, the longest due first, and count it as said. O(what is given x log ports)."""
        found: list[Due] = []
        while len(found) < at_most:
            self._drop_old()
            if not self._queue or self._queue[0][0] > now_s:
                break
            _, port_id = heapq.heappop(self._queue)
            held = self._ports[port_id]
            found.append(Due(port_id, held.said))
            held.said_s = now_s
            self._go_on(port_id, held, now_s)
        return found

    def _change(
        self, port_id: PortId, held: _Telling, is_true: tuple[Advertisement, ...], now_s: float
    ) -> None:
        held.said = advertisements.retracting(held.said, is_true)
        held.is_true = is_true
        held.again = AGAIN_TIMES
        self._put(port_id, held, now_s if held.said_s is None else max(now_s, held.said_s + PAUSE_S))

    def _go_on(self, port_id: PortId, held: _Telling, now_s: float) -> None:
        if held.again:
            held.again -= 1
            self._put(port_id, held, now_s + AGAIN_S)
            return
        held.said = held.is_true or ()  # what was taken back need not be mentioned again
        if held.said:
            self._put(port_id, held, now_s + period_s(port_id))
        else:
            del self._ports[port_id]

    def _put(self, port_id: PortId, held: _Telling, due_s: float) -> None:
        held.due_s = due_s
        heapq.heappush(self._queue, (due_s, port_id))

    def _drop_old(self) -> None:
        while self._queue:
            due_s, port_id = self._queue[0]
            held = self._ports.get(port_id)
            if held is not None and held.due_s == due_s:
                return
            heapq.heappop(self._queue)


def period_s(port_id: PortId) -> float:
    """Give how long a port waits for what it knows already: each its own time, so that they are spread."""
    share = zlib.crc32(port_id.encode()) / 0xFFFFFFFF
    return PERIOD_MIN_S + share * (PERIOD_MAX_S - PERIOD_MIN_S)
