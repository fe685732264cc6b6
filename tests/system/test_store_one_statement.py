"""Commits by one statement: exact guards among processes, the guilty alone fail, lost answers. Real server."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import msgspec
import pytest

from alcor.adapters.postgres import one_statement, rows, sessions
from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.store import Exists, Guard, NoneWhere, Query, Stale, Taken, Unchanged, Write
from alcor.model.ids import GroupId, NetworkId, PortId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import FixedIp, Network, Port, RecordSet, Subnet
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock, new_ids

PROJECT = ProjectId("p")
SUBNET = SubnetId(new_ids(1)[0])
_numbers = itertools.count(1)


def network() -> Network:
    return Network(id=NetworkId(new_ids(1)[0]), project_id=PROJECT, vni=Vni(next(_numbers)))


def port(of: Network, number: int | None = None) -> Port:
    number = next(_numbers) if number is None else number
    return Port(
        id=PortId(new_ids(1)[0]),
        project_id=PROJECT,
        network_id=of.id,
        mac=number,
        fixed_ips=(FixedIp(SUBNET, number.to_bytes(4, "big")),),
        security_groups=(GroupId(SUBNET),),
    )


def write(*guards: Guard, **parts: RecordSet) -> Write:
    return Write(
        request_id=RequestId(f"req-{new_ids(1)[0]}"), project_id=PROJECT, guards=tuple(guards), **parts
    )


def creation(of: Network, *ports: Port) -> Write:
    return write(Exists("network", of.id), inserts=RecordSet(ports=ports or (port(of),)))


def removal(of: Network) -> Write:
    return write(NoneWhere("port", "network_id", of.id), deletes=RecordSet(networks=(of,)))


async def open_store(dsn: str) -> PostgresStore:
    return await PostgresStore.open(dsn, SystemClock(), event_log.SILENT)


@pytest.fixture
async def pair(postgres_dsn: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two stores on one database, as two processes have them."""
    stores = (await open_store(postgres_dsn), await open_store(postgres_dsn))
    yield stores
    for store in stores:
        await store.close()


def test_small_inserts_fit_and_nothing_else_does() -> None:
    vpc = network()

    def fits(*writes: Write) -> bool:
        return one_statement.fits([rows.encode(one) for one in writes])

    assert fits(creation(vpc), creation(vpc))
    assert not fits(creation(vpc), removal(vpc))
    assert not fits(write(inserts=RecordSet(ports=(port(vpc),)), updates=RecordSet(networks=(vpc,))))
    assert fits(write(Unchanged("network", vpc.id, 0), inserts=RecordSet(ports=(port(vpc),))))
    assert not fits(write(NoneWhere("network", "vni", 0), inserts=RecordSet(ports=(port(vpc),))))
    assert not fits(creation(vpc, *(port(vpc) for _ in range(one_statement.RECORDS_MAX + 1))))


def test_all_port_creations_share_one_statement() -> None:
    vpc = network()
    bare = Port(id=PortId(new_ids(1)[0]), project_id=PROJECT, network_id=vpc.id, mac=1)
    texts = {
        one_statement.build([rows.encode(one) for one in batch], 0).text
        for batch in (
            [creation(vpc)],
            [creation(vpc, bare)],
            [write(inserts=RecordSet(ports=(bare,)))],
            [creation(vpc, port(vpc), port(vpc)), creation(vpc)],
            [write(Unchanged("network", vpc.id, 0), inserts=RecordSet(ports=(bare,)))],
        )
    }
    assert len(texts) == 1
    still = Unchanged("rbac_policy", new_ids(1)[0], 1)
    guests = [msgspec.structs.replace(port(vpc), network_owner=ProjectId("owner")) for _ in range(2)]
    guest_texts = {
        one_statement.build([rows.encode(write(*guards, inserts=RecordSet(ports=ports)))], 0).text
        for guards, ports in (
            ((Exists("network", vpc.id), still), (guests[0],)),
            ((still,), (*guests, bare)),
        )
    }
    assert len(guest_texts) == 1, "guests have one of their own"
    assert not guest_texts & texts


async def test_a_port_creation_is_one_round_trip(
    pair: tuple[PostgresStore, PostgresStore], postgres_dsn: str
) -> None:
    store, _ = pair
    vpc = network()
    await store.commit(write(inserts=RecordSet(networks=(vpc,))))
    session = await sessions.connect(postgres_dsn)
    await one_statement.run(session, [rows.encode(creation(vpc))], now_us=0)  # the library asks for types, once
    asked: list[str] = []
    session.add_query_logger(lambda query: asked.append(query.query))
    changes = await one_statement.run(session, [rows.encode(creation(vpc))], now_us=0)
    await session.close()
    assert changes is not None
    assert len(asked) == 1
    assert await store.revision() == changes[-1].revision == 3


async def test_a_creation_that_waited_for_the_removal_of_its_network_is_stale(
    pair: tuple[PostgresStore, PostgresStore], postgres_dsn: str
) -> None:
    store, _ = pair
    vpc = network()
    await store.commit(write(inserts=RecordSet(networks=(vpc,))))
    other = await asyncpg.connect(postgres_dsn)
    await other.execute("BEGIN")
    await other.execute("DELETE FROM networks WHERE id = $1", vpc.id)
    await other.execute("UPDATE partition SET revision = revision + 1")
    session = await sessions.connect(postgres_dsn)  # without the limit on waiting
    waiting = asyncio.create_task(one_statement.run(session, [rows.encode(creation(vpc))], now_us=0))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await other.execute("COMMIT")
    assert await waiting is None
    with pytest.raises(Stale):
        await store.commit(creation(vpc))
    assert await store.select(Port, Query()) == []
    await other.close()
    await session.close()


async def test_a_creation_that_waited_for_nothing_that_matters_is_committed(
    pair: tuple[PostgresStore, PostgresStore], postgres_dsn: str
) -> None:
    store, _ = pair
    vpc = network()
    await store.commit(write(inserts=RecordSet(networks=(vpc,))))
    other = await asyncpg.connect(postgres_dsn)
    await other.execute("BEGIN")
    await other.execute("UPDATE partition SET revision = revision + 1, epoch = epoch + 1")
    creating = asyncio.create_task(store.commit(creation(vpc)))
    await asyncio.sleep(0.2)  # longer than the statement waits: the transaction takes over
    await other.execute("ROLLBACK")
    assert await creating == 2
    await other.close()


async def test_ports_and_removals_of_their_networks_exclude_each_other_among_processes(
    pair: tuple[PostgresStore, PostgresStore],
) -> None:
    first, second = pair
    networks = [network() for _ in range(40)]
    await first.commit(write(inserts=RecordSet(networks=tuple(networks))))

    async def race(vpc: Network) -> None:
        writes = (
            first.commit(creation(vpc)),
            second.commit(creation(vpc)),
            second.commit(removal(vpc)),
            first.commit(creation(vpc)),
        )
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(outcome, int | Stale) for outcome in outcomes), outcomes

    for start in range(0, len(networks), 8):
        await asyncio.gather(*(race(vpc) for vpc in networks[start : start + 8]))
    left = {vpc.id for vpc in await first.select(Network, Query())}
    assert {held.network_id for held in await first.select(Port, Query())} == left
    log = await second.changes(after=0)
    assert [change.revision for change in log] == list(range(1, await second.revision() + 1))


async def test_two_processes_never_give_one_address_twice_and_lose_no_write(
    pair: tuple[PostgresStore, PostgresStore],
) -> None:
    vpc = network()
    await pair[0].commit(write(inserts=RecordSet(networks=(vpc,))))
    base = next(_numbers) + 10_000

    async def client(store: PostgresStore, number: int) -> list[int]:
        made = []
        for turn in range(25):
            shared = base + turn  # every client wants this one, and one of its own
            try:
                made.append(await store.commit(creation(vpc, port(vpc, shared))))
            except Taken as taken:
                assert taken.value in ((SUBNET, shared.to_bytes(4, "big")), (vpc.id, shared))  # noqa: PT017
            own = port(vpc, base + 1000 * (number + 1) + turn)
            made.append(await store.commit(creation(vpc, own)))
        return made

    made = await asyncio.gather(*(client(pair[number % 2], number) for number in range(8)))
    revisions = sorted(itertools.chain.from_iterable(made))
    assert revisions == list(range(2, 2 + 8 * 25 + 25))
    stored = await pair[0].select(Port, Query())
    assert len({held.mac for held in stored}) == len(stored) == len(revisions)
    assert len(await pair[1].changes(after=1)) == len(revisions)


async def test_of_writes_committed_together_only_the_guilty_fail(
    pair: tuple[PostgresStore, PostgresStore],
) -> None:
    store, _ = pair
    vpc, gone = network(), network()
    await store.commit(write(inserts=RecordSet(networks=(vpc,))))
    taken = port(vpc)
    await store.commit(creation(vpc, taken))
    outcomes = await asyncio.gather(
        *(store.commit(creation(vpc)) for _ in range(5)),
        store.commit(creation(vpc, port(vpc, taken.mac))),
        *(store.commit(creation(vpc)) for _ in range(5)),
        store.commit(creation(gone)),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["int"] * 5 + ["Taken"] + ["int"] * 5 + ["Stale"]
    assert len(await store.select(Port, Query())) == 11


class LosesAnswers:
    """Stands between store and server; on demand ends a connection after a commit, before its answer."""

    def __init__(self, server: str, folder: Path) -> None:
        self._server = server
        self.path = str(folder / ".s.PGSQL.5432")
        self.is_losing = False
        self.lost = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._server)

        async def forward() -> None:
            while data := await reader.read(65536):
                server_writer.write(data)

        forwarding = asyncio.create_task(forward())
        while data := await server_reader.read(65536):
            # 'C' INSERT/SELECT/UPDATE tag of a finished statement: by then an autocommitted one is durable.
            if self.is_losing and b"SELECT 1\0" in data:
                self.is_losing = False
                self.lost += 1
                break
            writer.write(data)
        forwarding.cancel()
        server_writer.close()
        writer.close()


async def test_a_commit_whose_answer_was_lost_is_found_and_not_done_twice(
    postgres_dsn: str, tmp_path: Path
) -> None:
    parts = urlsplit(postgres_dsn)
    folder = parse_qs(parts.query)["host"][0]
    between = LosesAnswers(f"{folder}/.s.PGSQL.5432", tmp_path)
    server = await asyncio.start_unix_server(between.serve, between.path)
    store = await open_store(postgres_dsn.replace(folder, str(tmp_path)))
    vpc = network()
    await store.commit(write(inserts=RecordSet(networks=(vpc,))))
    await store.commit(creation(vpc))  # prepares the statement: from now on its answer is one message
    heard: list[int] = []
    store.listen(lambda change: heard.append(change.revision))
    between.is_losing = True
    records = [port(vpc) for _ in range(3)]
    revisions = await asyncio.gather(*(store.commit(creation(vpc, record)) for record in records))
    assert between.lost == 1
    assert sorted(revisions) == sorted(heard) == [3, 4, 5]
    assert await store.revision() == 5
    assert len(await store.select(Port, Query())) == 4
    await store.close()
    server.close()


async def test_a_subnet_inserted_along_satisfies_its_guard(pair: tuple[PostgresStore, PostgresStore]) -> None:
    store, _ = pair
    vpc = network()
    subnet = Subnet(id=SUBNET, project_id=PROJECT, network_id=vpc.id, cidr=(b"\x0a\0\0\0", 8))
    guards = (Exists("network", vpc.id), Exists("subnet", SUBNET))
    records = RecordSet(networks=(vpc,), subnets=(subnet,), ports=(port(vpc),))
    assert await store.commit(write(*guards, inserts=records)) == 1


@pytest.mark.parametrize(
    ("guards", "holds"),
    [
        ([("a", 3)], True),
        ([("a", 2)], False),
        ([("a", 3), ("b", 0)], True),
        ([("a", 3), ("b", 1)], False),
        ([("a", None), ("a", 3), ("b", None)], True),
        ([("a", None), ("a", 4)], False),
        ([("a", 3), ("a", 4)], False),
        ([("gone", 0)], False),
        ([("gone", None), ("b", None)], False),
    ],
)
async def test_a_write_is_committed_only_if_what_it_rests_on_is_unchanged(
    pair: tuple[PostgresStore, PostgresStore], guards: list[tuple[str, int | None]], holds: bool
) -> None:
    store, _ = pair
    named = {name: network() for name in ("a", "b", "gone")}
    named["a"] = msgspec.structs.replace(named["a"], revision_number=3)
    await store.commit(write(inserts=RecordSet(networks=(named["a"], named["b"]))))
    checked: list[Guard] = [
        Exists("network", named[name].id) if number is None else Unchanged("network", named[name].id, number)
        for name, number in guards
    ]
    creating = store.commit(write(*checked, inserts=RecordSet(ports=(port(named["a"]),))))
    if holds:
        assert await creating == 2
    else:
        with pytest.raises(Stale):
            await creating
        assert await store.select(Port, Query()) == []
