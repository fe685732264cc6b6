"""An event loop whose time is virtual, and parts of a region: each with a clock of its own, each may hang.

    world time   of the loop and of what lies between parts: networks, switches, faults
    local time   of a part: its clock is set wrong and runs at another rate, within bounds

What a part starts belongs to it (its context is inherited): `loop.time()` is its local time there, and while it
hangs nothing of it runs. What crosses from one part to another is run in the world, or in the other's context.
"""

import asyncio
import contextvars
import heapq
import selectors
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_BEGIN_US = 1_700_000_000_000_000  # an arbitrary day; every run begins at the same moment
EXECUTOR_S = 0.02  # what is given to a thread is done so much later
_ROUNDING_S = 1e-6  # a local deadline is never a moment early in the world
_part: contextvars.ContextVar["Part | None"] = contextvars.ContextVar("part", default=None)


class Part:
    """One process: its clock, and whether it runs. `ahead_s`: how much its wall clock is ahead."""

    def __init__(self, loop: "VirtualLoop", name: str, *, ahead_s: float = 0.0, rate: float = 1.0) -> None:
        self.name = name
        self.ahead_s = ahead_s
        self.rate = rate
        self.hung_at: float | None = None  # world time
        self.resumed_at = float("-inf")
        self._loop = loop
        self._held: deque[asyncio.Handle] = deque()
        self._context = loop.world.copy()
        self._context.run(_part.set, self)

    @property
    def context(self) -> contextvars.Context:
        """Give a context for what belongs to this part."""
        return self._context.copy()

    def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something as this part, now."""
        return self.context.run(work, *arguments)

    def tell(self, work: Callable[..., object], *arguments: Any) -> None:
        """Have this part do something as soon as it runs."""
        self._loop.call_soon(work, *arguments, context=self.context)

    def hang(self) -> None:
        """Stand still from now on, without anyone being told."""
        if self.hung_at is None:
            self.hung_at = self._loop.now_s

    def resume(self) -> None:
        """Go on where it stood still."""
        if self.hung_at is not None:
            self.hung_at, self.resumed_at = None, self._loop.now_s
            self._loop.resume(self._held)

    def hold(self, handle: asyncio.Handle) -> None:
        self._held.append(handle)

    def local_s(self, world_s: float) -> float:
        return world_s * self.rate

    def world_s(self, local_s: float) -> float:
        return local_s / self.rate + _ROUNDING_S


class _NoSelector(selectors.SelectSelector):
    """The loop wants one; nothing is ever selected."""


class _NumberedTask(asyncio.Task[Any]):
    """A task that hashes by its number: sets of tasks are walked in the same order in every process."""

    def __init__(self, work: Any, *, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what it is given as fast as it can. No sockets, no threads. Owner of the world's time."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        self.now_s = 0.0  # world time
        self.turns = 0  # callbacks run
        self.timers = 0  # of these, timers that parts or workloads had set; the networks' own are deliveries
        self.deliveries = 0
        self.world = contextvars.copy_context()
        super().__init__(_NoSelector())
        self._tasks_made = 0
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        part = _part.get()
        return self.now_s if part is None else part.local_s(self.now_s)

    def call_at(  # type: ignore[override]  # typeshed spells it with a variadic type
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        part = _part.get()
        world_s = when if part is None else part.world_s(when)
        return super().call_at(world_s, callback, *args, context=context)

    def deliver_at(self, when: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
        """Do something at a moment of the world that ends something's way between two parts."""
        handle = super().call_at(when, callback, *args, context=self.world)
        self.timers -= 1  # counted where it is delivered
        return handle

    def resume(self, held: deque[asyncio.Handle]) -> None:
        """Run what a part was kept from, before anything else of it."""
        self._ready.extend(held)
        held.clear()

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]
        if not ready:
            assert scheduled, "everything waits, and nothing will ever happen"
            self.now_s = max(self.now_s, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self.now_s:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            self.timers += not timer.cancelled()
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            part = handle._context.get(_part)  # type: ignore[attr-defined]
            if part is not None and part.hung_at is not None:
                part.hold(handle)
            else:
                self.turns += 1
                handle._run()

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
        self._tasks_made += 1
        return _NumberedTask(work, loop=loop, number=self._tasks_made, **options)

    def run_in_executor(  # type: ignore[override]  # typeshed spells it with a variadic type
        self, executor: Any, function: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Do it a moment later, all at once: a thread would end at a moment that no seed decides.

        A process that is ended meanwhile has not done it.
        """
        future: asyncio.Future[T] = self.create_future()

        def carry_out() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(function(*args))
            except Exception as error:  # noqa: BLE001  # handed to whoever waits, as an executor does
                future.set_exception(error)

        self.call_later(EXECUTOR_S, carry_out)
        return future


class VirtualClock:
    """Implements `Clock` over the loop's time: each part reads its own."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop

    def now_us(self) -> int:
        part = _part.get()
        ahead_s = 0.0 if part is None else part.ahead_s
        return _BEGIN_US + int((self.loop.time() + ahead_s) * 1_000_000)

    def monotonic_s(self) -> float:
        return self.loop.time()


def running() -> VirtualLoop:
    """Give the loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "the simulation runs on virtual time"
    return loop


def current() -> Part | None:
    """Give the part that runs; None: the world."""
    return _part.get()
