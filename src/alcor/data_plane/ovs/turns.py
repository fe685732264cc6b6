"""One after the other: everything that changes the switch waits for its turn in one bounded queue."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from alcor.model.errors import AlcorError, LimitReached, Unavailable

WAITING_MAX = 1024

T = TypeVar("T")


class Turns:
    """Owner of the queue; `run` is its worker, started by whoever owns this."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = asyncio.Queue(
            WAITING_MAX
        )
        self._ended = False

    async def take(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work when it is its turn, and give its result or raise its error."""
        if self._ended:
            raise Unavailable("the data plane is closed", retry_after_s=1.0)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((work, done))
        except asyncio.QueueFull as error:
            raise LimitReached("too much waits for the switch") from error
        return await done

    async def run(self) -> None:
        """Work until cancelled, or until a mistake of ours ends it; whoever waits then hears of it."""
        done: asyncio.Future[Any] | None = None
        try:
            while True:
                work, done = await self._queue.get()
                if not done.done():
                    await _do(work, done)
        finally:
            self._ended = True
            while done is not None:
                if not done.done():
                    done.set_exception(Unavailable("the data plane is closed", retry_after_s=1.0))
                done = None if self._queue.empty() else self._queue.get_nowait()[1]


async def _do(work: Callable[[], Awaitable[Any]], done: asyncio.Future[Any]) -> None:
    try:
        result = await work()
    except AlcorError as error:
        if not done.done():
            done.set_exception(error)
    else:
        if not done.done():
            done.set_result(result)
