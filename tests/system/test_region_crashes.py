"""kill -9 of any one process in the middle of a batch: what was acknowledged exists once, and all recovers."""

import os
import signal
from pathlib import Path

from region_scene import (
    Writers,
    all_in_force,
    all_ports,
    emulated,
    eventually,
    network,
    region,
)

from alcor.client.api import ApiClient
from alcor.lab.children import Child, alcor_command
from alcor.lab.region_process import RegionProcess, hosts_alive
from commands import ALCOR, run

BATCH = 500


async def test_a_killed_region_keeps_what_it_acknowledged_and_recovers_by_itself(tmp_path: Path) -> None:
    async with region(tmp_path / "region") as process, emulated(process, 4) as hosts:
        async with ApiClient(process.url) as api:
            network_id, _ = await network(api)
        writers = Writers(process.url, network_id, list(hosts.data_planes), size=BATCH)
        writers.start(3)
        for _ in range(2):
            await writers.until(3)
            await process.child.kill()
            await process.start()
        await writers.until(1)
        await writers.stop()
        assert writers.unknown, "a batch was under way when it was killed"
        async with ApiClient(process.url) as api:
            await hosts_alive(api, 4)
            await all_in_force(api, await writers.check(api))
        assert not hosts.failed.is_set()


async def test_a_killed_database_is_started_again_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    async with region(tmp_path / "region") as process, emulated(process, 4) as hosts:
        async with ApiClient(process.url) as api:
            network_id, _ = await network(api)
        writers = Writers(process.url, network_id, list(hosts.data_planes), size=BATCH)
        writers.start(3)
        for _ in range(2):
            await writers.until(3)
            os.kill(_postmaster(process), signal.SIGKILL)
            await writers.until(2)
        await writers.stop()
        async with ApiClient(process.url) as api:
            await hosts_alive(api, 4)
            await all_in_force(api, await writers.check(api))
        assert process.child.alive


async def test_ports_of_a_killed_fleet_are_not_in_force_until_it_is_back(tmp_path: Path) -> None:
    async with region(tmp_path / "region") as process, ApiClient(process.url) as api:
        network_id, _ = await network(api)
        command = alcor_command("fleet", "--hosts", "2", "--controller", process.agent_url)
        fleet = Child("the fleet", command, tmp_path / "fleet.log")
        await fleet.start()
        try:
            async with emulated(process, 2, first=2):
                await hosts_alive(api, 4)
                await fleet.kill()

                async def noticed() -> bool:
                    hosts = (await api.get("/v2.0/hosts"))["hosts"]
                    return sum(host["alive"] for host in hosts) == 2

                await eventually(noticed, "the region sees that the fleet is gone")
                run(ALCOR, "status", "--url", process.url, status=1)
                body = {
                    "ports": [
                        {"network_id": network_id, "binding:host_id": f"host-{number % 4}"}
                        for number in range(40)
                    ]
                }
                await api.post("/v2.0/ports", body, wait="in_force", timeout=1)
                for port in await all_ports(api, network_id):
                    is_dead = port["binding:host_id"] in ("host-0", "host-1")
                    assert port["alcor:in_force"] is not is_dead, port
                    assert port["status"] == "DOWN", port
                await fleet.start()
                await all_in_force(api, 40)
                ports = await all_ports(api, network_id)
                assert all(port["alcor:in_force"] for port in ports)
        finally:
            await fleet.stop()


def _postmaster(process: RegionProcess) -> int:
    files = list((process.directory / "postgres").rglob("postmaster.pid"))
    assert len(files) == 1, files
    return int(files[0].read_text().split("\n", 1)[0])
