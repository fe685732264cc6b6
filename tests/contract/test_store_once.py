"""Writes that are carried out once, in every store: of the same key one is committed, whatever its size."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import (
    ONCE_KEPT_US,
    Done,
    Exists,
    KeyTaken,
    Once,
    Query,
    Stale,
    Store,
    Unchanged,
    Write,
)
from alcor.management_plane import key_sweeper
from alcor.model.ids import NetworkId, PortId, ProjectId, RequestId, Vni
from alcor.model.records import Network, Port, RecordSet
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock, new_ids

BLUE = ProjectId("blue")
_numbers = itertools.count(1)


class _Clock(SystemClock):
    """The machine's clock, that can be put forward."""

    ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture(params=["memory", "postgres"])
async def stores(
    request: pytest.FixtureRequest, postgres_dsn: str, clock: _Clock
) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores on the same records, as two processes have them."""
    if request.param == "memory":
        memory = MemoryStore(clock)
        yield memory, memory
        return
    opened = [await PostgresStore.open(postgres_dsn, clock, event_log.SILENT) for _ in range(2)]
    yield opened[0], opened[1]
    for store in opened:
        await store.close()


def networks(count: int = 1) -> RecordSet:
    return RecordSet(
        networks=tuple(
            Network(id=NetworkId(id_), project_id=BLUE, vni=Vni(next(_numbers))) for id_ in new_ids(count)
        )
    )


def ports(count: int) -> RecordSet:
    return RecordSet(
        ports=tuple(
            Port(id=PortId(id_), project_id=BLUE, network_id=NetworkId(id_), mac=next(_numbers))
            for id_ in new_ids(count)
        )
    )


def write(inserts: RecordSet, key: str | None, *, project: str = "blue", **parts: object) -> Write:
    once = None if key is None else Once(project, key, f"asked {key}".encode())
    request_id = RequestId(f"req-{new_ids(1)[0]}")
    return Write(request_id=request_id, project_id=BLUE, inserts=inserts, once=once, **parts)  # type: ignore[arg-type]


async def test_a_write_with_a_key_is_committed_once_and_found_by_it(stores: tuple[Store, Store]) -> None:
    for number, make in enumerate((networks, lambda: ports(150), lambda: ports(700)), 1):
        key = f"k, {number})=(" + '"é'
        assert await stores[1].done("blue", key) is None
        made = make()
        revision = await stores[0].commit(write(made, key))
        for store in stores:
            assert await store.done("blue", key) == Done(f"asked {key}".encode(), revision)
            with pytest.raises(KeyTaken):
                await store.commit(write(make(), key))
        assert (await stores[0].changes(after=revision - 1, limit=1))[0].puts == made
        assert await stores[0].commit(write(make(), key, project="red")) == revision + 1
    assert await stores[0].revision() == 6


async def test_a_write_that_is_not_committed_leaves_its_key_free(stores: tuple[Store, Store]) -> None:
    store, _ = stores
    gone = Exists("network", new_ids(1)[0])
    for inserts in (networks(), ports(700)):
        with pytest.raises(Stale):
            await store.commit(write(inserts, "k", guards=(gone,)))
        assert await store.done("blue", "k") is None
    vpc = networks()
    await store.commit(write(vpc, "k"))
    changed = msgspec.structs.replace(vpc.networks[0], name="n", revision_number=1)
    guard = Unchanged("network", changed.id, 0)
    updating = {"updates": RecordSet(networks=(changed,)), "guards": (guard,)}
    with pytest.raises(KeyTaken):
        await store.commit(write(networks(), "k", **updating))
    await store.commit(write(networks(), "other", **updating))


@pytest.mark.parametrize("size", [1, 30, 300])
async def test_of_many_at_once_with_one_key_one_is_committed(stores: tuple[Store, Store], size: int) -> None:
    writes = [write(ports(size), f"k{number % 4}") for number in range(24)]
    plain = [write(ports(size), None) for _ in range(6)]
    outcomes = await asyncio.gather(
        *(stores[number % 2].commit(one) for number, one in enumerate([*writes, *plain])),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {int, KeyTaken}
    committed = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert sorted(committed) == list(range(1, 4 + 6 + 1))
    for number in range(4):
        done = await stores[0].done("blue", f"k{number}")
        assert done is not None
        assert done.revision in committed
        winner = next(
            one
            for one, outcome in zip(writes, outcomes, strict=False)
            if one.once is not None and one.once.key == f"k{number}" and outcome == done.revision
        )
        assert (await stores[1].changes(after=done.revision - 1, limit=1))[0].puts == winner.inserts
    assert len(await stores[0].select(Port, Query())) == size * 10


async def test_a_key_is_forgotten_after_its_time_in_slices(stores: tuple[Store, Store], clock: _Clock) -> None:
    store, _ = stores
    for number in range(5):
        await store.commit(write(networks(), f"old-{number}"))
    clock.ahead_us = ONCE_KEPT_US - 60_000_000
    await store.commit(write(networks(), "young"))
    assert await store.done("blue", "old-0") is not None
    assert await store.forget_done(limit=100) == 0
    clock.ahead_us = ONCE_KEPT_US
    assert await store.done("blue", "old-0") is None
    again = [
        await store.commit(write(made, f"old-{number}")) for number, made in enumerate((networks(), ports(300)))
    ]
    for number, revision in enumerate(again):
        done = await store.done("blue", f"old-{number}")
        assert done is not None
        assert done.revision == revision
    assert await store.forget_done(limit=2) == 2
    assert await key_sweeper.sweep(store, slice_size=1) == 1
    assert await key_sweeper.sweep(store) == 0
    assert await store.done("blue", "young") is not None
    assert await store.done("blue", "old-0") is not None


async def test_a_repetition_waits_for_the_transaction_that_has_its_key(
    postgres_store: PostgresStore, postgres_dsn: str
) -> None:
    for ends_with, expected in (("ROLLBACK", int), ("COMMIT", KeyTaken)):
        other = await asyncpg.connect(postgres_dsn)
        await other.execute("BEGIN")
        await other.execute(
            "INSERT INTO request_keys (project_id, key, fingerprint, revision, until)"
            " VALUES ('blue', $1, '', 1, $2)",
            ends_with,
            2**62,
        )
        repetitions = [
            asyncio.create_task(postgres_store.commit(write(ports(size), ends_with))) for size in (1, 300)
        ]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in repetitions)
        await other.execute(ends_with)
        outcomes = await asyncio.gather(*repetitions, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {expected, KeyTaken}
        await other.close()
