"""Requests by number: whoever asks over a connection waits for the answer, or for the connection's end."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class PendingRequests(Generic[T]):
    """What was asked over a connection and is not answered. Owner of those who wait; the numbers are theirs."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[T]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @contextlib.contextmanager
    def expect(self, number: int) -> Iterator[asyncio.Future[T]]:
        """Give what the answer will be, within the block: what comes after it is late, and dropped.

        It is cancelled exactly when whoever waited for it gave up before anything came.
        """
        assert number not in self._waiting, "a number is one request's"
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            yield future
        finally:
            self._waiting.pop(number, None)

    def answer(self, number: int, answer: T) -> None:
        """The answer to a request came: give it to whoever waits for it, if anybody does still."""
        future = self._take(number)
        if future is not None:
            future.set_result(answer)

    def refuse(self, number: int, error: Exception) -> None:
        """An error came instead of the answer: raise it where that is waited for, if it is still."""
        future = self._take(number)
        if future is not None:
            future.set_exception(error)

    def end(self, error: Callable[[], Exception]) -> None:
        """The connection ended: raise an error, made anew each time, wherever an answer is waited for."""
        for number in list(self._waiting):
            self.refuse(number, error())

    def _take(self, number: int) -> asyncio.Future[T] | None:
        future = self._waiting.pop(number, None)
        return future if future is not None and not future.done() else None
