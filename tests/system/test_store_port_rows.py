"""Law 4 at the store: the rows that are read for a port that is created are as many in any network."""

import asyncio

import asyncpg

from alcor.adapters.postgres.store import PostgresStore
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from api_scene import stored_scene

FEW, MANY = (
    1_000,
    1_000 + 74 * 256,
)  # whole blocks of addresses more: a lease reads what is claimed in its block
CREATED = 20
ATTEMPTS = 2  # a commit or lease that is tried again reads again
BATCH = 1_000
BLOCKS = 12  # looked into by a process that begins, at most
FLUSHED_S = 10.0


async def test_a_port_reads_the_same_rows_in_any_network(postgres_dsn: str) -> None:
    networks: dict[int, str] = {}
    for number, ports in enumerate((FEW, MANY)):
        networks[ports] = await _filled(postgres_dsn, f"10.{number}.0.0/16", ports)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("ANALYZE")
    await connection.close()
    few, many = [await _rows_read(postgres_dsn, networks[ports]) for ports in (FEW, MANY)]
    leased = [(each.pop("addresses"), each.pop("address_blocks")) for each in (few, many)]
    assert few.keys() == many.keys()
    for table, rows in few.items():
        assert abs(many[table] - rows) <= ATTEMPTS, table
    assert sum(few.values()) < 10 * CREATED
    # Leases are of blocks for many ports to come: what they read is what is claimed in those blocks.
    assert max(addresses for addresses, _ in leased) < BLOCKS * 256
    assert max(blocks for _, blocks in leased) < 2 * CREATED


async def _filled(dsn: str, cidr: str, ports: int) -> str:
    store = await PostgresStore.open(dsn, SystemClock(), SILENT)
    async with stored_scene(store) as scene:
        network_id, _ = await scene.wired_network(cidr)
        for first in range(0, ports, BATCH):
            count = min(BATCH, ports - first)
            body = {"port_group": {"name": "many", "network_id": network_id, "count": count}}
            await scene.ask("POST", "/port-groups", body, admin=True, expect=201)
    await store.close()
    return network_id


async def _rows_read(dsn: str, network_id: str) -> dict[str, int]:
    """Create ports one by one, in a process of their own; give the rows read of each table."""
    before = await _settled(dsn)
    store = await PostgresStore.open(dsn, SystemClock(), SILENT)
    async with stored_scene(store) as scene:
        for number in range(CREATED):
            await scene.make("port", network_id=network_id, name=f"one-{number}", admin=True)
    await store.close()
    after = await _settled(dsn)
    return {table: read - before.get(table, 0) for table, read in after.items() if read > before.get(table, 0)}


async def _settled(dsn: str) -> dict[str, int]:
    """Give the rows read so far, once those who read have said so: a session does as it ends."""
    connection = await asyncpg.connect(dsn)
    async with asyncio.timeout(FLUSHED_S):
        while await connection.fetchval(_OTHERS):  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.01)
    rows = await connection.fetch(_READ)
    await connection.close()
    return {row["relname"]: int(row["read"]) for row in rows}


_OTHERS = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
_READ = """SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS read
FROM pg_stat_user_tables"""
