"""How far the compute service was told, in every store of it: kept whole, forgotten by the host."""

import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.memory_told import MemoryToldMarks
from alcor.contracts.server_events import Told, ToldMarks
from alcor.model.ids import HostId

A, B = HostId("a"), HostId("b")


@pytest.fixture(params=["memory", "postgres"])
async def marks(request: pytest.FixtureRequest, postgres_store: PostgresStore) -> ToldMarks:
    return MemoryToldMarks() if request.param == "memory" else postgres_store.told()


async def test_nothing_is_kept_at_first(marks: ToldMarks) -> None:
    assert await marks.load() is None


async def test_marks_of_other_hosts_stay_and_a_mark_of_nothing_is_forgotten(marks: ToldMarks) -> None:
    await marks.keep(Told(3, {A: -(2**63), B: 2**63 - 1}))
    assert await marks.load() == Told(3, {A: -(2**63), B: 2**63 - 1})
    await marks.keep(Told(9, {A: 0}))
    assert await marks.load() == Told(9, {B: 2**63 - 1})
    await marks.keep(Told(10, {}))
    assert await marks.load() == Told(10, {B: 2**63 - 1})
