"""Subnets of both IP versions in every store, and guards that leave out what is known to be there."""

import asyncpg
import msgspec
import pytest

from alcor.adapters.postgres import migrate, rows
from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.store import Exists, NoneWhere, Query, Stale, Store, Unchanged, Write
from alcor.model.addressing import Cidr
from alcor.model.ids import NetworkId, PortId, ProjectId, RequestId, SubnetId
from alcor.model.records import DHCPV6_STATEFUL, SLAAC, FixedIp, Port, RecordSet, Subnet
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock, new_ids

BLUE = ProjectId("blue")
NETWORK = NetworkId(new_ids(1)[0])


def write(**parts: object) -> Write:
    return Write(request_id=RequestId(f"req-{new_ids(1)[0]}"), project_id=BLUE, **parts)  # type: ignore[arg-type]


def subnet(text: str, ra_mode: str = "", address_mode: str = "") -> Subnet:
    return Subnet(
        id=SubnetId(new_ids(1)[0]),
        project_id=BLUE,
        network_id=NETWORK,
        cidr=Cidr.from_text(text),
        ra_mode=ra_mode,
        address_mode=address_mode,
    )


async def test_subnets_are_found_by_version_and_modes(store: Store) -> None:
    four, plain = subnet("10.0.0.0/24"), subnet("2001:db8::/64")
    auto, stateful = subnet("2001:db8:1::/64", SLAAC, SLAAC), subnet("2001:db8:2::/64", "", DHCPV6_STATEFUL)
    await store.commit(write(inserts=RecordSet(subnets=(four, plain, auto, stateful))))
    for where, expected in (
        ({"ip_version": (4,)}, [four]),
        ({"ip_version": (6,)}, [plain, auto, stateful]),
        ({"ip_version": (6,), "network_id": (NETWORK,)}, [plain, auto, stateful]),
        ({"ip_version": (5, 2**70)}, []),
        ({"ra_mode": (SLAAC,)}, [auto]),
        ({"ra_mode": (SLAAC, "")}, [four, plain, auto, stateful]),
        ({"address_mode": (SLAAC, DHCPV6_STATEFUL), "project_id": ("blue",)}, [auto, stateful]),
        ({"address_mode": (DHCPV6_STATEFUL,), "ra_mode": (SLAAC,)}, []),
    ):
        found = await store.select(Subnet, Query(where=where))
        assert found == sorted(expected, key=lambda it: it.id), where
    ordered = await store.select(Subnet, Query(where={"ip_version": (6,)}, order=(("id", False),), limit=2))
    assert ordered == sorted([plain, auto, stateful], key=lambda it: it.id, reverse=True)[:2]


async def test_a_guard_that_nothing_is_there_leaves_out_what_it_names(store: Store) -> None:
    ports = [
        Port(id=PortId(id_), project_id=BLUE, network_id=NETWORK, mac=n) for n, id_ in enumerate(new_ids(3))
    ]
    await store.commit(write(inserts=RecordSet(ports=tuple(ports))))
    one, two, three = ports
    for but, is_held in (((), False), ((one.id, two.id), False), ((one.id, two.id, three.id), True)):
        guards = (NoneWhere("port", "network_id", NETWORK, but=but),)
        inserts = RecordSet(subnets=(subnet("10.0.0.0/24"),))
        if is_held:
            await store.commit(write(inserts=inserts, guards=guards))
        else:
            with pytest.raises(Stale) as stale:
                await store.commit(write(inserts=inserts, guards=guards))
            assert stale.value.guard == guards[0]
    guards = (NoneWhere("port", "network_id", NETWORK, but=(two.id,)), Exists("port", one.id))
    await store.commit(write(updates=RecordSet(ports=(one, three)), guards=guards))


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_port_that_is_not_as_it_was_is_stale_before_its_address_is_taken(
    store: Store, *, is_gone: bool
) -> None:
    """Whoever decides again finds out; whoever was told that an address is taken would not."""
    four = subnet("10.0.0.0/24")
    fixed = FixedIp(four.id, b"\x0a\0\0\5")
    before, after = (
        Port(id=PortId(id_), project_id=BLUE, network_id=NETWORK, mac=n, fixed_ips=(fixed,), revision_number=1)
        for n, id_ in enumerate(new_ids(2))
    )
    await store.commit(write(inserts=RecordSet(subnets=(four,), ports=(before,))))
    if is_gone:
        await store.commit(write(deletes=RecordSet(ports=(before,))))
    else:
        less = msgspec.structs.replace(before, fixed_ips=(), revision_number=2)
        await store.commit(write(updates=RecordSet(ports=(less,))))
    await store.commit(write(inserts=RecordSet(ports=(after,))))
    late = msgspec.structs.replace(before, name="late", revision_number=2)
    guards = (Unchanged("port", before.id, 1),)
    with pytest.raises(Stale):
        await store.commit(write(updates=RecordSet(ports=(late,)), guards=guards))


async def test_subnets_that_were_stored_before_there_was_a_version_are_of_ipv4(postgres_dsn: str) -> None:
    """A row as a process of the release before writes it, before and after the columns are there."""
    store = await PostgresStore.open(postgres_dsn, SystemClock(), event_log.SILENT)
    connection = await asyncpg.connect(postgres_dsn)
    old, late = subnet("10.0.0.0/24"), subnet("10.1.0.0/24")

    async def insert(it: Subnet) -> None:
        body = rows.TABLES[Subnet].row(
            it, rows.encode(write(inserts=RecordSet(subnets=(it,)))).inserts[Subnet][1][0]
        )[-1]
        await connection.execute(
            "INSERT INTO subnets (id, project_id, name, revision_number, network_id, body)"
            " VALUES ($1, $2, '', 0, $3, $4)",
            it.id,
            it.project_id,
            it.network_id,
            body,
        )

    for column in ("ip_version", "ra_mode", "address_mode"):
        await connection.execute(f"ALTER TABLE subnets DROP COLUMN {column}")
    await connection.execute("DELETE FROM schema_migrations WHERE number = 13")
    await insert(old)
    assert await migrate.migrate(connection) == ["0013_ip_versions.sql"]
    await insert(late)
    await connection.close()
    for where in ({"ip_version": (4,)}, {"ra_mode": ("",), "address_mode": ("",)}):
        assert {it.id for it in await store.select(Subnet, Query(where=where))} == {old.id, late.id}
    assert await store.select(Subnet, Query(where={"ip_version": (6,)})) == []
    await store.close()
