"""Tasks with an owner and a name; the only place where any exception may be caught."""

import asyncio
import traceback
from collections.abc import Coroutine
from typing import Any

from alcor.runtime.event_log import EventLog


class Supervisor:
    """Owns background tasks: names them, logs their failure with its stack, cancels them on close.

    A task that fails is not restarted here: `failed` is set, and whoever runs the process ends it, because
    restart is safe and a half-dead process is not.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failed = asyncio.Event()

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run the work as a task of this owner."""
        task = asyncio.create_task(self._run(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancel all tasks and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._log.error(
                "task_failed", task=name, error=str(error), stack="".join(traceback.format_exception(error))
            )
            self.failed.set()
            raise
