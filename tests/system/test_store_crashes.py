"""What the store keeps when processes are killed. Real servers, real SIGKILL."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import asyncpg
import pytest

from alcor.adapters.postgres.embedded import EmbeddedPostgres
from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.store import Query, Write
from alcor.model import errors
from alcor.model.ids import NetworkId, PortId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import FixedIp, Network, Port, RecordSet
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock, new_ids

PROJECT = ProjectId("p")
NETWORK = Network(id=NetworkId(new_ids(1)[0]), project_id=PROJECT, vni=Vni(1))
SUBNET = SubnetId(new_ids(1)[0])
READ_AT_ONCE = 20_000


def write(**parts: RecordSet) -> Write:
    return Write(request_id=RequestId(f"req-{new_ids(1)[0]}"), project_id=PROJECT, **parts)


def ports(first: int, count: int) -> RecordSet:
    return RecordSet(
        ports=tuple(
            Port(
                id=PortId(id_),
                project_id=PROJECT,
                network_id=NETWORK.id,
                mac=first + index,
                fixed_ips=(FixedIp(SUBNET, (first + index).to_bytes(4, "big")),),
            )
            for index, id_ in enumerate(new_ids(count))
        )
    )


async def open_store(dsn: str) -> PostgresStore:
    return await PostgresStore.open(dsn, SystemClock(), event_log.SILENT)


async def port_ids(store: PostgresStore) -> set[PortId]:
    """Read the ids of all ports by pages: a machine at rest writes more than one question answers."""
    found: list[Port] = []
    while True:
        after = found[-1] if found else None
        page = await store.select(Port, Query(order=(("id", True),), after=after, limit=READ_AT_ONCE))
        found += page
        if len(page) < READ_AT_ONCE:
            return {port.id for port in found}


async def test_acknowledged_writes_survive_kills_of_the_server_and_others_leave_nothing(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    store = await open_store(await server.start())
    await store.commit(write(inserts=RecordSet(networks=(NETWORK,))))
    acknowledged: dict[int, RecordSet] = {}
    refused: list[RecordSet] = []
    is_over = False

    async def writer(number: int, size: int) -> None:
        first = number * 1_000_000
        while not is_over:
            records = ports(first, size)
            first += size
            try:
                acknowledged[await store.commit(write(inserts=records))] = records
            except errors.Unavailable:
                refused.append(records)

    writers = [asyncio.create_task(writer(1 + number, size)) for number, size in enumerate((1, 1, 3, 500))]
    for _ in range(3):
        await asyncio.sleep(0.5)
        before, killed = len(acknowledged), server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await asyncio.sleep(0.1)
        await server.ensure_running()
        async with asyncio.timeout(15):
            while len(acknowledged) <= before + 5 or server.pid == killed:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    is_over = True
    await asyncio.gather(*writers)

    stored = await port_ids(store)
    assert stored >= {port.id for records in acknowledged.values() for port in records.ports}
    for records in refused:  # its outcome was unknown, but it is one: all or nothing
        assert len({port.id for port in records.ports} & stored) in (0, len(records.ports))
    log = await store.changes(after=0, limit=100_000)
    assert [change.revision for change in log] == list(range(1, await store.revision() + 1))
    assert sorted(port.id for change in log for port in change.puts.ports) == sorted(stored)
    for revision, records in acknowledged.items():
        assert [port.id for port in log[revision - 1].puts.ports] == [port.id for port in records.ports]

    await store.close()
    await server.stop()
    store = await open_store(await server.start())
    assert await port_ids(store) == stored
    await store.close()
    await server.stop()


async def test_the_store_says_unavailable_while_its_server_is_away(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    store = await open_store(await server.start())
    await server.stop()
    with pytest.raises(errors.Unavailable) as refused:
        await store.revision()
    assert refused.value.retry_after_s > 0
    waiting = asyncio.create_task(store.commit(write(inserts=RecordSet(networks=(NETWORK,)))))
    await asyncio.sleep(0.2)
    await server.start()
    assert await waiting == 1
    assert await store.revision() == 1
    await store.close()
    await server.stop()


PARENT = """
import asyncio, os, sys
from pathlib import Path
from alcor.adapters.postgres.embedded import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    print(await server.start(), server.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_parent_leaves_no_server_and_its_data_is_found_again(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(data_dir)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        dsn, pid = (await asyncio.to_thread(parent.stdout.readline)).split()
        store = await open_store(dsn)
        await store.commit(write(inserts=RecordSet(networks=(NETWORK,))))
        second = EmbeddedPostgres(data_dir)
        with pytest.raises(errors.Conflict):
            await second.start()
        parent.kill()
    await store.close()

    store = await open_store(await second.start())
    assert second.pid != int(pid)
    assert not Path(f"/proc/{pid}").exists()
    assert list(await store.get(Network, [NETWORK.id])) == [NETWORK.id]
    await store.close()
    await second.stop()


async def test_a_half_made_cluster_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / "data" / "database.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    server = EmbeddedPostgres(tmp_path / "data")
    store = await open_store(await server.start())
    assert await store.revision() == 0
    await store.close()
    await server.stop()


async def test_a_long_path_still_has_a_socket(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("d" * 100))
    dsn = await server.start()
    store = await open_store(dsn)
    assert await store.revision() == 0
    await store.close()
    await server.stop()
    assert not Path(dsn.partition("host=")[2].partition("&")[0]).exists()


async def test_processes_that_open_an_empty_store_at_once_all_succeed(postgres_dsn: str) -> None:
    stores = await asyncio.gather(*(open_store(postgres_dsn) for _ in range(6)))
    networks = [Network(id=NetworkId(id_), project_id=PROJECT, vni=Vni(5)) for id_ in new_ids(6)]
    outcomes = await asyncio.gather(
        *(
            store.commit(write(inserts=RecordSet(networks=(network,))))
            for store, network in zip(stores, networks, strict=True)
        ),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Taken"] * 5 + ["int"]
    revisions = await asyncio.gather(
        *(store.commit(write(inserts=ports(1000 * number, 1))) for number, store in enumerate(stores * 10, 1))
    )
    assert sorted(revisions) == list(range(2, 62))
    for store in stores:
        await store.close()


async def test_a_write_waits_for_a_primary_that_writes(postgres_dsn: str) -> None:
    store = await open_store(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    commit = asyncio.create_task(store.commit(write(inserts=RecordSet(networks=(NETWORK,)))))
    await asyncio.sleep(0.3)
    assert not commit.done(), "what is demoted answers that it only reads, and that is no refusal"
    await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert await asyncio.wait_for(commit, 10) == 1
    await connection.close()
    await store.close()
