"""Keys of requests as rows, written in the commit that carries the request out.

A transaction claims its keys first: a second one of the same key waits there for the end of the first, before
it has written anything, and then finds it done.
"""

from collections.abc import Sequence

import asyncpg

from alcor.adapters.postgres.rows import Encoded
from alcor.contracts.store import ONCE_KEPT_US, Done, KeyTaken, Once

_VALUES = "fingerprint = excluded.fingerprint, revision = excluded.revision, until = excluded.until"
_CLAIM = f"""
INSERT INTO request_keys AS r (project_id, key, fingerprint, revision, until)
SELECT it.project_id, it.key, it.fingerprint, 0, $4::int8
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS it(project_id, key, fingerprint)
ON CONFLICT (project_id, key) DO UPDATE SET {_VALUES} WHERE r.until <= $5::int8
RETURNING r.key
"""
_RECORD = """
UPDATE request_keys r SET revision = it.revision
FROM unnest($1::text[], $2::text[], $3::int8[]) AS it(project_id, key, revision)
WHERE r.project_id = it.project_id AND r.key = it.key
"""
FIND = "SELECT fingerprint, revision FROM request_keys WHERE project_id = $1 AND key = $2 AND until > $3"
FORGET = """
DELETE FROM request_keys WHERE until <= $1 AND (project_id, key) IN (
    SELECT project_id, key FROM request_keys WHERE until <= $1 ORDER BY until LIMIT $2
) RETURNING 1
"""


def asked(batch: Sequence[Encoded]) -> list[tuple[int, Once]]:
    """Give the keys in a batch with the place of their write, from 1; in one order for all who lock them."""
    found = [(number, one.write.once) for number, one in enumerate(batch, 1) if one.write.once is not None]
    return sorted(found, key=lambda pair: (pair[1].project_id, pair[1].key))


async def claim(session: asyncpg.Connection, batch: Sequence[Encoded], now_us: int) -> None:
    """Take the keys for this transaction; wait for whoever has one. Raises KeyTaken when one is done."""
    keys = asked(batch)
    if not keys:
        return
    claimed = await session.fetch(
        _CLAIM,
        [once.project_id for _, once in keys],
        [once.key for _, once in keys],
        [once.fingerprint for _, once in keys],
        now_us + ONCE_KEPT_US,
        now_us,
    )
    if len(claimed) < len(keys):
        raise KeyTaken


async def record(session: asyncpg.Connection, batch: Sequence[Encoded], revision: int) -> None:
    """Note the changes of claimed keys. `revision`: of the batch's last write."""
    if keys := asked(batch):
        await session.execute(
            _RECORD,
            [once.project_id for _, once in keys],
            [once.key for _, once in keys],
            [revision - len(batch) + number for number, _ in keys],
        )


def in_statement(batch: Sequence[Encoded], arguments: list[object]) -> tuple[str, str]:
    """Give the condition under which no key is done, and the part that keeps them; nothing when there is none.

    For a statement whose first two arguments are the number of writes and the time. Exact for the reason that
    guards are: only commits take keys.
    """
    keys = asked(batch)
    if not keys:
        return "", ""
    first = len(arguments) + 1
    arguments += [
        [once.project_id for _, once in keys],
        [once.key for _, once in keys],
        [once.fingerprint for _, once in keys],
        [number for number, _ in keys],
        ONCE_KEPT_US,
    ]
    named = f"${first}::text[], ${first + 1}::text[]"
    condition = (
        f" AND NOT EXISTS (SELECT 1 FROM unnest({named}) AS it(project_id, key) WHERE (SELECT r.until"
        " FROM request_keys r WHERE r.project_id = it.project_id AND r.key = it.key) > $2::int8)"
    )
    part = (
        " kept AS (INSERT INTO request_keys AS r (project_id, key, fingerprint, revision, until)"
        f" SELECT it.project_id, it.key, it.fingerprint, moved.revision - $1::int8 + it.n,"
        f" $2::int8 + ${first + 4}::int8"
        f" FROM moved CROSS JOIN unnest({named}, ${first + 2}::bytea[], ${first + 3}::int8[])"
        f" AS it(project_id, key, fingerprint, n) ON CONFLICT (project_id, key) DO UPDATE SET {_VALUES}),"
    )
    return condition, part


def read(row: asyncpg.Record) -> Done:
    """Read a row of FIND."""
    return Done(row["fingerprint"], row["revision"])
