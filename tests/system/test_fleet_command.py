"""`alcor fleet` as it is typed: several processes, several controllers, faults, and too few files."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from region_scene import all_in_force, eventually, network

from alcor.adapters import identity
from alcor.bench.hosts import AgentDoor
from alcor.cli import fleet as fleet_command
from alcor.client.api import ApiClient
from alcor.lab.children import Child, alcor_command
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model.ids import HostId
from alcor.processes.fleet_streams import GREETING_MAX, FleetStreams
from alcor.runtime.event_log import SILENT

HOSTS = 6
ENDS_S = 20.0


@pytest.fixture
async def region(tmp_path: Path, postgres_dsn: str) -> AsyncIterator[RegionProcess]:
    process = RegionProcess(tmp_path / "region", queue="none", database=postgres_dsn)
    await process.start()
    yield process
    await process.stop()


@asynccontextmanager
async def fleet(region: RegionProcess, *options: str, files: str = "") -> AsyncIterator[Child]:
    """Run a fleet; `files`: its soft and hard limit of open files."""
    limited = ["prlimit", f"--nofile={files}"] if files else []
    command = alcor_command("fleet", "--controller", region.agent_url, *options)
    child = Child("the fleet", [*limited, *command], region.directory / "fleet.log")
    await child.start()
    try:
        yield child
    finally:
        await child.stop()


async def test_faults_from_the_command_line_end_with_all_ports_in_force(region: RegionProcess) -> None:
    faults = ("--loss", "0.01", "--slow", "5", "--crash", "0.2")
    async with (
        fleet(region, "--hosts", str(HOSTS), "--processes", "2", *faults) as child,
        ApiClient(region.url) as api,
    ):
        await hosts_alive(api, HOSTS)
        network_id, _ = await network(api)
        for _ in range(3):
            ports = [{"network_id": network_id, "binding:host_id": f"host-{number}"} for number in range(HOSTS)]
            await api.post("/v2.0/ports", {"ports": ports}, wait="in_force", timeout=2)

        async def disturbed() -> bool:
            return (region.directory / "region.log").read_text().count("agent_left") >= HOSTS

        await eventually(disturbed, "streams broke and agents were killed")
        await all_in_force(api, 3 * HOSTS)
        assert child.alive


async def test_a_fleet_tries_all_its_controllers(region: RegionProcess) -> None:
    nobody = f"unix://{region.directory}/nobody.sock"
    command = alcor_command("fleet", "--hosts", "3", "--controller", nobody, "--controller", region.agent_url)
    child = Child("the fleet", command, region.directory / "fleet.log")
    await child.start()
    try:
        async with ApiClient(region.url) as api:
            await hosts_alive(api, 3)
    finally:
        await child.stop()


async def test_a_fleet_dials_in_over_tls_and_each_host_shows_its_own_certificate(
    tmp_path: Path, postgres_dsn: str
) -> None:
    door = AgentDoor(tls=True)
    region = RegionProcess(
        tmp_path / "region", queue="none", database=postgres_dsn, options=door.region_options
    )
    await region.start()
    faults = ("--loss", "0.01", "--crash", "0.2", "--processes", "2")
    command = alcor_command("fleet", "--hosts", str(HOSTS), *door.fleet_options(region, HOSTS), *faults)
    child = Child("the fleet", command, region.directory / "fleet.log")
    try:
        await child.start()
        async with ApiClient(region.url) as api:
            await hosts_alive(api, HOSTS)
            network_id, _ = await network(api)
            ports = [{"network_id": network_id, "binding:host_id": f"host-{number}"} for number in range(HOSTS)]
            await api.post("/v2.0/ports", {"ports": ports}, wait="in_force", timeout=2)
            await all_in_force(api, HOSTS)
        assert child.alive
    finally:
        await child.stop()
        await region.stop()


def test_a_fleet_whose_hosts_have_no_certificates_is_refused(tmp_path: Path) -> None:
    options = ["--hosts", "3", "--controller", "tcps://127.0.0.1:1"]
    refused = CliRunner().invoke(fleet_command.command, options)
    assert refused.exit_code == 2
    assert "tcps:// controllers want --certificates" in refused.output
    identity.issue_fleet(tmp_path / "authority", tmp_path / "fleet", ["host-0", "host-1"])
    refused = CliRunner().invoke(fleet_command.command, [*options, "--certificates", str(tmp_path / "fleet")])
    assert refused.exit_code == 2
    assert "no certificate for 'host-2'" in refused.output


async def test_no_more_hosts_greet_a_controller_at_once_than_are_done_in_time(tmp_path: Path) -> None:
    hosts = [HostId(f"host-{number}") for number in range(GREETING_MAX + 50)]
    identity.issue_fleet(tmp_path / "authority", tmp_path / "fleet", hosts)
    came: list[asyncio.StreamWriter] = []
    enough = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)
        if len(came) >= GREETING_MAX:
            enough.set()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0, backlog=len(hosts))
    url = f"tcps://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    streams = FleetStreams(tmp_path / "fleet", None, SILENT)
    dialling = [asyncio.create_task(streams.connect(host, url)) for host in hosts]
    await asyncio.wait_for(enough.wait(), ENDS_S)
    await asyncio.sleep(0.2)  # any more would come now
    assert len(came) == GREETING_MAX
    for task in dialling:
        task.cancel()
    await asyncio.gather(*dialling, return_exceptions=True)
    for writer in came:
        writer.close()
    server.close()


async def test_a_fleet_of_which_a_process_ends_ends_and_says_which(region: RegionProcess) -> None:
    async with fleet(region, "--hosts", "4", "--processes", "2") as child, ApiClient(region.url) as api:
        await hosts_alive(api, 4)
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        assert len(children) == 2
        os.kill(int(children[1]), signal.SIGKILL)
        assert await child.ended(ENDS_S) == 1
        words = (region.directory / "fleet.log").read_text()
        assert "Error: the fleet from host-2 on ended with status -9" in words


async def test_a_fleet_opens_as_many_files_as_it_may(region: RegionProcess) -> None:
    async with fleet(region, "--hosts", "200", files="128:4096"), ApiClient(region.url) as api:
        await hosts_alive(api, 200)
    assert "open_files_too_few" not in (region.directory / "fleet.log").read_text()


async def test_a_fleet_says_that_it_may_open_too_few_files(region: RegionProcess) -> None:
    async with fleet(region, "--hosts", "200", files="128:128"):

        async def said() -> bool:
            return "open_files_too_few" in (region.directory / "fleet.log").read_text()

        await eventually(said, "that 200 hosts do not fit")
