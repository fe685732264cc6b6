"""Puts changes in order: offered as they are committed, and read from the log where some were missed.

commit here -> offer (any order) ------------------+-> waiting by revision -> take, in order, without gaps
commit elsewhere -> told --+                       |
poller --------------------+--> store.changes -----+
"""

import asyncio
from collections.abc import Awaitable, Callable

from alcor.contracts.store import Change, Store
from alcor.model import errors
from alcor.runtime.event_log import EventLog

POLL_S = 0.5  # how long a change of another process may stay unseen of which nothing was told
GAP_S = 0.02  # a gap between offered changes is usually another commit's callback, a moment away
READ_MAX = 1000

Take = Callable[[list[Change]], Awaitable[None]]


class Intake:
    """Owner of the changes that wait for their predecessors."""

    def __init__(self, store: Store, take: Take, log: EventLog, *, after: int) -> None:
        self._store = store
        self._take = take
        self._log = log
        self._revision = after
        self._waiting: dict[int, Change] = {}
        self._told = after  # the newest revision that is said to be in the log
        self._wake = asyncio.Event()

    def offer(self, change: Change) -> None:
        """Hear of a commit. Any order, any number of times."""
        if change.revision <= self._revision:
            return
        # Only the next one, and the first behind a gap, wake the loop: later ones must not put off its repair.
        if change.revision == self._revision + 1 or not self._waiting:
            self._wake.set()
        self._waiting[change.revision] = change

    def told(self, revision: int) -> None:
        """Hear that the log has a revision by now. Any order, any number of times."""
        if revision > max(self._told, self._revision):
            self._told = revision
            self._wake.set()

    async def run(self) -> None:
        """Hand over changes until cancelled. Raises Missing when the log was trimmed beyond what is known."""
        while True:
            if await self._is_woken():
                self._wake.clear()
            else:
                await self._read_missed()
            while True:
                while changes := self._next_changes():
                    await self._take(changes)
                if self._told <= self._revision:
                    break
                self._told = 0  # looked for once: whatever was said, what is not there is not waited for
                await self._read_missed()

    async def _is_woken(self) -> bool:
        # Not `wait_for`: Python 3.11's loses a cancellation that comes together with the event.
        try:
            async with asyncio.timeout(GAP_S if self._waiting else POLL_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _next_changes(self) -> list[Change]:
        found = []
        while (change := self._waiting.pop(self._revision + 1, None)) is not None:
            found.append(change)
            self._revision += 1
        return found

    async def _read_missed(self) -> None:
        try:
            missed = await self._store.changes(after=self._revision, limit=READ_MAX)
        except errors.Unavailable as error:
            self._log.warning("change_log_unreadable", reason=error.message)
            await asyncio.sleep(POLL_S)
            return
        for change in missed:
            if change.revision > self._revision:
                self._waiting.setdefault(change.revision, change)
        if len(missed) == READ_MAX:
            self._wake.set()  # there is more
