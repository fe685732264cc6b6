"""How far the compute service was told, on PostgreSQL: `contracts.server_events.ToldMarks`."""

import asyncpg

from alcor.adapters.postgres import sessions
from alcor.contracts.server_events import Told

_KEEP_REVISION = """
INSERT INTO told_revision (id, revision) VALUES (1, $1)
ON CONFLICT (id) DO UPDATE SET revision = excluded.revision
"""
_KEEP_MARKS = """
INSERT INTO told_marks (host, mark) SELECT * FROM unnest($1::text[], $2::int8[])
ON CONFLICT (host) DO UPDATE SET mark = excluded.mark
"""
_FORGET = "DELETE FROM told_marks WHERE host = ANY($1::text[])"


class PostgresToldMarks:
    """Implements `ToldMarks` over the store's pool."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def load(self) -> Told | None:
        async def load() -> Told | None:
            async with (
                self._pool.acquire(timeout=sessions.AWAY_S) as session,
                session.transaction(isolation="repeatable_read", readonly=True),
            ):
                revision = await session.fetchval("SELECT revision FROM told_revision WHERE id = 1")
                if revision is None:
                    return None
                marks = await session.fetch("SELECT host, mark FROM told_marks")
                return Told(revision, dict(map(tuple, marks)))  # rows of two columns

        return await sessions.answered(load)

    async def keep(self, told: Told) -> None:
        kept = sorted((host, mark) for host, mark in told.marks.items() if mark)
        gone = sorted(host for host, mark in told.marks.items() if not mark)

        async def keep() -> None:
            async with self._pool.acquire(timeout=sessions.AWAY_S) as session, session.transaction():
                if kept:
                    await session.execute(_KEEP_MARKS, [host for host, _ in kept], [mark for _, mark in kept])
                if gone:
                    await session.execute(_FORGET, gone)
                await session.execute(_KEEP_REVISION, told.revision)

        await sessions.answered(keep)
