"""Quotas among processes: real API processes on one database, many clients, and kills in the middle."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
from region_scene import Writers, network, region

from alcor.client.api import ApiClient
from alcor.lab.region_process import RegionProcess

BLUE = {"X-Project-Id": "blue", "X-Roles": "member"}
LIMIT = 100


async def details(url: str, project: str) -> dict[str, Any]:
    async with ApiClient(url) as api:
        quota: dict[str, Any] = (await api.get(f"/v2.0/quotas/{project}/details"))["quota"]
        return quota


async def test_64_clients_of_three_processes_get_exactly_as_many_as_the_limit(
    postgres_dsn: str, tmp_path: Path
) -> None:
    processes = [
        RegionProcess(
            tmp_path / f"region-{number}",
            database=postgres_dsn,
            queue="none",
            options=("--quota", f"port={LIMIT}", "--quota", "network=3"),
        )
        for number in range(3)
    ]
    async with AsyncExitStack() as stack:
        for process in processes:
            await process.start()
            stack.push_async_callback(process.stop)
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=process.url, headers=BLUE, timeout=60.0))
            for process in processes
        ]
        made = await clients[0].post("/v2.0/networks", json={"network": {"name": "n"}})
        network_id = made.json()["network"]["id"]
        subnet = {"network_id": network_id, "ip_version": 4, "cidr": "10.0.0.0/20"}
        assert (await clients[0].post("/v2.0/subnets", json={"subnet": subnet})).status_code == 201

        async def ask(number: int) -> list[int]:
            """Ask for ports until told that there are no more: one at a time, or three."""
            got = []
            size = 3 if number % 4 == 0 else 1
            body = {"ports": [{"network_id": network_id}] * size}
            for turn in range(12):
                answer = await clients[(number + turn) % 3].post("/v2.0/ports", json=body)
                assert answer.status_code in (201, 409), answer.text
                if answer.status_code == 409:
                    assert answer.json()["NeutronError"]["type"] == "OverQuota", answer.text
                got.append(size if answer.status_code == 201 else 0)
            return got

        async def ask_for_networks(number: int) -> int:
            answer = await clients[number % 3].post("/v2.0/networks", json={"network": {}})
            return answer.status_code

        got = await asyncio.gather(*(ask(number) for number in range(64)))
        assert sum(map(sum, got)) == LIMIT
        quota = await details(processes[1].url, "blue")
        assert quota["port"] == {"limit": LIMIT, "used": LIMIT, "reserved": 0}
        statuses = Counter(await asyncio.gather(*(ask_for_networks(number) for number in range(64))))
        assert statuses == {201: 2, 409: 62}


async def test_after_kills_the_counters_are_the_truth(tmp_path: Path) -> None:
    async with region(tmp_path / "region") as process:
        async with ApiClient(process.url) as api:
            network_id, _ = await network(api)
        writers = Writers(process.url, network_id, ["host-0"], size=300)
        writers.start(3)
        for _ in range(3):
            await writers.until(2)
            await process.child.kill()
            await process.start()
        await writers.until(1)
        await writers.stop()
        async with ApiClient(process.url) as api:
            stored = await writers.check(api)
        quota = await details(process.url, "admin")
        assert (quota["port"]["used"], quota["network"]["used"], quota["subnet"]["used"]) == (stored, 1, 1)
