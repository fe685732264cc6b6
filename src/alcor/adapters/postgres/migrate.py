"""Brings the schema up to date from the numbered files beside it; several processes may do so at once."""

import re
from importlib import resources

import asyncpg

from alcor.model import errors

TRIES = 20
_RACED = (
    asyncpg.UniqueViolationError,  # two processes created the same thing; one has won
    asyncpg.DuplicateObjectError,
    asyncpg.DuplicateTableError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
_NAME = re.compile(r"(\d{4})_\w+\.sql")
_RECORD = "CREATE TABLE IF NOT EXISTS schema_migrations (number int8 PRIMARY KEY, name text NOT NULL)"


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Apply the migrations that are missing, each in a transaction of its own. Give their names.

    A migration first inserts its number: of two processes one waits there for the other, then finds it done.
    """
    applied = []
    await _retried(connection, _RECORD)
    done = {row["number"] for row in await connection.fetch("SELECT number FROM schema_migrations")}
    for number, name, text in _migrations():
        if number not in done and await _apply(connection, number, name, text):
            applied.append(name)
    return applied


def _migrations() -> list[tuple[int, str, str]]:
    found = []
    for entry in resources.files(__package__).joinpath("migrations").iterdir():
        if match := _NAME.fullmatch(entry.name):
            found.append((int(match[1]), entry.name, entry.read_text()))
    return sorted(found)


async def _apply(connection: asyncpg.Connection, number: int, name: str, text: str) -> bool:
    for _ in range(TRIES):
        try:
            async with connection.transaction():
                row = await connection.fetchval(
                    "INSERT INTO schema_migrations (number, name) VALUES ($1, $2)"
                    " ON CONFLICT (number) DO NOTHING RETURNING number",
                    number,
                    name,
                )
                if row is None:
                    return False
                await connection.execute(text)
                return True
        except _RACED:
            continue
    raise errors.Unavailable(f"migration {name} is contended", retry_after_s=1.0)


async def _retried(connection: asyncpg.Connection, statement: str) -> None:
    for _ in range(TRIES):
        try:
            await connection.execute(statement)
            return
        except _RACED:  # IF NOT EXISTS does not hold against a concurrent creation
            continue
    raise errors.Unavailable("the schema is contended", retry_after_s=1.0)
