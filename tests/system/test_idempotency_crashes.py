"""kill -9 of the region between a commit and its answer: a request sent again with its key gets the answer."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
from region_scene import WAIT_S, all_ports, eventually, network, region

from alcor.client.api import ApiClient

BATCH = 200


async def test_a_killed_create_of_10000_ports_is_answered_when_it_is_sent_again(tmp_path: Path) -> None:
    async with region(tmp_path / "region") as process:
        async with ApiClient(process.url) as api:
            network_id, _ = await network(api)
        group = {"port_group": {"network_id": network_id, "name": "g", "hosts": ["nobody"] * 10_000}}
        bulk = {"ports": [{"network_id": network_id, "name": f"b{n}"} for n in range(3)]}
        asked = {"/v2.0/port-groups": group, "/v2.0/ports": bulk, "/v2.0/networks": {"network": {"name": "n"}}}
        answers: dict[str, str] = {}
        stored = 0
        for path, body in asked.items():
            key = {"Idempotency-Key": f'"{path}"'}
            if path != "/v2.0/networks":  # no host holds these: the answer waits, until we kill it
                stored += 10_000 if "port_group" in body else 3
                async with httpx.AsyncClient(base_url=process.url, timeout=60.0) as client:
                    waiting = asyncio.create_task(
                        client.post(f"{path}?wait=in_force&timeout=50", json=body, headers=key)
                    )

                    async def committed(count: int = stored) -> bool:
                        async with ApiClient(process.url) as api:
                            details = await api.get("/v2.0/quotas/admin/details")
                        return bool(details["quota"]["port"]["used"] == count)

                    await eventually(committed, "the ports are committed")
                    assert not waiting.done()
                    await process.child.kill()
                    (lost,) = await asyncio.gather(waiting, return_exceptions=True)
                    assert isinstance(lost, httpx.TransportError)
                await process.start()
            async with httpx.AsyncClient(base_url=process.url, timeout=60.0) as client:
                first = await client.post(path, json=body, headers=key)
                assert first.status_code == 201, first.text
                answers[path] = first.text
        await process.child.kill()
        await process.start()
        async with httpx.AsyncClient(base_url=process.url, timeout=60.0) as client:
            for path, body in asked.items():
                key = {"Idempotency-Key": path}
                again = await client.post(path, json=body, headers=key)
                assert (again.status_code, again.text) == (201, answers[path])
                other = await client.post(path, json={"port": {}}, headers=key)
                assert other.status_code in (400, 422), other.text
        async with ApiClient(process.url) as api:
            ports = await all_ports(api, network_id)
            (made,) = (await api.get("/v2.0/port-groups"))["port_groups"]
            assert made["count"] == 10_000
            assert len(ports) == len({port["id"] for port in ports}) == stored == 10_003
            assert [it["name"] for it in (await api.get("/v2.0/networks"))["networks"]] == ["net", "n"]
        assert f'"id":"{made["id"]}"' in answers["/v2.0/port-groups"]
        for port in ports:
            assert port["name"] not in ("b0", "b1", "b2") or port["id"] in answers["/v2.0/ports"]


async def test_clients_that_repeat_until_answered_make_each_thing_once_whatever_is_killed(
    tmp_path: Path,
) -> None:
    async with region(tmp_path / "region") as process:
        async with ApiClient(process.url) as api:
            network_id, _ = await network(api)
        acknowledged: dict[str, set[str]] = {}
        is_over = False

        async def writer(number: int) -> int:
            batch = repeated = 0
            async with httpx.AsyncClient(base_url=process.url, timeout=20.0) as client:
                while not is_over:
                    name = f"w{number}-{batch}"
                    ports = [{"network_id": network_id, "name": name}] * (1 if number == 0 else BATCH)
                    answer = await until_answered({"ports": ports}, name, client)
                    repeated += answer[1]
                    acknowledged[name] = {port["id"] for port in answer[0]["ports"]}
                    batch += 1
            return repeated

        writers = [asyncio.create_task(writer(number)) for number in range(4)]
        for _ in range(4):
            goal = len(acknowledged) + 6

            async def further(goal: int = goal) -> bool:
                return len(acknowledged) >= goal

            await eventually(further, "batches are answered")
            await process.child.kill()
            await process.start()
        is_over = True
        assert sum(await asyncio.gather(*writers)) > 0, "no kill met a request"
        stored: dict[str, set[str]] = {}
        async with ApiClient(process.url) as api:
            for port in await all_ports(api, network_id):
                stored.setdefault(port["name"], set()).add(port["id"])
            details = (await api.get("/v2.0/quotas/admin/details"))["quota"]
        assert stored == acknowledged
        assert details["port"]["used"] == sum(map(len, stored.values()))


async def until_answered(body: Any, key: str, client: httpx.AsyncClient) -> tuple[Any, int]:
    """Send a request until it is answered; give the answer, and how often it was lost."""
    deadline = time.monotonic() + WAIT_S
    lost = 0
    while True:
        try:
            answer = await client.post("/v2.0/ports", json=body, headers={"Idempotency-Key": key})
            if answer.status_code == 201:
                return answer.json(), lost
            assert answer.status_code == 503, answer.text
        except httpx.TransportError:
            lost += 1
        assert time.monotonic() < deadline, f"{key} is not answered"
        await asyncio.sleep(0.02)
