"""Filters of ports read what they answer, not what else is stored. Rows are counted, of plans of all sorts."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from alcor.adapters.postgres import queries, sessions
from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.store import Query, Value, Write
from alcor.management_plane import access
from alcor.model.ids import HostId, NetworkId, PortId, ProjectId, RequestId, SubnetId
from alcor.model.records import FixedIp, Port, RecordSet
from alcor.runtime.clock import new_ids

PORTS = 12_000
NETWORKS = 12  # of 1,000 ports each, with the same addresses in each
PROJECT = ProjectId("blue")
SLACK = 12  # rows that a plan may read beside those it answers


class Stored:
    """A store full of ports of one project."""

    def __init__(self) -> None:
        each = PORTS // NETWORKS
        self.networks = [NetworkId(id_) for id_ in new_ids(NETWORKS)]
        self.subnets = [SubnetId(id_) for id_ in new_ids(NETWORKS)]
        self.ports = [
            Port(
                id=PortId(id_),
                project_id=PROJECT,
                network_id=self.networks[number // each],
                mac=0x020000000000 + number,
                name=f"port-{number}",
                host=HostId(f"host-{number // 10}"),
                device_id=f"vm-{number // 2}",
                device_owner="compute:nova",
                fixed_ips=(
                    FixedIp(self.subnets[number // each], (0x0A000000 + number % each).to_bytes(4, "big")),
                ),
            )
            for number, id_ in enumerate(new_ids(PORTS))
        ]

    def filters(self) -> Mapping[str, Mapping[str, Sequence[Value]]]:
        """What clients ask for, each with a handful of answers."""
        one = self.ports[PORTS // 2]
        (fixed,) = one.fixed_ips
        return {
            "id": {"id": (one.id,)},
            "name": {"name": (one.name,)},
            "device_id": {"device_id": (one.device_id,)},
            "two devices": {"device_id": (one.device_id, "vm-7")},
            "device and owner": {"device_id": (one.device_id,), "device_owner": ("compute:nova",)},
            "network_id": {"network_id": (one.network_id,)},
            "network and name": {"network_id": (one.network_id,), "name": (one.name,)},
            "address": {"fixed_ips.ip": (fixed.ip,)},
            "address in a subnet": {"fixed_ips.ip": (fixed.ip,), "fixed_ips.subnet_id": (fixed.subnet_id,)},
            "mac": {"mac": (one.mac,)},
            "host": {"host": (one.host,)},
        }


@pytest.fixture
async def full(postgres_store: PostgresStore) -> Stored:
    stored = Stored()
    for start in range(0, PORTS, 4000):
        ports = tuple(stored.ports[start : start + 4000])
        await postgres_store.commit(
            Write(request_id=RequestId(f"r{start}"), project_id=PROJECT, inserts=RecordSet(ports=ports))
        )
    return stored


async def test_each_filter_reads_what_it_answers(full: Stored, postgres_dsn: str) -> None:
    session = await sessions.connect(postgres_dsn)
    await sessions.prefer(session, sessions.READ_SETTINGS)
    for statistics in ("none", "ANALYZE"):
        if statistics != "none":
            await session.execute(statistics)
        for plan in ("force_generic_plan", "force_custom_plan"):
            await session.execute(f"SET plan_cache_mode = {plan}")
            wrong = {
                (name, *which): counted
                for name, where in full.filters().items()
                for which, counted in (await _wrong(session, name, where)).items()
            }
            assert not wrong, (statistics, plan, wrong)
            await _check_pages(session, full)
    await session.close()


async def _wrong(
    session: asyncpg.Connection, name: str, where: Mapping[str, Sequence[Value]]
) -> dict[tuple[str, int], tuple[int, int]]:
    """Ask as operator and as tenant, for a page and for all; give what reads too much."""
    # An address is in many networks: all are found before the page is cut. And of two columns with an index,
    # without statistics, the planner may take the wrong one.
    whole = {"address": NETWORKS, "two devices": 4, "network and name": 500}.get(name, 0)
    found = {}
    for caller, any_of in (("operator", ()), ("tenant", access.visible(Port, PROJECT))):
        for limit in (2, 10_001):
            query = Query(where=where, any_of=any_of, order=(("id", True),), limit=limit)
            answers, read = await _counted(session, query)
            assert answers > 0, name
            if read > max(1, len(any_of)) * (2 * max(answers, whole) + SLACK):
                found[caller, limit] = (answers, read)
    return found


async def _check_pages(session: asyncpg.Connection, full: Stored) -> None:
    """A page reads what is on it, wherever it begins."""
    one = full.ports[PORTS // 2 + 300]
    wheres: list[Mapping[str, Sequence[Value]]] = [
        {},
        {"network_id": (one.network_id,)},
        {"project_id": (PROJECT,)},
    ]
    for where in wheres:
        for ascending in (True, False):
            query = Query(where=where, order=(("id", ascending),), after=one, limit=50)
            answers, read = await _counted(session, query)
            assert answers == 50
            assert read <= 50 + SLACK, (where, ascending, read)


async def _counted(session: asyncpg.Connection, query: Query) -> tuple[int, int]:
    """Give how many records a query answers, and how many rows its plan takes from tables and indexes."""
    statement = queries.select(Port, query)
    names = ", ".join(_type(value) for value in statement.arguments)
    await session.execute(f"PREPARE counted ({names}) AS {statement.text}")
    values = ", ".join(_literal(value) for value in statement.arguments)
    plan = await session.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE counted ({values})")
    await session.execute("DEALLOCATE counted")
    root = msgspec.json.decode(plan)[0]["Plan"]
    return round(root["Actual Rows"]), round(sum(_rows(root)))


def _rows(node: dict[str, Any]) -> list[float]:
    own = 0.0
    if "Scan" in node["Node Type"] and node["Node Type"] != "Subquery Scan":
        taken = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        own = taken * node["Actual Loops"] + node.get("Rows Removed by Index Recheck", 0)
    return [own, *(row for child in node.get("Plans", ()) for row in _rows(child))]


def _type(value: object) -> str:
    if isinstance(value, list):
        return f"{_type(value[0]) if value else 'text'}[]"
    match value:
        case bytes():
            return "bytea"
        case int():
            return "int8"
        case str() if len(value) == 36 and value.count("-") == 4:
            return "uuid"
    return "text"


def _literal(value: object) -> str:
    match value:
        case bytes():
            return f"'\\x{value.hex()}'"
        case int():
            return str(value)
        case list():
            return f"ARRAY[{', '.join(map(_literal, value))}]::{_type(value)}"
    assert isinstance(value, str)
    return f"'{value}'"
