"""The API as a process of its own: the same answers, with the controller there, away, and back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from region_scene import WAIT_S, emulated, eventually, network

from alcor.adapters import stream
from alcor.adapters.certificates import Authority
from alcor.client.api import ApiClient
from alcor.lab.children import Child, alcor_command
from alcor.lab.region_process import RegionProcess, free_port
from alcor.model import errors
from alcor.runtime import tls


@asynccontextmanager
async def api_process(
    directory: Path, database: str | None, controller: str, *options: str
) -> AsyncIterator[str]:
    """Run one API process; give its address. `database` None: the region's own, in the same directory."""
    port = free_port()
    command = alcor_command("api", "--controller", controller, "--data-dir", str(directory))
    command += ["--listen", f"127.0.0.1:{port}", *options]
    command += ["--database", database] if database is not None else []
    child = Child("an API process", command, directory / f"api-{port}.log")
    await child.start()
    try:
        async with ApiClient(f"http://127.0.0.1:{port}") as api:

            async def answers() -> bool:
                child.require_alive()
                return bool((await api.get("/"))["versions"])

            await eventually(answers, "the API process answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        await child.stop()


def region_with(directory: Path, database: str, url: str) -> RegionProcess:
    return RegionProcess(directory, database=database, queue="none", options=("--api-processes", url))


async def bound_port(api: ApiClient, network_id: str, **params: Any) -> Any:
    body = {"port": {"network_id": network_id, "binding:host_id": "host-0"}}
    return (await api.post("/v2.0/ports", body, **params))["port"]


async def test_it_answers_as_the_region_does_and_a_port_is_in_force_in_milliseconds(
    tmp_path: Path, postgres_dsn: str
) -> None:
    socket = f"unix://{tmp_path / 'api.sock'}"
    region = region_with(tmp_path / "region", postgres_dsn, socket)
    await region.start()
    try:
        async with (
            emulated(region, 2),
            api_process(tmp_path, postgres_dsn, socket) as url,
            ApiClient(url) as api,
            ApiClient(region.url) as own,
        ):
            for path in ("/v2.0/hosts", "/v2.0/availability_zones", "/v2.0/resync", "/v2.0/resync/networks"):
                assert _timeless(await api.get(path)) == _timeless(await own.get(path)), path
            (agent, _) = (await api.get("/v2.0/agents"))["agents"]
            assert (await api.get(f"/v2.0/agents/{agent['id']}"))["agent"]["alive"]

            network_id, _ = await network(api)
            took_s = []
            for _ in range(20):
                started = time.monotonic()
                made = await bound_port(api, network_id, wait="in_force", timeout=WAIT_S)
                took_s.append(time.monotonic() - started)
                assert made["alcor:in_force"]
                assert made["binding:vif_type"] == "ovs"
            # The log is looked at every half second; who is told does not wait for it.
            assert sorted(took_s)[len(took_s) // 2] < 0.25

            revision = (await api.call("PUT", f"/v2.0/ports/{made['id']}", body={"port": {"name": "it"}}))[1][
                "x-alcor-revision"
            ]
            change = (await api.get(f"/v2.0/changes/{revision}", wait="in_force", timeout=WAIT_S))["change"]
            assert change["in_force"]
            group = {"network_id": network_id, "count": 4}
            made_group = await api.post(
                "/v2.0/port-groups", {"port_group": group}, wait="in_force", timeout=WAIT_S
            )
            assert made_group["port_group"]["in_force"] == 4
            trace = {"port_id": made["id"], "to_ip": "10.0.0.1"}
            assert (await api.post("/v2.0/trace", {"trace": trace}))["trace"] == (
                await own.post("/v2.0/trace", {"trace": trace})
            )["trace"]
            with pytest.raises(errors.Missing) as refused:
                await api.get("/v2.0/hosts/nobody")
            assert refused.value.reason == "HostNotFound"
    finally:
        await region.stop()


async def test_without_a_controller_what_is_stored_is_read_and_nothing_is_in_force(
    tmp_path: Path, postgres_dsn: str
) -> None:
    socket = f"unix://{tmp_path / 'api.sock'}"
    region = region_with(tmp_path / "region", postgres_dsn, socket)
    await region.start()
    async with (
        emulated(region, 1),
        api_process(tmp_path, postgres_dsn, socket) as url,
        ApiClient(url, timeout_s=WAIT_S) as api,
    ):
        network_id, _ = await network(api)
        port = await bound_port(api, network_id, wait="in_force", timeout=WAIT_S)
        await region.child.kill()

        shown = (await api.get(f"/v2.0/ports/{port['id']}"))["port"]
        assert (shown["alcor:in_force"], shown["status"]) == (False, "DOWN")
        assert shown["fixed_ips"] == port["fixed_ips"]
        made, headers = await api.call(
            "POST",
            "/v2.0/ports",
            body={"port": {"network_id": network_id, "binding:host_id": "host-0"}},
            params={"wait": "in_force", "timeout": 0.5},
        )
        assert headers["x-alcor-wait"] == "timeout"
        assert not made["port"]["alcor:in_force"]
        group = {"network_id": network_id, "hosts": ["host-0"]}
        assert (await api.post("/v2.0/port-groups", {"port_group": group}))["port_group"]["in_force"] == 0
        with pytest.raises(errors.Unavailable, match="controller"):
            await api.post("/v2.0/port-groups", {"port_group": {"network_id": network_id, "count": 1}})
        for path in ("/v2.0/hosts", "/v2.0/resync", f"/v2.0/changes/{headers['x-alcor-revision']}"):
            with pytest.raises(errors.Unavailable, match="controller"):
                await api.get(path)

        # It waits for the controller's return, and is told what came meanwhile.
        waiting = asyncio.create_task(
            api.get(f"/v2.0/ports/{made['port']['id']}", wait="in_force", timeout=WAIT_S)
        )
        await region.start()
        assert (await waiting)["port"]["alcor:in_force"]
        assert (await api.get("/v2.0/hosts"))["hosts"][0]["alive"]
    await region.stop()


async def test_over_tls_a_certificate_opens_what_its_role_needs(tmp_path: Path) -> None:
    wanted, agents = (f"tcps://127.0.0.1:{free_port()}" for _ in range(2))
    options = ("--api-processes", wanted, "--agents", agents)
    region = RegionProcess(tmp_path / "region", queue="none", options=options)
    await region.start()
    try:
        authority = Authority.open(region.authority)
        authority.issue_api(tmp_path / "api")
        authority.issue_host("host-0", tmp_path / "host")
        # Neither is let in where the other is, whatever it would say.
        for url, directory, role in ((agents, "api", tls.API), (wanted, "host", tls.AGENT)):
            channel = await stream.connect(url, ssl=tls.client_context(tmp_path / directory, role))
            assert await channel.receive() is None
        options = ("--certificates", str(tmp_path / "api"))
        async with api_process(region.directory, None, wanted, *options) as url, ApiClient(url) as api:

            async def knows_hosts() -> bool:
                return "hosts" in await api.get("/v2.0/hosts")

            await eventually(knows_hosts, "the controller answers")
    finally:
        await region.stop()


def _timeless(answer: Any) -> Any:
    """Leave out what moves from one look to the next."""
    if isinstance(answer, dict):
        return {
            name: _timeless(it) for name, it in answer.items() if name not in ("last_heard_at", "path_reason")
        }
    return [_timeless(it) for it in answer] if isinstance(answer, list) else answer
