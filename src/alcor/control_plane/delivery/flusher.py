"""Sends what waits for many hosts in turns, so that nothing urgent waits behind them.

    change --> hosts of its ports ------------------------> flushed at once
           --> all others, more than a turn -> late line --> flushed in turns, in the background

A change that asks for the fast path does not wait until the line is empty; all others do, so that the line is
never longer than one change's hosts and those of the urgent ones after it.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable

from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.paths import HostSession

SESSIONS_PER_TURN = path_choice.BULK_HOSTS  # flushed before other work of the loop has its turn


class Flusher:
    """Owner of the line of sessions that are flushed late."""

    def __init__(self, is_served: Callable[[HostSession], bool]) -> None:
        self._is_served = is_served
        self._late: dict[HostSession, None] = {}
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def flush(self, first: Iterable[HostSession], others: Iterable[HostSession]) -> None:
        """Send what waits for these: a turn of them now, `first` before all; the rest in the background."""
        now, rest = list(first), list(others)
        if not now or len(now) + len(rest) <= SESSIONS_PER_TURN:
            now, rest = now + rest, []
        self._flush(now[:SESSIONS_PER_TURN])
        late = now[SESSIONS_PER_TURN:] + rest
        if late:
            self._late.update(dict.fromkeys(late))
            self._empty.clear()
            self._wake.set()

    async def caught_up(self) -> None:
        """Wait until nobody is in the line."""
        await self._empty.wait()

    async def run(self) -> None:
        """Flush those in the line, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._late:
                turn = list(itertools.islice(self._late, SESSIONS_PER_TURN))
                for session in turn:
                    del self._late[session]
                self._flush(turn)
                await asyncio.sleep(0)
            self._empty.set()

    def _flush(self, sessions: Iterable[HostSession]) -> None:
        for session in sessions:
            if self._is_served(session):
                session.flush()
