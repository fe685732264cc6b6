"""One network of 40,000 ports onto 10,000 emulated hosts, through the API, until all are in force.

    promise                                                   aim
    40,000 ports of one network on 10,000 hosts, two cores    20 s
    memory of all processes, each counted whole               4 GB

Hosts ask for their neighbours (docs/decisions/0007-on-demand.md): a workload on a host that joins afterwards
pings one on another, which neither was told of. The floors: a raw COPY of the same rows, and as many bytes as
the region sent in frames over as many raw streams.
"""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from alcor.bench import asking_network, streams_floor, used
from alcor.bench.asking_network import AskingNetwork
from alcor.bench.floors import CopyFloor
from alcor.bench.hosts import EmulatedFleet
from alcor.bench.load import Connection
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.bench.used import Meter, Usage
from alcor.client.api import ApiClient
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import errors
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts, emulated_name
from alcor.runtime.event_log import SILENT

PORTS_PER_CALL = 10_000
IN_FORCE_TIMEOUT_S = 300
START_S = 300.0


class Plan(msgspec.Struct, frozen=True):
    """How much there is."""

    hosts: int
    ports: int


PLANS = {"quick": Plan(300, 3_000), "standard": Plan(2_000, 10_000), "full": Plan(10_000, 40_000)}


class BigNetwork(msgspec.Struct, frozen=True):
    """The file that `alcor bench big-network --json` writes. Seconds count from the first call."""

    environment: Environment
    hosts: int
    ports: int
    default_group: bool  # all ports are members of a group whose rule names it
    answered_s: float
    in_force_s: float
    used: tuple[Usage, ...]  # from the first call until in force
    memory_mib: float  # of all processes, the bench's own not counted
    first_ping_ms: float  # between two hosts that joined afterwards, both asking
    copy_floor_s: float
    streams_floor_s: float
    in_force_to_floors: float  # to both floors, one after the other

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table(
            "ports", "hosts", "answered s", "in force s", "x floors", "MiB in all", "CPU s", "first ping ms"
        )
        table.add_row(
            str(self.ports),
            str(self.hosts),
            f"{self.answered_s:.1f}",
            f"{self.in_force_s:.1f}",
            f"{self.in_force_to_floors:.1f}",
            f"{self.memory_mib:.0f}",
            " + ".join(f"{part.processor_s:.1f} ({part.name})" for part in self.used),
            f"{self.first_ping_ms:.1f}",
        )
        return [table]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        times = {
            "": [self.answered_s, self.in_force_s, self.copy_floor_s, self.streams_floor_s],
        }
        labels = tuple(part.name for part in self.used)
        worked = {
            "processor s": [part.processor_s for part in self.used],
            "GiB": [part.memory_mib / 1024 for part in self.used],
        }
        steps = ("answered", "in force", "raw COPY", "raw streams")
        return [
            Panel(f"{self.ports} ports, {self.hosts} hosts", "s", steps, times, aim=20),
            Panel("used", "", labels, worked),
        ]


async def run(size: str, say: Say, *, default_group: bool) -> BigNetwork:
    """Measure; `say` hears of progress."""
    where, plan = environment(), PLANS[size]
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    region, fleet = RegionProcess(directory, queue="none"), EmulatedFleet(plan.hosts)
    try:
        await region.start()
        await fleet.start(region)
        async with ApiClient(region.url) as api:
            await hosts_alive(api, plan.hosts, timeout_s=START_S)
        say(f"{plan.hosts} agents connected")
        bench = _Bench(region, fleet, plan, default_group=default_group)
        found = await bench.measure(where)
        say(
            f"{plan.ports} ports: answered {found.answered_s:.1f} s, in force {found.in_force_s:.1f} s "
            f"({found.in_force_to_floors:.1f}x its floors), {found.memory_mib:.0f} MiB in all"
        )
        return found
    finally:
        await fleet.stop()
        await region.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


class _Bench:
    """One region with its fleet. Owner of the network."""

    def __init__(self, region: RegionProcess, fleet: EmulatedFleet, plan: Plan, *, default_group: bool) -> None:
        self._region = region
        self._fleet = fleet
        self._plan = plan
        self._default_group = default_group
        self._api = Connection(region.url)
        self._network = AskingNetwork(self._api)

    async def measure(self, where: Environment) -> BigNetwork:
        floor = await CopyFloor.open(self._region.directory)
        try:
            return await self._measure(where, floor)
        finally:
            await floor.close()

    async def _measure(self, where: Environment, floor: CopyFloor) -> BigNetwork:
        meter = Meter({"region": [self._region.child.pid], "agents": self._fleet.pids})
        sent = used.written_bytes(self._region.child.pid)
        started = time.perf_counter()
        calls = await asyncio.to_thread(self._create)
        answered_s = time.perf_counter() - started
        await asyncio.to_thread(self._until_in_force, [revision for _, revision in calls])
        in_force_s = time.perf_counter() - started
        spent = meter.read()
        sent = used.written_bytes(self._region.child.pid) - sent
        ping_ms = await self._ping()
        copies_s = sum([await floor.measure(ids, revision) for ids, revision in calls]) / 1000
        streams_s, _ = await streams_floor.measure(
            self._region.directory, streams=self._plan.hosts, bytes_each=max(1, sent // self._plan.hosts)
        )
        return BigNetwork(
            environment=where,
            hosts=self._plan.hosts,
            ports=self._plan.ports,
            default_group=self._default_group,
            answered_s=round(answered_s, 2),
            in_force_s=round(in_force_s, 2),
            used=spent,
            memory_mib=round(sum(part.memory_mib for part in spent), 1),
            first_ping_ms=round(ping_ms, 2),
            copy_floor_s=round(copies_s, 2),
            streams_floor_s=round(streams_s, 2),
            in_force_to_floors=round(in_force_s / (copies_s + streams_s), 2),
        )

    def _create(self) -> list[tuple[list[str], int]]:
        """Create all ports, spread over the hosts in turn; give the ids and the revision of each call."""
        calls = []
        for first in range(0, self._plan.ports, PORTS_PER_CALL):
            last = min(first + PORTS_PER_CALL, self._plan.ports)
            bodies = [self._port(number) for number in range(first, last)]
            answer, _, revision = self._api.call("POST", "/v2.0/ports", {"ports": bodies})
            calls.append(([port["id"] for port in answer["ports"]], revision))
        return calls

    def _port(self, number: int) -> dict[str, Any]:
        names = self._fleet.names
        body: dict[str, Any] = {
            "network_id": self._network.id,
            "binding:host_id": names[number % len(names)],
        }
        return body if self._default_group else {**body, "security_groups": [self._network.open_group]}

    def _until_in_force(self, revisions: list[int]) -> None:
        for revision in revisions:
            path = f"/v2.0/changes/{revision}?wait=in_force&timeout={IN_FORCE_TIMEOUT_S}"
            if not self._api.call("GET", path)[0]["change"]["in_force"]:
                raise errors.Broken(f"revision {revision} is not in force after {IN_FORCE_TIMEOUT_S} s")

    async def _ping(self) -> float:
        """Let two more hosts join, and a workload on one ping one on the other; give the milliseconds."""
        hosts = EmulatedHosts(2, (self._region.agent_url,), SILENT, first=self._plan.hosts)
        hosts.start()
        try:
            async with ApiClient(self._region.url) as api:
                await hosts_alive(api, self._plan.hosts + 2)
            names = [emulated_name(self._plan.hosts + number) for number in range(2)]
            made = await asyncio.to_thread(self._network.add, names)
            for port in made:
                hosts.data_planes[HostId(port.host)].plug(PortId(port.id))
            return await asking_network.first_ping(hosts.fabric, *made)
        finally:
            await hosts.stop()
