"""A real region in a child process, emulated hosts, and what must hold of its ports after a crash."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alcor.client.api import ApiClient
from alcor.host_agent.settings import AgentTiming
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import errors
from alcor.processes.fleet import EmulatedHosts
from alcor.runtime.event_log import SILENT

QUICK = AgentTiming(reconnect_min_s=0.05, reconnect_max_s=0.5)
WAIT_S = 30.0
PAGE = 1000
Truth = Callable[[], Awaitable[bool]]


@asynccontextmanager
async def region(directory: Path) -> AsyncIterator[RegionProcess]:
    """Run a region on embedded PostgreSQL."""
    process = RegionProcess(directory)
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


@asynccontextmanager
async def emulated(process: RegionProcess, count: int, *, first: int = 0) -> AsyncIterator[EmulatedHosts]:
    """Run agents in this process."""
    hosts = EmulatedHosts(count, (process.agent_url,), SILENT, first=first, timing=QUICK)
    hosts.start()
    try:
        async with ApiClient(process.url) as api:
            await hosts_alive(api, count, timeout_s=WAIT_S)
        yield hosts
    finally:
        await hosts.stop()


async def network(api: ApiClient, *, cidr: str = "10.0.0.0/16", name: str = "net") -> tuple[str, str]:
    """Make a network with one subnet; give both ids."""
    made = (await api.post("/v2.0/networks", {"network": {"name": name}}))["network"]
    subnet = {"network_id": made["id"], "ip_version": 4, "cidr": cidr}
    return made["id"], (await api.post("/v2.0/subnets", {"subnet": subnet}))["subnet"]["id"]


async def all_ports(api: ApiClient, network_id: str) -> list[dict[str, Any]]:
    """Read every port of a network, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        marker = {"marker": found[-1]["id"]} if found else {}
        page = await api.get("/v2.0/ports", network_id=network_id, limit=PAGE, **marker)
        found += page["ports"]
        if len(page["ports"]) < PAGE:
            return found


async def eventually(truth: Truth, what: str, *, timeout_s: float = WAIT_S) -> None:
    """Ask until it is so; a region that is away for a moment does not count against it."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if await truth():
                return
        except errors.Unavailable:
            pass
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.05)


async def all_in_force(api: ApiClient, ports: int) -> None:
    """Wait until the hosts report so many ports, all in force."""

    async def truth() -> bool:
        hosts = (await api.get("/v2.0/hosts"))["hosts"]
        return sum(host["ports"] for host in hosts) == ports == sum(host["ports_in_force"] for host in hosts)

    await eventually(truth, f"{ports} ports are in force")


class Writers:
    """Posts batches of ports until told to stop, and remembers what was acknowledged and what was not."""

    def __init__(self, url: str, network_id: str, hosts: list[str], *, size: int) -> None:
        self.acknowledged: dict[str, set[str]] = {}  # batch -> ids of its ports
        self.unknown: set[str] = set()  # batches without an answer, or with an error
        self._url = url
        self._network_id = network_id
        self._hosts = hosts
        self._size = size
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, count: int) -> None:
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(count)]

    async def stop(self) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def until(self, acknowledged: int) -> None:
        """Wait until so many more batches were acknowledged."""
        goal = len(self.acknowledged) + acknowledged

        async def truth() -> bool:
            return len(self.acknowledged) >= goal

        await eventually(truth, f"{acknowledged} more batches")

    async def _write(self, writer: int) -> None:
        batch = 0
        async with ApiClient(self._url, timeout_s=20.0) as api:
            while not self._stopped:
                name = f"batch-{writer}-{batch}"
                batch += 1
                ports = [
                    {
                        "network_id": self._network_id,
                        "name": name,
                        "binding:host_id": self._hosts[number % len(self._hosts)],
                    }
                    for number in range(self._size)
                ]
                try:
                    made = (await api.post("/v2.0/ports", {"ports": ports}))["ports"]
                    self.acknowledged[name] = {port["id"] for port in made}
                except (errors.Unavailable, errors.Broken):
                    self.unknown.add(name)
                    await asyncio.sleep(0.05)

    async def check(self, api: ApiClient) -> int:
        """Hold what is stored against what was said; give how many ports there are."""
        ports = await all_ports(api, self._network_id)
        stored: dict[str, set[str]] = {}
        for port in ports:
            stored.setdefault(port["name"], set()).add(port["id"])
        assert len({port["id"] for port in ports}) == len(ports)
        for name, ids in self.acknowledged.items():
            assert stored.get(name) == ids, f"{name}: {len(stored.get(name, ()))} of {len(ids)} ports"
        for name in stored.keys() - self.acknowledged.keys():
            assert name in self.unknown
            assert len(stored[name]) == self._size, f"{name} is there by half"
        addresses = [fixed["ip_address"] for port in ports for fixed in port["fixed_ips"]]
        macs = [port["mac_address"] for port in ports]
        assert len(set(addresses)) == len(addresses) == len(ports)
        assert len(set(macs)) == len(macs)
        return len(ports)
