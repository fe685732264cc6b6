"""Fixtures of one embedded PostgreSQL for the whole test session; each test gets a database of its own."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from alcor.adapters.postgres.embedded import EmbeddedPostgres
from alcor.adapters.postgres.store import PostgresStore
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The DSN of a server that runs as long as the session."""
    server = EmbeddedPostgres(Path(tmp_path_factory.mktemp("postgres")))
    yield await server.start()
    await server.stop()


@pytest.fixture
async def postgres_dsn(postgres_server: str) -> AsyncIterator[str]:
    """The DSN of an empty database."""
    name = f"test_{next(_numbers)}"
    connection = await asyncpg.connect(postgres_server)
    await connection.execute(f"CREATE DATABASE {name}")
    yield postgres_server.replace("/postgres?", f"/{name}?")
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def postgres_store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    """An empty store on PostgreSQL."""
    store = await PostgresStore.open(postgres_dsn, SystemClock(), event_log.SILENT)
    yield store
    await store.close()
