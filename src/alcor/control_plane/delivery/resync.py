"""Who is synchronised next, when many hosts come at once. Pure: times are given.

    wait -> line: first turns before further ones, then by tenant's priority, then the least to send
    line -> admitted, while fewer than `hosts` are and the bytes they get are within `bytes`
    admitted -> finish | leave | the turn ends while others wait: back into the line, behind first turns

Nobody waits for ever: each fourth admission is of whoever waits longest, and what does not fit is not
overtaken.
"""

import heapq
from collections import deque

import msgspec

from alcor.model.ids import HostId

AGED_EVERY = 4  # one admission of so many goes by time alone


class ResyncLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is synchronised at the same time. One host is admitted whatever it takes."""

    hosts: int = 256
    bytes: int = 64 * 1024 * 1024
    turn_s: float = 10.0  # afterwards a host lets others go first


class _Waiting(msgspec.Struct, frozen=True, gc=False):
    turns: int  # that it had already
    priority: int
    size: int
    ticket: int

    @property
    def order(self) -> tuple[int, int, int, int]:
        return self.turns, -self.priority, self.size, self.ticket


class _Admitted(msgspec.Struct, frozen=True, gc=False):
    waiting: _Waiting
    since_s: float


class ResyncSchedule:
    """Owner of the line and of the turns."""

    def __init__(self, limits: ResyncLimits) -> None:
        self._limits = limits
        self._waiting: dict[HostId, _Waiting] = {}
        self._admitted: dict[HostId, _Admitted] = {}
        # Both may name hosts that wait no longer, or with a newer ticket: looked over when they come first.
        self._by_order: list[tuple[tuple[int, int, int, int], HostId]] = []
        self._by_age: deque[tuple[int, HostId]] = deque()
        self._tickets = 0
        self._admissions = 0
        self.bytes_admitted = 0
        self.bytes_waiting = 0

    @property
    def waiting(self) -> int:
        """How many hosts are in the line."""
        return len(self._waiting)

    @property
    def admitted(self) -> int:
        """How many hosts have a turn."""
        return len(self._admitted)

    def is_admitted(self, host: HostId) -> bool:
        """Has the host a turn now?"""
        return host in self._admitted

    def wait(self, host: HostId, *, priority: int, size: int) -> None:
        """Put a host into the line. `size`: bytes it is thought to need. One that was known starts anew."""
        self.leave(host)
        self._enqueue(host, turns=0, priority=priority, size=size)

    def leave(self, host: HostId) -> None:
        """Forget a host: its session ended, or it is synchronised."""
        waiting = self._waiting.pop(host, None)
        if waiting is not None:
            self.bytes_waiting -= waiting.size
        admitted = self._admitted.pop(host, None)
        if admitted is not None:
            self.bytes_admitted -= admitted.waiting.size

    def admit(self, now_s: float) -> HostId | None:
        """Give the host whose turn begins; None while no more fit or nobody waits. O(log hosts) amortised."""
        if not self._waiting or len(self._admitted) >= self._limits.hosts:
            return None
        host = self._oldest() if self._admissions % AGED_EVERY == AGED_EVERY - 1 else self._first()
        waiting = self._waiting[host]
        if self._admitted and self.bytes_admitted + waiting.size > self._limits.bytes:
            return None
        self._admissions += 1
        del self._waiting[host]
        self._admitted[host] = _Admitted(waiting, now_s)
        self.bytes_waiting -= waiting.size
        self.bytes_admitted += waiting.size
        return host

    def expire(self, now_s: float) -> list[HostId]:
        """End the turns that lasted too long, if others wait; give their hosts, which wait again. O(turns)."""
        if not self._waiting:
            return []
        late = [host for host, turn in self._admitted.items() if now_s - turn.since_s >= self._limits.turn_s]
        for host in late:
            turn = self._admitted.pop(host).waiting
            self.bytes_admitted -= turn.size
            self._enqueue(host, turns=turn.turns + 1, priority=turn.priority, size=turn.size)
        return late

    def _enqueue(self, host: HostId, *, turns: int, priority: int, size: int) -> None:
        self._tickets += 1
        waiting = self._waiting[host] = _Waiting(turns, priority, size, self._tickets)
        self.bytes_waiting += size
        heapq.heappush(self._by_order, (waiting.order, host))
        self._by_age.append((waiting.ticket, host))

    def _first(self) -> HostId:
        while not self._has_ticket(self._by_order[0][1], self._by_order[0][0][-1]):
            heapq.heappop(self._by_order)
        return self._by_order[0][1]

    def _oldest(self) -> HostId:
        while not self._has_ticket(self._by_age[0][1], self._by_age[0][0]):
            self._by_age.popleft()
        return self._by_age[0][1]

    def _has_ticket(self, host: HostId, ticket: int) -> bool:
        waiting = self._waiting.get(host)
        return waiting is not None and waiting.ticket == ticket
