"""Tasks with an owner and a name; the only place where any exception may be caught."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from alcor.runtime.event_log import EventLog

# Libraries swallow a cancellation that comes together with what they waited for: `wait_for` of Python 3.11, and
# the pool of asyncpg, which has its own copy of that. Without another one, whoever stops waits for ever.
CANCEL_AGAIN_S = 2.0


class Failure:
    """Whether a part failed that the rest is of no use without, and which. Owner: who ends the rest then.

    One for a whole process, given to all of its parts: restart is safe and a half-dead process is not.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        """`tell`: called with the reason, once."""
        self.reason = ""
        self._tell = tell
        self._event = asyncio.Event()

    def set(self, reason: str) -> None:
        """Something failed. What failed first is the reason; the rest may follow from it."""
        if self._event.is_set():
            return
        self.reason = reason
        self._event.set()
        if self._tell is not None:
            self._tell(reason)

    def is_set(self) -> bool:
        """Has anything failed?"""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until something fails."""
        await self._event.wait()


class Supervisor:
    """Owns background tasks: names them, logs their failure with its stack, cancels them on close.

    A task that fails is not restarted here: `failure` is set, and whoever owns that ends the process. None
    stands for tasks of one peer or one question each, whose failure is nobody else's.
    """

    def __init__(self, log: EventLog, *, failure: Failure | None) -> None:
        self._log = log
        self._failure = failure
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run the work as a task of this owner."""
        task = asyncio.create_task(self._run(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        task.add_done_callback(lambda ended: work.close())  # cancelled before its turn came, it never began
        return task

    async def close(self) -> None:
        """Cancel all tasks and wait for their end."""
        while tasks := [task for task in self._tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it is in the log: asyncio need not print it as well

    async def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            _tell(self._log, _current().get_name(), error)
            if self._failure is not None:
                self._failure.set(f"'{_current().get_name()}' failed: {_words(error)}")
            raise


def contained(log: EventLog, name: str) -> "_Contained":
    """Do what may fail for one workload or message without ending the task: it is logged, and left undone."""
    return _Contained(log, name)


class _Contained:
    """A `with` of its own: each message goes through one, and a generator's costs three times as much."""

    __slots__ = ("_log", "_name")

    def __init__(self, log: EventLog, name: str) -> None:
        self._log = log
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, stack: object) -> bool:
        if not isinstance(error, Exception):
            return False
        _tell(self._log, self._name, error)  # here, as in `_run`, whatever it is
        return True


def name_task(name: str) -> None:
    """Name the task that runs, once it knows whom it is for: its failure is told under this name."""
    _current().set_name(name)


def _tell(log: EventLog, name: str, error: BaseException) -> None:
    log.error("task_failed", task=name, reason=str(error), stack="".join(traceback.format_exception(error)))


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None, "a task runs"
    return task


def _words(error: BaseException) -> str:
    """Say an error in one line; a group by what is in it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_words, error.exceptions))
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
