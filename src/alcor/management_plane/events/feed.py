"""The change log, followed for many at once.

    commits of this process --wake--+
                                    +-> tail: reads the log once for all --> recent changes --> followers
    poll, for those of others ------+                                                            ^
    change log -------------- pages, for who is behind what is recent ---------------------------+

A follower is a position in the log, and pulls: nobody is waited for, and who reads slowly costs no memory. The
log is read only while somebody follows it.
"""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence

import msgspec

from alcor.contracts.store import Change, Query, Store
from alcor.management_plane.caller import Caller
from alcor.management_plane.events import decisions
from alcor.management_plane.events.shares import Shares
from alcor.model import errors
from alcor.model.records import EVERYBODY, RbacPolicy
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

POLL_S = 0.5  # how long a change of another process may stay unseen
RECORDS_MAX = 50_000  # in the recent changes
STREAMS_PER_PROJECT_MAX = 16
STREAMS_MAX = 1_000
RETRY_AFTER_S = 5.0
END_S = 2.0  # how long clients may take for the last event


class Slot:
    """The right to one stream. Give it back."""

    def __init__(self, feed: "EventFeed", project_id: str) -> None:
        self._feed: EventFeed | None = feed
        self._project_id = project_id

    def release(self) -> None:
        """End the right; more than once does no harm."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.released(self._project_id)


class Step(msgspec.Struct, frozen=True):
    """Where a follower is now, and what it came by since the step before; nothing: time went by."""

    revision: int
    changes: Sequence[Change]


class EventFeed:
    """Owner of the recent changes, of the task that reads them, and of how many follow."""

    def __init__(self, store: Store, log: EventLog, *, failure: Failure | None = None) -> None:
        self._store = store
        self._log = log
        self._supervisor = Supervisor(log, failure=failure)
        self._streams: Counter[str] = Counter()
        self._recent: deque[tuple[Change, int]] = deque()  # without gaps, each with its number of records
        self._records = 0
        self._revision: int | None = None  # of the tail; None: nobody follows
        self._committed = asyncio.Event()
        self._news = asyncio.Event()  # replaced by the next one when it is set
        self._tail: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()  # set by each stream that ends
        self.is_closed = False
        store.listen(lambda _: self._committed.set())

    def slot(self, project_id: str) -> Slot:
        """Take the right to a stream. Raises LimitReached, Unavailable."""
        if self.is_closed:
            raise errors.Unavailable("The service is stopping.", retry_after_s=1.0)
        if self._streams[project_id] >= STREAMS_PER_PROJECT_MAX:
            raise errors.LimitReached(
                f"Project {project_id} follows {STREAMS_PER_PROJECT_MAX} streams of events already.",
                reason="EventStreamLimit",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._streams.total() >= STREAMS_MAX:
            raise errors.Unavailable("Too many streams of events are open here.", retry_after_s=RETRY_AFTER_S)
        self._streams[project_id] += 1
        return Slot(self, project_id)

    def released(self, project_id: str) -> None:
        """Hear from a slot that it ended."""
        self._streams[project_id] -= 1
        self._ended.set()
        if self._streams[project_id] == 0:
            del self._streams[project_id]
        if not self._streams and self._tail is not None:
            self._tail.cancel()
            self._tail = None
            self._revision = None
            self._recent.clear()
            self._records = 0

    async def start_after(self, since: int | None) -> int:
        """Give the revision that a stream begins after. Raises Invalid for one to come, Missing if trimmed."""
        newest = await self._store.revision()
        if since is None:
            return newest
        if since > newest:
            raise errors.Invalid(f"Invalid input for since. Reason: the newest revision is {newest}.")
        try:
            await self._store.changes(after=since, limit=1)
        except errors.Missing:
            raise gone(since) from None
        return since

    async def shares(self, caller: Caller) -> Shares:
        """Give what is shared with the caller's project now; administrators see all without."""
        if caller.is_admin:
            return Shares(caller.project_id)
        where = {"target": (caller.project_id, EVERYBODY)}
        return Shares(caller.project_id, await self._store.select(RbacPolicy, Query(where=where)))

    async def newest(self) -> int:
        """Give the last revision there is."""
        return await self._store.revision()

    async def pages(self, after: int, *, through: int) -> AsyncIterator[Step]:
        """Read the log from a revision to another, both known. Raises Missing."""
        page = decisions.PAGE_MIN
        while after < through:
            try:
                changes = await self._store.changes(after=after, limit=min(page, through - after))
            except errors.Missing:
                raise gone(after) from None
            assert changes, "what was committed is in the log"
            after = changes[-1].revision
            page = decisions.next_page(page, decisions.size_of(changes))
            yield Step(after, changes)

    async def follow(self, after: int, *, heartbeat_s: float) -> AsyncIterator[Step]:
        """Read the log from a revision on, for ever; a step without changes after each `heartbeat_s`.

        Ends when the feed is closed. Raises Missing when the log is trimmed before it was read.
        """
        await self._join(after)
        while not self.is_closed:
            news = self._news
            assert self._revision is not None, "who follows has a slot"
            if after < self._revision and (not self._recent or self._recent[0][0].revision > after + 1):
                async for step in self.pages(after, through=self._revision):
                    after = step.revision
                    yield step
                    if self.is_closed:
                        return
                continue
            if changes := self._since(after):
                after = changes[-1].revision
                yield Step(after, changes)
                continue
            try:
                async with asyncio.timeout(heartbeat_s):
                    await news.wait()
            except TimeoutError:
                yield Step(after, ())

    async def close(self, *, within_s: float = END_S) -> None:
        """Have all streams send their last event, and wait for it."""
        self.is_closed = True
        self._tell()
        try:
            async with asyncio.timeout(within_s):
                while self._streams:
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            self._log.warning("event_streams_cut", streams=self._streams.total())
        await self._supervisor.close()

    def _since(self, after: int) -> list[Change]:
        newer = itertools.takewhile(lambda kept: kept[0].revision > after, reversed(self._recent))
        return [change for change, _ in newer][::-1]

    async def _join(self, after: int) -> None:
        if self._tail is None:
            newest = max(after, await self._store.revision())
            if self._tail is None:  # somebody else may have come meanwhile
                self._revision = newest
                self._tail = self._supervisor.start("events", self._run())

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await self._committed.wait()
            except TimeoutError:
                pass
            self._committed.clear()
            try:
                await self._read()
            except errors.Unavailable as error:
                self._log.warning("change_log_unreadable", reason=error.message)
                await asyncio.sleep(POLL_S)

    async def _read(self) -> None:
        page = decisions.PAGE_MIN
        while True:
            assert self._revision is not None, "the tail runs while somebody follows"
            try:
                changes = await self._store.changes(after=self._revision, limit=page)
            except errors.Missing:  # trimmed faster than we read: those who follow find out by themselves
                self._recent.clear()
                self._records = 0
                self._revision = await self._store.revision()
                self._tell()
                return
            for change in changes:
                self._keep(change)
            if changes:
                self._revision = changes[-1].revision
                self._tell()
            if len(changes) < page:
                return
            page = decisions.next_page(page, decisions.size_of(changes))

    def _keep(self, change: Change) -> None:
        size = max(1, decisions.size_of([change]))
        self._recent.append((change, size))
        self._records += size
        while self._records > RECORDS_MAX and len(self._recent) > 1:
            self._records -= self._recent.popleft()[1]

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def gone(revision: int) -> errors.Missing:
    """Make the error for a place in the log that is kept no longer."""
    return errors.Missing(
        f"The changes after revision {revision} are not kept any longer: list what there is, then follow.",
        reason="ChangesNotRetained",
    )
