"""The store on PostgreSQL: `contracts.store.Store` over a pool for reads and a committer for writes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import asyncpg

from alcor.adapters.postgres import migrate, queries, request_keys, rows, sessions
from alcor.adapters.postgres.audit import PostgresAudit
from alcor.adapters.postgres.committer import Committer
from alcor.adapters.postgres.leases import PostgresBlockLeases
from alcor.adapters.postgres.rows import TABLES
from alcor.adapters.postgres.told import PostgresToldMarks
from alcor.contracts import columns
from alcor.contracts.store import Change, Done, Query, R, Snapshot, Write
from alcor.model import errors, quota
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure

READERS_MAX = 8  # connections for reads; more only queue inside the server
SNAPSHOT_CHUNK = 1000


class PostgresStore:
    """Implements `Store`. Owner of the pool and the committer. Make it with `open`."""

    def __init__(
        self, dsn: str, clock: Clock, pool: asyncpg.Pool, committer: Committer, limits: Mapping[str, int]
    ) -> None:
        self.limits = limits
        self._dsn = dsn
        self._clock = clock
        self._pool = pool
        self._committer = committer

    @classmethod
    async def open(
        cls,
        dsn: str,
        clock: Clock,
        log: EventLog,
        *,
        limits: Mapping[str, int] = quota.DEFAULT_LIMITS,
        failure: Failure | None = None,
    ) -> "PostgresStore":
        """Connect, and bring the schema up to date. Raises Unavailable when the server does not answer.

        `limits`: of projects of which nothing else was said, by kind.
        """
        session = await sessions.wait_for_server(dsn, within_s=10.0)
        try:
            for name in await migrate.migrate(session):
                log.info("schema_migrated", name=name)
        finally:
            await session.close()
        pool = await sessions.open_pool(dsn, size=READERS_MAX)
        return cls(dsn, clock, pool, Committer(dsn, clock, log, limits, failure=failure), limits)

    async def close(self) -> None:
        """Close all connections. Writes that still wait are answered Unavailable."""
        await self._committer.close()
        self._pool.terminate()

    async def get(self, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
        table = TABLES[kind]
        wanted = queries.storable(table.types[0], ids)
        if not wanted:
            return {}
        if len(wanted) == 1:
            found = await self._fetch(f"SELECT body FROM {table.name} WHERE id = $1", wanted[0])
        else:
            found = await self._fetch(
                f"SELECT body FROM {table.name} WHERE id = ANY($1::{table.types[0]}[])", wanted
            )
        by_id: dict[str, R] = {record.id: record for record in rows.decode_all(kind, found)}
        return {id_: by_id[id_] for id_ in ids if id_ in by_id}

    async def select(self, kind: type[R], query: Query) -> list[R]:
        statement = queries.select(kind, query)
        found = await self._fetch(statement.text, *statement.arguments)
        if query.limit is None and len(found) > columns.PAGE_MAX:
            raise errors.LimitReached(f"more than {columns.PAGE_MAX} records match: ask for pages")
        return rows.decode_all(kind, found)

    async def commit(self, write: Write) -> int:
        return (await self._committer.commit(write)).revision

    async def usage(self, project_id: str) -> dict[str, int]:
        found = await self._fetch("SELECT kind, used FROM quotas WHERE project_id = $1", project_id)
        used: dict[str, int] = dict(map(tuple, found))  # rows of two columns
        return {kind: used.get(kind, 0) for kind in self.limits}

    async def holders(self, addresses: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], str]:
        if not addresses:
            return {}
        found = await self._fetch(
            "SELECT a.subnet_id::text, a.ip, a.port_id::text FROM unnest($1::uuid[], $2::bytea[])"
            " AS it(subnet_id, ip) JOIN addresses a ON a.subnet_id = it.subnet_id AND a.ip = it.ip",
            [subnet_id for subnet_id, _ in addresses],
            [ip for _, ip in addresses],
        )
        return {(subnet_id, ip): port_id for subnet_id, ip, port_id in found}

    async def held_addresses(self, subnet_ids: Sequence[str]) -> dict[str, int]:
        found = await self._fetch(
            "SELECT subnet_id::text, count(*) FROM addresses"
            " WHERE subnet_id = ANY($1::uuid[]) GROUP BY subnet_id",
            queries.storable("uuid", subnet_ids),
        )
        held: dict[str, int] = dict(map(tuple, found))  # rows of two columns
        return {subnet_id: held.get(subnet_id, 0) for subnet_id in subnet_ids}

    async def done(self, project_id: str, key: str) -> Done | None:
        found = await self._fetch(request_keys.FIND, project_id, key, self._clock.now_us())
        return request_keys.read(found[0]) if found else None

    async def forget_done(self, *, limit: int) -> int:
        return len(await self._fetch(request_keys.FORGET, self._clock.now_us(), limit))

    async def revision(self) -> int:
        ((revision,),) = await self._fetch("SELECT revision FROM partition WHERE id = 1")
        return int(revision)

    async def changes(self, *, after: int, limit: int = 1000) -> list[Change]:
        found = await self._fetch(
            "SELECT revision, committed_at, request_id, project_id, payload FROM changes"
            " WHERE revision > $1 ORDER BY revision LIMIT $2",
            after,
            limit,
        )
        is_complete = found[0]["revision"] == after + 1 if found else await self.revision() <= after
        if limit > 0 and not is_complete:
            # Either it was trimmed, or a commit came between the two reads: only the first is final.
            ((oldest,),) = await self._fetch("SELECT min(revision) FROM changes")
            if oldest is None or oldest > after + 1:
                raise errors.Missing(f"the log after revision {after} was trimmed away")
            return await self.changes(after=after, limit=limit)
        return [rows.decode_change(row) for row in found]

    async def begin_epoch(self) -> int:
        ((epoch,),) = await self._fetch("UPDATE partition SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch")
        return int(epoch)

    def snapshot(self) -> Snapshot:
        return _PostgresSnapshot(self._dsn)

    def listen(self, on_commit: Callable[[Change], None]) -> None:
        self._committer.listen(on_commit)

    def audit(self) -> PostgresAudit:
        """Give the audit trail that this store keeps."""
        return PostgresAudit(self._pool)

    def told(self) -> PostgresToldMarks:
        """Give how far the compute service was told, as this store keeps it."""
        return PostgresToldMarks(self._pool)

    def leases(self) -> PostgresBlockLeases:
        """Give the leases on blocks of addresses that this store keeps, for the allocator."""
        return PostgresBlockLeases(self._pool)

    async def _fetch(self, text: str, *arguments: object) -> list[asyncpg.Record]:
        async def fetch() -> list[asyncpg.Record]:
            async with self._pool.acquire(timeout=sessions.AWAY_S) as session:
                found: list[asyncpg.Record] = await session.fetch(text, *arguments)
                return found

        return await sessions.answered(fetch)


class _PostgresSnapshot:
    """One REPEATABLE READ transaction on a connection of its own."""

    revision: int

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._session: sessions.Session | None = None
        self._ahead: asyncio.Task[list[asyncpg.Record]] | None = None  # the next chunk, on its way

    async def records(self, kind: type[R]) -> AsyncIterator[Sequence[R]]:
        if self._session is None:
            raise errors.Broken("the snapshot is not open")
        table = TABLES[kind]
        last = "" if kind in rows.NAMED else queries.NIL
        await self._forget_ahead()
        await self._fetch_ahead(table.name, last)
        while self._ahead is not None:
            try:
                found = await self._ahead
            except sessions.LOST as error:
                raise sessions.away(error) from error
            self._ahead = None
            chunk = rows.decode_all(kind, found)
            if len(found) == SNAPSHOT_CHUNK:
                await self._fetch_ahead(table.name, chunk[-1].id)
            if chunk:
                yield chunk

    async def _fetch_ahead(self, table: str, last: str) -> None:
        """Have the server look for the next chunk while the one before is used."""
        assert self._session is not None, "checked when the records were asked for"
        text = f"SELECT body FROM {table} WHERE id > $1 ORDER BY id LIMIT {SNAPSHOT_CHUNK}"
        self._ahead = asyncio.ensure_future(self._session.fetch(text, last))
        await asyncio.sleep(0)  # it is sent now, not when somebody waits for it

    async def _forget_ahead(self) -> None:
        """End what nobody waits for: somebody read a kind in part only."""
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            await asyncio.gather(ahead, return_exceptions=True)

    async def __aenter__(self) -> "Snapshot":
        self._session = await sessions.wait_for_server(self._dsn, within_s=sessions.AWAY_S)
        try:
            await self._session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.revision = await self._session.fetchval("SELECT revision FROM partition WHERE id = 1")
        except sessions.LOST as error:
            self._session.terminate()
            raise sessions.away(error) from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            self._session.terminate()  # nothing to commit
            await self._forget_ahead()
            self._session = None
