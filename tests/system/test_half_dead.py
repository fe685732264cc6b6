"""A process of which a part fails ends, says why, and is started anew: half of it would be of no use."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from region_scene import all_in_force, emulated, network

from alcor.client.api import ApiClient
from alcor.lab.children import Child, alcor_command
from alcor.lab.region_process import RegionProcess
from alcor.processes.agent import EXIT_FAILED
from alcor.processes.api import ApiProcess, ApiProcessSettings
from alcor.processes.api_server import ApiSettings
from alcor.processes.nova import NovaSettings
from alcor.processes.region import Region, RegionSettings
from alcor.runtime.event_log import EventLog, Level
from alcor.runtime.supervision import Failure, Supervisor

ENDS_S = 30.0
# By the part that fails: what makes the database answer what it never should, and what mends it.
BROKEN = {
    "intake": (
        "WITH one AS (UPDATE partition SET revision = revision + 1 WHERE id = 1 RETURNING revision)"
        " INSERT INTO changes (revision, committed_at, request_id, project_id, payload)"
        " SELECT revision, 1, 'r', 'p', '\\xc1' FROM one",
        "SELECT",  # nothing: a region that starts reads what there is, and not how it came
    ),
    "audit": (
        "ALTER TABLE audit_cursor RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO audit_cursor",
    ),
}


@pytest.mark.parametrize("part", BROKEN)
async def test_a_region_ends_when_a_part_of_it_fails_and_loses_nothing(
    tmp_path: Path, postgres_dsn: str, part: str
) -> None:
    process = RegionProcess(tmp_path / "region", database=postgres_dsn, queue="none")
    await process.start()
    try:
        async with emulated(process, 1) as hosts, ApiClient(process.url) as api:
            network_id, _ = await network(api)
            ports = [{"network_id": network_id, "binding:host_id": "host-0"}] * 20
            await api.post("/v2.0/ports", {"ports": ports}, wait="in_force", timeout=20)
            await _carry_out(postgres_dsn, BROKEN[part][0])
            assert await process.child.ended(ENDS_S) == EXIT_FAILED
            last = (process.directory / "region.log").read_text().splitlines()[-1]
            assert last.startswith(f"Error: '{part}' failed: "), last
            await _carry_out(postgres_dsn, BROKEN[part][1])
            await process.start()
            await all_in_force(api, 20)
            assert not hosts.failed.is_set()
    finally:
        await process.stop()


async def test_an_agent_ends_when_its_database_answers_what_it_never_should(tmp_path: Path) -> None:
    async with _impossible_database(tmp_path / "db.sock"):
        command = alcor_command("agent", "--host", "compute-1", "--vtep", "10.0.0.1")
        command += ["--ovs-run-dir", str(tmp_path), "--state-dir", str(tmp_path / "state")]
        agent = Child("the agent", [*command, "--controller", f"unix://{tmp_path}/none"], tmp_path / "log")
        await agent.start()
        try:
            assert await agent.ended(ENDS_S) == EXIT_FAILED
        finally:
            await agent.stop()
        told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert told[-1]["event"] == "agent_ends"
        assert told[-1]["reason"].startswith("'switch session' failed: AssertionError")


async def test_all_parts_of_a_region_and_of_an_api_process_end_the_process(
    tmp_path: Path, postgres_dsn: str
) -> None:
    log = EventLog(level=Level.ERROR)  # of its own, by which its tasks are told from others
    region = Region(
        RegionSettings(
            api=ApiSettings(data_dir=tmp_path / "region", port=0),
            database=postgres_dsn,
            agent_urls=(f"unix://{tmp_path}/agents.sock",),
            api_process_urls=(f"unix://{tmp_path}/api.sock",),
            nova=NovaSettings(url="http://127.0.0.1:9"),
        ),
        log,
    )
    other_log = EventLog(level=Level.ERROR)
    api = ApiProcess(
        ApiProcessSettings(
            controller_urls=(f"unix://{tmp_path}/nobody.sock",),
            api=ApiSettings(data_dir=tmp_path / "api", port=0),
            database=postgres_dsn,
        ),
        other_log,
    )
    await region.start()
    try:
        await api.start()
        try:
            # Of what serves one peer or answers one question, nobody else is concerned.
            assert _owners_of_others(region.failed, log) == {"Server", "QueuePath"}
            assert _owners_of_others(api.failed, other_log) == set()
        finally:
            await api.stop()
    finally:
        await region.stop()


def _owners_of_others(failure: Failure, log: EventLog) -> set[str]:
    """Name the owners of all tasks, of those with this log, whose failure would end nothing."""
    gc.unfreeze()
    objects = gc.get_objects()
    ours = [it for it in objects if isinstance(it, Supervisor) and it._log is log]
    assert len([it for it in ours if it._failure is failure]) > 3
    others = [it for it in ours if it._failure is not failure]
    owned = {
        id(held): type(it).__name__
        for it in objects
        if str(type(it).__module__).startswith("alcor.")
        for held in getattr(it, "__dict__", {}).values()
        if isinstance(held, Supervisor)
    }
    return {owned[id(it)] for it in others}


async def _carry_out(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


@asynccontextmanager
async def _impossible_database(path: Path) -> AsyncIterator[None]:
    """Listen as an OVSDB server does, and answer every question with a number."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while question := await reader.read(65536):
            number = json.loads(question)["id"]
            writer.write(json.dumps({"id": number, "result": 7, "error": None}).encode())
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    try:
        yield
    finally:
        server.close()
