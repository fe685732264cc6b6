"""Projects in every store: named by text, kept through the log, changed under a guard, seen by snapshots."""

import msgspec
import pytest

from alcor.contracts.store import Query, Stale, Store, Taken, Unchanged, Write
from alcor.model.ids import NetworkId, ProjectId, RequestId, Vni
from alcor.model.records import Network, Project, RecordSet
from alcor.runtime.clock import new_ids

GOLD = Project(id=ProjectId("gold"), project_id=ProjectId("gold"), priority=90, revision_number=1)


def write(**parts: object) -> Write:
    return Write(request_id=RequestId(f"req-{new_ids(1)[0]}"), project_id=GOLD.id, **parts)  # type: ignore[arg-type]


async def test_a_project_is_kept_through_the_log_and_changed_under_a_guard(store: Store) -> None:
    first = await store.commit(write(inserts=RecordSet(projects=(GOLD,))))
    assert await store.get(Project, ["gold", "other"]) == {"gold": GOLD}
    assert (await store.changes(after=first - 1))[0].puts.projects == (GOLD,)
    with pytest.raises(Taken):
        await store.commit(write(inserts=RecordSet(projects=(GOLD,))))
    lower = msgspec.structs.replace(GOLD, priority=10, revision_number=2)
    change = write(updates=RecordSet(projects=(lower,)), guards=(Unchanged("project", "gold", 1),))
    await store.commit(change)
    assert await store.select(Project, Query()) == [lower]
    with pytest.raises(Stale):
        await store.commit(msgspec.structs.replace(change, request_id=RequestId("req-again")))


async def test_a_snapshot_that_is_read_in_part_gives_the_next_kind_whole(store: Store) -> None:
    networks = tuple(
        Network(id=NetworkId(id_), project_id=GOLD.id, vni=Vni(number + 1))
        for number, id_ in enumerate(new_ids(2500))
    )
    await store.commit(write(inserts=RecordSet(projects=(GOLD,), networks=networks)))
    async with store.snapshot() as snapshot:
        async for chunk in snapshot.records(Network):
            assert 0 < len(chunk) <= 1000
            break  # the rest is on its way, and nobody wants it
        projects = [project async for chunk in snapshot.records(Project) for project in chunk]
        assert projects == [GOLD]
        read = [network.id async for chunk in snapshot.records(Network) for network in chunk]
        assert read == sorted(network.id for network in networks)
