"""The stores that hold to the one contract."""

from collections.abc import AsyncIterator

import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Store
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, postgres_dsn: str) -> AsyncIterator[Store]:
    """Each of the stores, empty."""
    if request.param == "memory":
        yield MemoryStore()
        return
    opened = await PostgresStore.open(postgres_dsn, SystemClock(), event_log.SILENT)
    yield opened
    await opened.close()
