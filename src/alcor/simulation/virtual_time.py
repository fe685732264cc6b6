"""An event loop whose time is virtual: when nothing is ready it jumps to the next timer."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_BEGIN_US = 1_700_000_000_000_000  # an arbitrary day; every run begins at the same moment


class _JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: the time that the loop would sleep is added to `now_s`. Owner of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits, and nothing will ever happen"
        self.now_s += max(timeout, 0.0)
        return []


class _NumberedTask(asyncio.Task[Any]):
    """A task that hashes by its number: sets of tasks are walked in the same order in every process."""

    def __init__(self, work: Any, *, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what it is given as fast as it can. No sockets, no threads."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._tasks_made = 0
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._jumping.now_s

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
        self._tasks_made += 1
        return _NumberedTask(work, loop=loop, number=self._tasks_made, **options)

    def run_in_executor(  # type: ignore[override]  # typeshed spells it with a variadic type
        self, executor: Any, function: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Do it here and now: a thread would end at a moment that no seed decides."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:  # noqa: BLE001  # handed to whoever waits, as an executor does
            future.set_exception(error)
        return future


class VirtualClock:
    """Implements `Clock` over the loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_us(self) -> int:
        return _BEGIN_US + int(self._loop.time() * 1_000_000)

    def monotonic_s(self) -> float:
        return self._loop.time()
