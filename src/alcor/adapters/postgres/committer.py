r"""Collects the commits of one process and makes them durable together.

    commit() --> small lane --+--> one transaction for all that waited --> listeners --> answers
             \-> bulk lane  --+

Committed together they cost one lock on the revision and one flush. Small writes that only insert are one
statement (`one_statement`), all others a transaction. If it fails, each write runs alone, so that only the
guilty one fails. A bulk write has a lane of its own and so delays nobody; the lanes
meet only at the revision's row, which each transaction locks last.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import asyncpg

from alcor.adapters.postgres import one_statement, rows, sessions, transaction
from alcor.adapters.postgres.rows import Encoded
from alcor.adapters.postgres.sessions import Session
from alcor.contracts.store import Change, KeyTaken, OverQuota, Stale, Write
from alcor.model import errors
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

BULK_FROM = 200  # records in a write that goes to the bulk lane
TOGETHER_MAX = 64  # writes in one transaction
WAITING_MAX = 10_000  # writes; more: the store cannot follow, and says so
TRANSACTION_S = 60.0
ATTEMPTS_MAX = 20  # at a transaction that loses against others
OUTAGE_S = 10.0  # how long a write under way waits for a server that went away
_SHAPES = {"delete": 0, "update": 1, "insert": 2, "alone": 3}


class Pending:
    """A write that waits for its commit. Owner: the lane it is in."""

    __slots__ = ("done", "encoded", "touched")

    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded
        self.touched = transaction.touched(encoded)
        self.done: asyncio.Future[Change] = asyncio.get_running_loop().create_future()

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Committer:
    """Owner of the lanes and their connections."""

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        log: EventLog,
        limits: Mapping[str, int],
        *,
        failure: Failure | None = None,
    ) -> None:
        self._limits = limits
        self._supervisor = Supervisor(log, failure=failure)
        self._listeners: list[Callable[[Change], None]] = []
        self._lanes = {
            name: Lane(dsn, clock, self._listeners, self._supervisor, name) for name in ("small", "bulk")
        }

    def listen(self, on_commit: Callable[[Change], None]) -> None:
        self._listeners.append(on_commit)

    async def commit(self, write: Write) -> Change:
        """Commit one write. Raises Stale, Taken, OverQuota, KeyTaken, Invalid, Unavailable."""
        encoded = rows.encode(write, self._limits)
        lane = self._lanes["bulk" if encoded.size >= BULK_FROM else "small"]
        return await lane.submit(encoded)

    async def close(self) -> None:
        """Finish nothing more: what still waits is answered Unavailable."""
        await self._supervisor.close()
        for lane in self._lanes.values():
            await lane.close()


class Lane:
    """A queue of writes; one transaction or statement at a time, each kind on a connection of its own."""

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        listeners: Sequence[Callable[[Change], None]],
        supervisor: Supervisor,
        name: str,
    ) -> None:
        self._dsn = dsn
        self._clock = clock
        self._listeners = listeners
        self._waiting: deque[Pending] = deque()
        self._under_way: Sequence[Pending] = ()
        self._wake = asyncio.Event()
        self._session: Session | None = None
        self._quick_session: Session | None = None  # for single statements; other settings than transactions
        self._is_closed = False
        supervisor.start(f"postgres_commit_{name}", self._run())

    async def submit(self, encoded: Encoded) -> Change:
        """Queue a write and wait for its commit."""
        if self._is_closed or len(self._waiting) >= WAITING_MAX:
            raise errors.Unavailable("the store takes no more writes now", retry_after_s=sessions.RETRY_AFTER_S)
        pending = Pending(encoded)
        self._waiting.append(pending)
        self._wake.set()
        return await pending.done

    async def close(self) -> None:
        """Let go of the connections; the task has ended."""
        self._drop_sessions()

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    self._under_way = self._next_batch()
                    await self._settle(self._under_way)
                    self._under_way = ()
        finally:
            self._is_closed = True
            for pending in (*self._under_way, *self._waiting):
                pending.fail(errors.Unavailable("the store is closing", retry_after_s=sessions.RETRY_AFTER_S))

    def _next_batch(self) -> list[Pending]:
        """Take the writes that may share a transaction: from the front, in the order they run in."""
        batch: list[Pending] = []
        ids: set[str] = set()
        while self._waiting and len(batch) < TOGETHER_MAX:
            pending = self._waiting[0]
            alone = pending.touched.shape == "alone"
            if batch and (alone or not ids.isdisjoint(pending.touched.ids)):
                break
            batch.append(self._waiting.popleft())
            ids |= pending.touched.ids
            if alone or pending.encoded.size >= BULK_FROM:
                break
        batch.sort(key=lambda pending: _SHAPES[pending.touched.shape])
        return batch

    async def _settle(self, batch: Sequence[Pending]) -> None:
        try:
            changes = await self._commit(batch)
        except (errors.AlcorError, transaction.NotTogether) as error:
            if len(batch) == 1:
                batch[0].fail(error)
                return
            for part in _apart(batch, error):
                await self._settle(part)
            return
        for pending, change in zip(batch, changes, strict=True):
            for on_commit in self._listeners:
                on_commit(change)
            if not pending.done.done():
                pending.done.set_result(change)

    async def _commit(self, batch: Sequence[Pending]) -> list[Change]:
        """Run the transaction until it is known to have happened, or not. Raises AlcorError, NotTogether."""
        encoded = [pending.encoded for pending in batch]
        deadline = self._clock.monotonic_s() + OUTAGE_S
        is_repeat = False
        raced = 0
        while True:
            try:
                async with asyncio.timeout(TRANSACTION_S):
                    return await self._attempt(encoded, deadline, is_repeat=is_repeat)
            except errors.AlcorError:
                raise
            except (ValueError, asyncpg.DataError) as error:
                raise errors.Invalid(f"a value cannot be stored: {error}") from error
            except sessions.RACED as error:
                raced += 1
                if raced >= ATTEMPTS_MAX:
                    raise sessions.away(error) from error
            except sessions.LOST as error:
                is_repeat = True
                self._drop_sessions()
                if self._clock.monotonic_s() >= deadline:
                    raise sessions.away(error) from error
                await asyncio.sleep(0.02)
            except asyncpg.PostgresError as error:
                raise errors.Broken(f"the store refuses a statement: {error}") from error

    async def _attempt(self, encoded: Sequence[Encoded], deadline: float, *, is_repeat: bool) -> list[Change]:
        if not is_repeat and one_statement.fits(encoded):
            changes = await self._in_one_statement(encoded, deadline)
            if changes is not None:
                return changes
        session = await self._connected(deadline)
        if is_repeat and (found := await self._found(session, encoded)) is not None:
            return found
        try:
            return await transaction.run(session, encoded, now_us=self._clock.now_us(), is_repeat=is_repeat)
        except (Stale, OverQuota, KeyTaken, transaction.Repeated, asyncpg.UniqueViolationError) as error:
            # What stands in the way of a repeated attempt may be the first one.
            if is_repeat and (found := await self._found(session, encoded)) is not None:
                return found
            if isinstance(error, asyncpg.UniqueViolationError):
                raise transaction.taken(error) from error
            raise

    async def _in_one_statement(self, encoded: Sequence[Encoded], deadline: float) -> list[Change] | None:
        session = self._quick_session
        if session is None or session.is_closed():
            within_s = max(deadline - self._clock.monotonic_s(), 0.1)
            session = self._quick_session = await sessions.wait_for_server(self._dsn, within_s=within_s)
            await sessions.prefer(session, one_statement.SETTINGS)
        try:
            return await one_statement.run(session, encoded, now_us=self._clock.now_us())
        except asyncpg.UniqueViolationError as error:
            raise transaction.taken(error) from error

    async def _found(self, session: Session, encoded: Sequence[Encoded]) -> list[Change] | None:
        """After a lost connection: the changes, if the transaction was committed after all."""
        found = [await transaction.find(session, one) for one in encoded]
        known = [change for change in found if change is not None]
        return known if len(known) == len(encoded) else None

    async def _connected(self, deadline: float) -> Session:
        if self._session is None or self._session.is_closed():
            within_s = max(deadline - self._clock.monotonic_s(), 0.1)
            self._session = await sessions.wait_for_server(self._dsn, within_s=within_s)
        return self._session

    def _drop_sessions(self) -> None:
        for session in (self._session, self._quick_session):
            if session is not None:
                session.terminate()
        self._session = self._quick_session = None


def _apart(batch: Sequence[Pending], error: Exception) -> list[Sequence[Pending]]:
    """Divide writes that failed together: each alone, but a project at its limit slows only its own down."""
    if isinstance(error, OverQuota):
        wanting = {(error.project_id, kind) for kind in error.kinds}
        guilty = [
            pending
            for pending in batch
            if not wanting.isdisjoint((use.project_id, use.kind) for use in pending.encoded.uses)
        ]
        others = [pending for pending in batch if pending not in guilty]
        return [*([others] if others else ()), *([pending] for pending in guilty)]
    return [[pending] for pending in batch]
