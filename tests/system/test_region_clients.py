"""Many clients at once and broken ones, against a real region: nothing is given twice, nothing half done."""

import asyncio
import json
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from region_scene import all_ports, eventually, network, region

from alcor.adapters import stream
from alcor.client.api import ApiClient
from alcor.lab.children import alcor_command
from alcor.lab.region_process import RegionProcess, free_port
from alcor.model import errors

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLIENTS = 32
START_S = 30.0
ANSWER_S = 15.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RegionProcess]:
    async with region(tmp_path_factory.mktemp("clients") / "region") as process:
        yield process


async def test_nothing_is_given_twice_to_many_clients_at_once(running: RegionProcess) -> None:
    async with ApiClient(running.url) as admin:
        network_id, _ = await network(admin, cidr="10.9.0.0/20", name="shared")

        async def client(number: int) -> None:
            async with ApiClient(running.url, project=f"project-{number % 8}") as api:
                own_id, _ = await network(api, cidr="10.0.0.0/24", name=f"own-{number}")
                for _ in range(3):
                    await admin.post("/v2.0/ports", {"port": {"network_id": network_id}})
                    asks = [{"network_id": own_id}, {"network_id": own_id}]
                    made = (await api.post("/v2.0/ports", {"ports": asks}))["ports"]
                    await api.delete(f"/v2.0/ports/{made[0]['id']}")
                asks = [{"network_id": network_id} for _ in range(10)]
                made = (await admin.post("/v2.0/ports", {"ports": asks}))["ports"]
                for port in made[:5]:
                    await admin.delete(f"/v2.0/ports/{port['id']}")

        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
        networks = (await admin.get("/v2.0/networks"))["networks"]
        vnis = [each["provider:segmentation_id"] for each in networks]
        assert len(set(vnis)) == len(vnis) == CLIENTS + 1
        groups = (await admin.get("/v2.0/security-groups", name="default"))["security_groups"]
        owners = [group["project_id"] for group in groups if group["project_id"].startswith("project-")]
        assert sorted(owners) == [f"project-{number}" for number in range(8)]
        for each in networks:
            ports = await all_ports(admin, each["id"])
            assert len(ports) == (CLIENTS * 8 if each["id"] == network_id else 3)
            for values in (
                [fixed["ip_address"] for port in ports for fixed in port["fixed_ips"]],
                [port["mac_address"] for port in ports],
            ):
                assert len(set(values)) == len(values) == len(ports)


async def test_a_subnet_is_filled_exactly_and_freed_addresses_are_given_again(running: RegionProcess) -> None:
    async with ApiClient(running.url, project="small") as api:
        network_id, _ = await network(api, cidr="192.168.7.0/28", name="small")
        answers = await asyncio.gather(
            *(api.post("/v2.0/ports", {"port": {"network_id": network_id}}) for _ in range(CLIENTS)),
            return_exceptions=True,
        )
        made = [answer["port"] for answer in answers if isinstance(answer, dict)]
        refused = [answer for answer in answers if not isinstance(answer, dict)]
        assert len(made) == 13  # sixteen, without network, broadcast and gateway
        assert {(type(each), each.reason) for each in refused if isinstance(each, errors.AlcorError)} == {
            (errors.Conflict, "IpAddressGenerationFailure")
        }
        assert len(refused) == CLIENTS - 13
        addresses = {port["fixed_ips"][0]["ip_address"] for port in made}
        assert addresses == {f"192.168.7.{number}" for number in range(2, 15)}
        freed = made[5]
        await api.delete(f"/v2.0/ports/{freed['id']}")
        again = (await api.post("/v2.0/ports", {"port": {"network_id": network_id}}))["port"]
        assert again["fixed_ips"] == freed["fixed_ips"]
        with pytest.raises(errors.Conflict) as full:
            await api.post("/v2.0/ports", {"ports": [{"network_id": network_id}] * 2})
        assert full.value.reason == "IpAddressGenerationFailure"
        assert len(await all_ports(api, network_id)) == 13


async def exchange(running: RegionProcess, request: bytes, *, cut: bool = False) -> tuple[int, Any]:
    """Send raw bytes; give the status and the decoded body. `cut`: close in the middle instead of reading."""
    port = int(running.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        if cut:
            return 0, None
        async with asyncio.timeout(ANSWER_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = await reader.readexactly(int(fields.get("content-length", "0")))
        return int(head.split()[1]), json.loads(body)
    finally:
        writer.close()


def raw(body: bytes, *, path: str = "/v2.0/ports", length: int | None = None) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: alcor\r\nX-Project-Id: bad\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


BAD_BODIES = {
    "cut JSON": b'{"port": {"network_id": ',
    "no JSON": b"\xff\xfe\x00",
    "empty": b"",
    "a list": b"[]",
    "a number": b"7",
    "unknown field": b'{"port": {"network_id": "00000000-0000-0000-0000-000000000000", "colour": "red"}}',
    "wrong type": b'{"port": {"network_id": 7}}',
    "deep": b'{"port": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "no network": b'{"port": {}}',
    "ten megabytes": b'{"port": {"name": "' + b"x" * 10_000_000 + b'"}}',
    "too many": b'{"ports": [' + b",".join([b"{}"] * 10_001) + b"]}",
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_refused_in_form_and_the_next_request_works(
    running: RegionProcess, name: str
) -> None:
    status, answer = await exchange(running, raw(BAD_BODIES[name]))
    assert 400 <= status < 500, answer
    assert set(answer["NeutronError"]) == {"type", "message", "detail"}
    assert "Traceback" not in str(answer)
    assert len(str(answer)) < 2000
    async with ApiClient(running.url, project="bad") as api:
        assert (await api.get("/v2.0/ports"))["ports"] == []


async def test_a_connection_cut_or_stalled_in_the_middle_harms_nobody(running: RegionProcess) -> None:
    body = b'{"network": {"name": "half"}}'
    port = int(running.url.rpartition(":")[2])
    for _ in range(8):
        await exchange(running, raw(body[:10], path="/v2.0/networks", length=len(body)), cut=True)
    _, stalled = await asyncio.open_connection("127.0.0.1", port)
    stalled.write(raw(body[:10], path="/v2.0/networks", length=len(body)))
    await stalled.drain()
    async with ApiClient(running.url, project="bad", timeout_s=ANSWER_S) as api:

        async def nothing_half_done() -> bool:
            return (await api.get("/v2.0/networks"))["networks"] == []

        await eventually(nothing_half_done, "no network was made of half a body")
        made = (await api.post("/v2.0/networks", {"network": {"name": "whole"}}))["network"]
        await api.delete(f"/v2.0/networks/{made['id']}")
    stalled.close()


async def up(*arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        alcor_command("up", *arguments),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


async def test_a_second_region_on_the_same_directory_is_refused_in_one_line(running: RegionProcess) -> None:
    directory = str(running.directory)
    agents = f"tcp://127.0.0.1:{free_port()}"
    second = await up("--data-dir", directory, "--listen", f"127.0.0.1:{free_port()}", "--agents", agents)
    assert second.returncode not in (0, None)
    assert "in use by another region" in _complaint(second)
    async with ApiClient(running.url) as api:
        assert (await api.get("/v2.0/hosts"))["hosts"] == []
        await api.get("/v2.0/ports")


async def test_only_our_own_user_s_agents_dial_in_over_a_socket_file(running: RegionProcess) -> None:
    path = Path(running.agent_url.removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # what they say of their names is believed


async def test_an_address_beyond_loopback_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = await up("--data-dir", str(tmp_path / "other"), "--listen", "0.0.0.0:9696")
    assert refused.returncode not in (0, None)
    assert "loopback" in _complaint(refused)


@pytest.mark.parametrize("option", ["--agents", "--api-processes"])
async def test_beyond_loopback_nobody_dials_in_without_a_certificate(tmp_path: Path, option: str) -> None:
    where = ("--data-dir", str(tmp_path / "other"), "--listen", f"127.0.0.1:{free_port()}")
    refused = await up(*where, option, f"tcp://0.0.0.0:{free_port()}")
    assert refused.returncode not in (0, None)
    assert "need tcps://" in _complaint(refused)
    assert not (tmp_path / "other" / "postgres").exists(), "found out before anything starts"


async def test_plain_agents_beyond_loopback_are_taken_where_that_is_said(tmp_path: Path) -> None:
    url = f"tcp://0.0.0.0:{free_port()}"
    plain = RegionProcess(tmp_path / "plain", queue="none", options=("--agents", url, "--allow-plain-agents"))
    tmp_path.chmod(0o755)
    await plain.start()
    try:
        channel = await stream.connect(url.replace("0.0.0.0", "127.0.0.1"))
        channel.close()
    finally:
        await plain.stop()


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Give the one line on standard error that is no event, and no stack trace."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("{")]
    lines = [line for line in lines if line != "Stopping."]
    assert len(lines) == 1, done.stderr
    return lines[0]
