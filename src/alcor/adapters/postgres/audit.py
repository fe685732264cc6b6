"""The audit trail on PostgreSQL: `contracts.audit.AuditLog`."""

from collections.abc import Iterable, Sequence

import asyncpg
import msgspec

from alcor.adapters.postgres import sessions
from alcor.contracts import columns
from alcor.contracts.audit import TARGETS_MAX, Actor, Asked, Entry
from alcor.contracts.store import Write
from alcor.model.records import KIND_OF, RecordSet

Part = tuple[str, str, int, tuple[str, ...]]  # operation, kind, how many, the first ids
_ADD = """
INSERT INTO audit (id, project_id, kind, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
ON CONFLICT (id) DO NOTHING
"""
_TRIM = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < $1 ORDER BY id LIMIT $2) RETURNING 1"
_encoder = msgspec.msgpack.Encoder()
_log_decoder = msgspec.msgpack.Decoder(tuple[Actor, tuple[Part, ...]])
_entry_decoder = msgspec.msgpack.Decoder(Entry)


def of_write(write: Write) -> bytes | None:
    """Write down who asked and what it does in short; None when no request did. O(kinds)."""
    if write.actor is None:
        return None
    parts = (("create", write.inserts), ("update", write.updates), ("delete", write.deletes))
    return _encoder.encode(
        (write.actor, [it for operation, records in parts for it in _parts(operation, records)])
    )


def _parts(operation: str, records: RecordSet) -> list[Part]:
    return [
        (operation, KIND_OF[type(group[0])], len(group), tuple(it.id for it in group[:TARGETS_MAX]))
        for group in columns.groups(records)
        if group
    ]


class PostgresAudit:
    """Implements `AuditLog` over the store's pool."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def fold(self, *, limit: int) -> int:
        async def fold() -> int:
            async with self._pool.acquire(timeout=sessions.AWAY_S) as session, session.transaction():
                after = await session.fetchval("SELECT revision FROM audit_cursor WHERE id = 1 FOR UPDATE")
                found = await session.fetch(
                    "SELECT revision, committed_at, request_id, audit FROM changes"
                    " WHERE revision > $1 ORDER BY revision LIMIT $2",
                    after,
                    limit,
                )
                if found:
                    await _add(session, [entry for row in found for entry in _entries(row)])
                    await session.execute(
                        "UPDATE audit_cursor SET revision = $1 WHERE id = 1", found[-1]["revision"]
                    )
                return len(found)

        return await sessions.answered(fold)

    async def add(self, entries: Sequence[Entry]) -> None:
        async def add() -> None:
            async with self._pool.acquire(timeout=sessions.AWAY_S) as session:
                await _add(session, entries)

        await sessions.answered(add)

    async def entries(self, asked: Asked) -> list[Entry]:
        arguments: list[object] = [max(asked.after, f"{asked.since:017d}"), f"{asked.until:017d}", asked.limit]
        conditions = ""
        for column, value in (("project_id", asked.project_id), ("kind", asked.kind)):
            if value is not None:
                arguments.append(value)
                conditions += f" AND {column} = ${len(arguments)}"
        text = f"SELECT body FROM audit WHERE id > $1 AND id < $2{conditions} ORDER BY id LIMIT $3"

        async def fetch() -> list[Entry]:
            async with self._pool.acquire(timeout=sessions.AWAY_S) as session:
                return [_entry_decoder.decode(row[0]) for row in await session.fetch(text, *arguments)]

        return await sessions.answered(fetch)

    async def trim(self, *, before: int, limit: int) -> int:
        async def trim() -> int:
            async with self._pool.acquire(timeout=sessions.AWAY_S) as session:
                return len(await session.fetch(_TRIM, f"{before:017d}", limit))

        return await sessions.answered(trim)


def _entries(row: asyncpg.Record) -> Iterable[Entry]:
    if row["audit"] is None:
        return
    actor, parts = _log_decoder.decode(row["audit"])
    for operation, kind, count, targets in parts:
        yield Entry(
            row["committed_at"], row["request_id"], actor, operation, kind, targets, count, row["revision"]
        )


async def _add(session: asyncpg.Connection, entries: Sequence[Entry]) -> None:
    if entries:
        await session.execute(
            _ADD,
            [entry.id for entry in entries],
            [entry.actor.project_id for entry in entries],
            [entry.kind for entry in entries],
            [_encoder.encode(entry) for entry in entries],
        )
