"""Turns among the requests of one process that write the same record, so that they do not decide in vain.

Only to save work: the guard of the commit is what keeps them apart, among processes too. So nobody waits long:
whose turn does not come goes ahead and takes the chance of deciding again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

PATIENCE_S = 2.0


class Turns:
    """Owner of who is at turn, by key."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # kept by who waits
        self._patience_s = patience_s

    @asynccontextmanager
    async def of(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Wait, not long, for the turn with all keys."""
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                lock = self._locks.setdefault(key, asyncio.Lock())
                try:
                    await asyncio.wait_for(lock.acquire(), self._patience_s)
                except TimeoutError:
                    continue
                stack.callback(lock.release)
            yield
