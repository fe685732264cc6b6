"""What the machine could do at best with the same rows and the same flows, measured beside our own figures."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import asyncpg

from alcor.adapters.postgres.embedded import EmbeddedPostgres

# What one port create writes, and how its rows are found: the log's row by revision, the others by port.
_ROWS_OF = {
    "ports": "SELECT * FROM ports WHERE id = ANY($1)",
    "addresses": "SELECT * FROM addresses WHERE port_id = ANY($1)",
    "group_members": "SELECT * FROM group_members WHERE port_id = ANY($1)",
}
ROUNDS = 5


class CopyFloor:
    """A raw COPY of rows that exist, into empty tables of the same shape. Owner of its connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, data_dir: Path) -> "CopyFloor":
        """Connect to a region's embedded database and make the tables."""
        connection = await asyncpg.connect(EmbeddedPostgres(data_dir / "postgres").dsn)
        for table in (*_ROWS_OF, "changes"):
            await connection.execute(f"CREATE TABLE floor_{table} (LIKE {table} INCLUDING ALL)")
        return cls(connection)

    async def measure(self, port_ids: Sequence[str], revision: int) -> float:
        """Give the median milliseconds of one transaction that copies the rows of these ports and commits."""
        ids = [UUID(port_id) for port_id in port_ids]
        rows = {
            table: list(map(tuple, await self._connection.fetch(sql, ids))) for table, sql in _ROWS_OF.items()
        }
        log = await self._connection.fetch("SELECT * FROM changes WHERE revision = $1", revision)
        rows["changes"] = list(map(tuple, log))
        times = []
        for _ in range(ROUNDS):
            await self._connection.execute(f"TRUNCATE {', '.join(f'floor_{table}' for table in rows)}")
            started = time.perf_counter()
            async with self._connection.transaction():
                for table, records in rows.items():
                    await self._connection.copy_records_to_table(f"floor_{table}", records=records)
            times.append((time.perf_counter() - started) * 1000)
        return statistics.median(times)

    async def close(self) -> None:
        await self._connection.close()
