"""Quotas in every store: counted with each commit, held to the limit, all of a write or nothing."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import OverQuota, Query, Stale, Store, Unchanged, Write
from alcor.model.ids import NetworkId, PortId, ProjectId, RequestId, RouterId, Vni
from alcor.model.quota import UNLIMITED
from alcor.model.records import Network, Port, Project, RecordSet, Router
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock, new_ids

BLUE, RED = ProjectId("blue"), ProjectId("red")
LIMITS = {"network": 3, "router": UNLIMITED, "port": 300}
_numbers = itertools.count(1)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, postgres_dsn: str) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(limits=LIMITS)
        return
    opened = await PostgresStore.open(postgres_dsn, SystemClock(), event_log.SILENT, limits=LIMITS)
    yield opened
    await opened.close()


def write(**parts: object) -> Write:
    return Write(request_id=RequestId(f"req-{new_ids(1)[0]}"), project_id=BLUE, **parts)  # type: ignore[arg-type]


def networks(count: int, project: ProjectId = BLUE) -> RecordSet:
    return RecordSet(
        networks=tuple(
            Network(id=NetworkId(id_), project_id=project, vni=Vni(next(_numbers))) for id_ in new_ids(count)
        )
    )


def ports(count: int, project: ProjectId = BLUE) -> RecordSet:
    return RecordSet(
        ports=tuple(
            Port(id=PortId(id_), project_id=project, network_id=NetworkId(id_), mac=next(_numbers))
            for id_ in new_ids(count)
        )
    )


def wanted(records: RecordSet, **parts: object) -> Write:
    return write(inserts=records, within=("network", "port", "router"), **parts)


def project(revision_number: int, **limits: int) -> Project:
    return Project(
        id=BLUE, project_id=BLUE, quotas=tuple(sorted(limits.items())), revision_number=revision_number
    )


async def used(store: Store, project_id: ProjectId, kind: str = "network") -> int:
    return (await store.usage(project_id))[kind]


async def test_a_project_gets_as_many_as_its_limit_and_no_more(store: Store) -> None:
    await store.commit(wanted(networks(2)))
    for too_many in (networks(2), networks(5)):
        with pytest.raises(OverQuota) as refused:
            await store.commit(wanted(too_many))
        assert refused.value.kinds == ("network",)
        assert refused.value.message == "Quota exceeded for resources: ['network']."
    await store.commit(wanted(networks(1)))
    with pytest.raises(OverQuota):
        await store.commit(wanted(networks(1)))
    await store.commit(wanted(networks(3, RED)))  # another project has a limit of its own
    assert [await used(store, it) for it in (BLUE, RED, ProjectId("none"))] == [3, 3, 0]
    assert len(await store.select(Network, Query())) == 6
    assert await store.revision() == 3


async def test_a_write_of_many_is_all_or_nothing_also_across_kinds(store: Store) -> None:
    too_many = msgspec.structs.replace(networks(4), ports=ports(301).ports)
    with pytest.raises(OverQuota) as refused:
        await store.commit(wanted(too_many))
    assert refused.value.kinds == ("network", "port")
    assert refused.value.message == "Quota exceeded for resources: ['network', 'port']."
    await store.commit(wanted(ports(290)))
    for size in (11, 250):  # one small, one that is copied
        with pytest.raises(OverQuota):
            await store.commit(wanted(msgspec.structs.replace(ports(size), networks=networks(1).networks)))
    await store.commit(wanted(ports(10)))
    assert await store.usage(BLUE) == {"network": 0, "port": 300, "router": 0}
    assert await store.select(Network, Query()) == []


async def test_what_nobody_asked_for_is_counted_and_not_refused(store: Store) -> None:
    await store.commit(write(inserts=networks(4)))
    await store.commit(write(inserts=ports(301)))
    assert await store.usage(BLUE) == {"network": 4, "port": 301, "router": 0}
    with pytest.raises(OverQuota):
        await store.commit(wanted(networks(1)))


async def test_what_is_removed_is_given_back(store: Store) -> None:
    made = networks(3)
    await store.commit(wanted(made))
    swapped = networks(1)
    await store.commit(wanted(swapped, deletes=RecordSet(networks=made.networks[:1])))
    assert await used(store, BLUE) == 3
    with pytest.raises(Stale):
        await store.commit(write(deletes=RecordSet(networks=made.networks[:1])))
    await store.commit(write(deletes=RecordSet(networks=(*made.networks[1:], *swapped.networks))))
    assert await used(store, BLUE) == 0
    await store.commit(wanted(networks(3)))


async def test_a_limit_of_its_own_replaces_the_default_until_it_is_taken_back(store: Store) -> None:
    await store.commit(wanted(networks(3)))
    await store.commit(write(inserts=RecordSet(projects=(project(1, network=5),))))
    await store.commit(wanted(networks(2)))
    with pytest.raises(OverQuota):
        await store.commit(wanted(networks(1)))
    for number, limits in enumerate(({"network": UNLIMITED, "router": 0}, {"network": 2}, {}), start=2):
        change = write(
            updates=RecordSet(projects=(project(number, **limits),)),
            guards=(Unchanged("project", BLUE, number - 1),),
        )
        await store.commit(change)
        router = RecordSet(routers=(Router(id=RouterId(new_ids(1)[0]), project_id=BLUE),))
        if limits.get("network") == UNLIMITED:
            await store.commit(wanted(networks(4)))
            with pytest.raises(OverQuota):
                await store.commit(wanted(router))
        else:
            await store.commit(wanted(router))
            with pytest.raises(OverQuota):
                await store.commit(wanted(networks(1)))
    assert await store.usage(BLUE) == {"network": 9, "port": 0, "router": 2}
    (stored,) = (await store.get(Project, [BLUE])).values()
    await store.commit(write(deletes=RecordSet(projects=(stored,))))
    assert await used(store, BLUE) == 9


async def test_of_many_at_once_exactly_as_many_as_the_limit_succeed(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.commit(wanted(ports(size))) for size in [1] * 40 + [3] * 100 + [7] * 20 + [1] * 40),
        *(store.commit(wanted(ports(1, RED))) for _ in range(20)),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {int, OverQuota}
    assert all(isinstance(outcome, int) for outcome in outcomes[-20:])  # nobody suffers for another
    stored = Counter(port.project_id for port in await store.select(Port, Query()))
    assert stored == {BLUE: 300, RED: 20}
    assert [await used(store, it, "port") for it in (BLUE, RED)] == [300, 20]


@pytest.mark.parametrize("seed", range(3))
async def test_the_counters_are_the_truth_after_any_sequence_of_writes(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    held: list[Network | Port] = []

    async def step() -> None:
        gone = chance.sample(held, min(len(held), chance.choice([0, 0, 1, 2, 150])))
        who = chance.choice([BLUE, RED])
        made = chance.choice([networks(0), networks(1, who), ports(2, who), ports(120, who)])
        change = write(
            inserts=made,
            deletes=RecordSet(
                networks=tuple(it for it in gone if isinstance(it, Network)),
                ports=tuple(it for it in gone if isinstance(it, Port)),
            ),
            within=chance.choice([(), ("network", "port")]),
        )
        try:
            await store.commit(change)
        except OverQuota:
            return
        except Stale:  # another step of the same moment removed it
            return
        held[:] = [it for it in held if it not in gone] + [*made.networks, *made.ports]

    for _ in range(20):
        await asyncio.gather(*(step() for _ in range(chance.choice([1, 4]))))
        for project_id in (BLUE, RED):
            where = {"project_id": (project_id,)}
            truth = {
                "network": len(await store.select(Network, Query(where=where))),
                "port": len(await store.select(Port, Query(where=where))),
                "router": 0,
            }
            assert await store.usage(project_id) == truth
