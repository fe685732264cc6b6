"""The queue's server killed, wiped or hung under load, with real processes: nothing acknowledged is lost."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from region_scene import Writers, all_in_force, eventually, network, region

from alcor.adapters import identity
from alcor.client.api import ApiClient
from alcor.lab.children import Child, alcor_command
from alcor.lab.region_process import RegionProcess, hosts_alive

HOSTS = 4
NAMES = [f"host-{number}" for number in range(HOSTS)]
BATCH = 100
HUNG_S = 3.0


async def test_a_killed_queue_is_started_again_and_loses_nothing(tmp_path: Path) -> None:
    async with region(tmp_path / "region") as process, _queue_only_fleet(process, tmp_path):
        writers = await _writers(process)
        for _ in range(2):
            await writers.until(3)
            os.kill(server := _server_pid(process), signal.SIGKILL)
            await writers.until(3)
            await _until_another_runs(process, server)
        await _all_is_well(process, writers)
        assert "queue_restarted" in (tmp_path / "region" / "region.log").read_text()


async def test_a_queue_that_comes_back_empty_loses_nothing(tmp_path: Path) -> None:
    async with region(tmp_path / "region") as process, _queue_only_fleet(process, tmp_path):
        writers = await _writers(process)
        await writers.until(3)
        os.kill(server := _server_pid(process), signal.SIGKILL)
        (tmp_path / "region" / "nats" / "store").rename(tmp_path / "wiped")
        await writers.until(3)
        await _until_another_runs(process, server)
        await _all_is_well(process, writers)
        assert any((tmp_path / "wiped").rglob("ALCOR_GOAL"))
        shutil.rmtree(tmp_path / "wiped")


async def test_a_queue_that_hangs_holds_nobody_up_and_loses_nothing(tmp_path: Path) -> None:
    async with region(tmp_path / "region") as process, _queue_only_fleet(process, tmp_path):
        writers = await _writers(process)
        await writers.until(3)
        os.kill(server := _server_pid(process), signal.SIGSTOP)
        try:
            await writers.until(5)  # the API goes on; in force is another matter
            async with ApiClient(process.url) as api:
                sums = [host["ports_in_force"] for host in (await api.get("/v2.0/hosts"))["hosts"]]
                await asyncio.sleep(HUNG_S)
                again = [host["ports_in_force"] for host in (await api.get("/v2.0/hosts"))["hosts"]]
            assert sum(again) <= sum(sums), "nobody answers, so nothing can have come in force"
        finally:
            os.kill(server, signal.SIGCONT)
        await _all_is_well(process, writers)


@asynccontextmanager
async def _queue_only_fleet(process: RegionProcess, directory: Path) -> AsyncIterator[None]:
    identity.issue_fleet(process.authority, directory / "fleet")
    where = ("--queue", process.queue_url, "--certificates", str(directory / "fleet"), "--queue-only")
    child = Child("the fleet", alcor_command("fleet", "--hosts", str(HOSTS), *where), directory / "fleet.log")
    await child.start()
    try:
        async with ApiClient(process.url) as api:
            await hosts_alive(api, HOSTS)
        yield
    finally:
        await child.stop()


async def _writers(process: RegionProcess) -> Writers:
    async with ApiClient(process.url) as api:
        network_id, _ = await network(api)
    writers = Writers(process.url, network_id, NAMES, size=BATCH)
    writers.start(2)
    return writers


async def _all_is_well(process: RegionProcess, writers: Writers) -> None:
    await writers.stop()
    assert not writers.unknown, "the API does not need the queue"
    async with ApiClient(process.url) as api:
        await hosts_alive(api, HOSTS)
        await all_in_force(api, await writers.check(api))
        hosts = (await api.get("/v2.0/hosts"))["hosts"]
        assert {host["path"] for host in hosts} == {"queue"}
    assert process.child.alive


async def _until_another_runs(process: RegionProcess, former: int) -> None:
    async def truth() -> bool:
        return _server_pid(process, missing=former) != former

    await eventually(truth, "the queue's server runs again")


def _server_pid(process: RegionProcess, *, missing: int = 0) -> int:
    """Find the server among the region's children; give `missing` while there is none."""
    for children in Path(f"/proc/{process.child.pid}/task").glob("*/children"):
        for pid in children.read_text().split():
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and b"nats-server" in command.read_bytes().split(b"\0")[0]:
                return int(pid)
    assert missing, "the region runs no queue"
    return missing
