"""A region restarts: until every agent is synchronised, cold (agents have nothing) and warm (nothing changed).

    promise, for 3,000 agents and 200,000 ports              aim
    cold: agents start anew and hold nothing                 60 s
    warm: the region's process starts anew, agents do not    5 s

Tenants have one VPC each of 100 to 200 ports on ten hosts. Agents are real, with simulated data planes, in
processes of their own. They dial a socket file; with `--tls` over TLS, each with its own certificate, as those
of other machines must. The floor sends as many bytes in frames over as many raw streams, each frame answered.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from alcor.bench import streams_floor, used
from alcor.bench.hosts import AgentDoor
from alcor.bench.load import Connection
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.lab.children import Child, alcor_command
from alcor.lab.region_process import RegionProcess
from alcor.model import errors

VPC_HOSTS = 10
VPC_PORTS = (100, 200)
PORTS_PER_CALL = 10_000
MADE_PER_CALL = 500
POLL_S = 0.05
TIMEOUT_S = 600.0


class Plan(msgspec.Struct, frozen=True):
    """How much there is. `warm`: how often the region starts anew."""

    hosts: int
    ports: int
    warm: int


PLANS = {
    "quick": Plan(40, 2_000, 1),
    "standard": Plan(300, 20_000, 2),
    "full": Plan(3_000, 200_000, 2),
}


class Phase(msgspec.Struct, frozen=True):
    """One synchronisation of all agents. Seconds count from the start of what was started."""

    answering_s: float  # until the region's API answers; 0 when it was not restarted
    first_s: float  # until the first agent is done
    all_s: float  # until all are
    region_processor_s: float
    agents_processor_s: float
    region_memory_mib: float
    agents_memory_mib: float
    mib_sent: float  # by the region
    floor_s: float  # for as many bytes over as many raw streams
    floor_processor_s: float


class Resync(msgspec.Struct, frozen=True):
    """The file that `alcor bench resync --json` writes."""

    environment: Environment
    hosts: int
    ports: int
    networks: int
    cold: Phase
    warm: tuple[Phase, ...]
    tls: bool = False  # the agents' streams, and the floor's

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table(
            "restart", "all in s", "first in s", "API in s", "MiB", "region CPU s", "agents CPU s", "floor s"
        )
        for name, phase in (("cold", self.cold), *(("warm", each) for each in self.warm)):
            table.add_row(
                name,
                *(f"{value:.2f}" for value in (phase.all_s, phase.first_s, phase.answering_s)),
                f"{phase.mib_sent:.1f}",
                *(
                    f"{value:.2f}"
                    for value in (phase.region_processor_s, phase.agents_processor_s, phase.floor_s)
                ),
            )
        return [table]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        phases = {"cold": self.cold}
        phases |= {f"warm {number}": phase for number, phase in enumerate(self.warm, start=1)}
        times = {
            "all synchronised": [phase.all_s for phase in phases.values()],
            "raw streams": [phase.floor_s for phase in phases.values()],
        }
        worked = {
            "region": [phase.region_processor_s for phase in phases.values()],
            "agents": [phase.agents_processor_s for phase in phases.values()],
        }
        labels = tuple(phases)
        return [
            Panel(
                f"{self.hosts} agents{' over TLS' if self.tls else ''}, {self.ports} ports", "s", labels, times
            ),
            Panel("processor", "s", labels, worked),
        ]


async def run(size: str, say: Say, *, tls: bool) -> Resync:
    """Measure everything; `say` hears of progress."""
    plan, where = PLANS[size], environment()
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    bench = _Bench(plan, directory, say, tls=tls)
    try:
        networks = await bench.fill()
        cold = await bench.cold()
        warm = [await bench.warm() for _ in range(plan.warm)]
        return Resync(where, plan.hosts, plan.ports, networks, cold, tuple(warm), tls)
    finally:
        await bench.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


class _Bench:
    """Owner of the region and of the agents' process."""

    def __init__(self, plan: Plan, directory: Path, say: Say, *, tls: bool) -> None:
        self._plan = plan
        self._say = say
        self._tls = tls
        door = AgentDoor(tls=tls)
        self._region = RegionProcess(directory, queue="none", options=door.region_options)
        self._dialling = door.fleet_options(self._region, plan.hosts)
        self._agents = self._new_agents()

    async def fill(self) -> int:
        """Introduce the hosts, and make all ports while no agent is there. Gives the number of networks."""
        await self._region.start()
        await self._agents.start()
        await self._until_done(self._plan.hosts)
        await self._agents.stop()
        started = time.perf_counter()
        networks = await asyncio.to_thread(self._make)
        self._say(
            f"{self._plan.hosts} hosts, {self._plan.ports} ports in {networks} networks made in "
            f"{time.perf_counter() - started:.1f} s"
        )
        return networks

    async def cold(self) -> Phase:
        """Start agents that hold nothing."""
        self._agents = self._new_agents()
        before = _Used.of([self._region.child.pid])
        started = time.perf_counter()
        await self._agents.start()
        return await self._measured("cold", started, 0.0, before, _Used())

    async def warm(self) -> Phase:
        """Start the region anew; agents keep everything."""
        await self._region.stop()
        before = _Used.of(used.family(self._agents.pid))
        started = time.perf_counter()
        await self._region.start()
        return await self._measured("warm", started, time.perf_counter() - started, _Used(), before)

    async def stop(self) -> None:
        await self._agents.stop()
        await self._region.stop()

    async def _measured(
        self, name: str, started: float, answering_s: float, region: "_Used", agents: "_Used"
    ) -> Phase:
        await self._until_done(1)
        first_s = time.perf_counter() - started
        await self._until_done(self._plan.hosts)
        all_s = time.perf_counter() - started
        region_after, agents_after = _Used.of([self._region.child.pid]), _Used.of(used.family(self._agents.pid))
        sent = region_after.written_bytes - region.written_bytes
        floor_s, floor_processor_s = await streams_floor.measure(
            self._region.directory,
            streams=self._plan.hosts,
            bytes_each=sent // self._plan.hosts,
            over_tls=self._tls,
        )
        phase = Phase(
            answering_s=round(answering_s, 2),
            first_s=round(first_s, 2),
            all_s=round(all_s, 2),
            region_processor_s=round(region_after.processor_s - region.processor_s, 2),
            agents_processor_s=round(agents_after.processor_s - agents.processor_s, 2),
            region_memory_mib=round(used.memory_mib(self._region.child.pid)),
            agents_memory_mib=round(sum(map(used.memory_mib, used.family(self._agents.pid)))),
            mib_sent=round(sent / 2**20, 1),
            floor_s=round(floor_s, 2),
            floor_processor_s=round(floor_processor_s, 2),
        )
        self._say(
            f"{name}: all synchronised in {phase.all_s:.1f} s (API after {phase.answering_s:.1f} s); "
            f"{phase.mib_sent:.0f} MiB, region {phase.region_processor_s:.1f} s of CPU, agents "
            f"{phase.agents_processor_s:.1f} s; floor {phase.floor_s:.2f} s"
        )
        return phase

    async def _until_done(self, hosts: int) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        api = Connection(self._region.url)
        try:
            while (done := api.call("GET", "/v2.0/resync")[0]["resync"]["done"]) < hosts:
                self._agents_alive()
                if time.monotonic() > deadline:
                    raise errors.Unavailable(f"{done} of {hosts} hosts are synchronised", retry_after_s=1)
                await asyncio.sleep(POLL_S)
        finally:
            api.close()

    def _agents_alive(self) -> None:
        self._agents.require_alive()
        self._region.child.require_alive()

    def _new_agents(self) -> Child:
        arguments = ("--hosts", str(self._plan.hosts), *self._dialling)
        return Child("the agents", alcor_command("fleet", *arguments), self._region.directory / "fleet.log")

    def _make(self) -> int:
        api = Connection(self._region.url)
        sizes = list(vpc_sizes(self._plan.ports))
        ids: list[str] = []
        for start in range(0, len(sizes), MADE_PER_CALL):
            numbers = range(start, min(start + MADE_PER_CALL, len(sizes)))
            wanted = [{"name": f"vpc-{number}", "project_id": f"tenant-{number}"} for number in numbers]
            made = api.call("POST", "/v2.0/networks", {"networks": wanted})[0]["networks"]
            subnets = [
                {
                    "network_id": network["id"],
                    "project_id": network["project_id"],
                    "ip_version": 4,
                    "cidr": "10.0.0.0/16",
                }
                for network in made
            ]
            api.call("POST", "/v2.0/subnets", {"subnets": subnets})
            ids += [network["id"] for network in made]
        ports = [port for number, size in enumerate(sizes) for port in self._ports(number, ids[number], size)]
        for start in range(0, len(ports), PORTS_PER_CALL):
            api.call("POST", "/v2.0/ports", {"ports": ports[start : start + PORTS_PER_CALL]})
        api.close()
        return len(ids)

    def _ports(self, number: int, network: str, size: int) -> list[dict[str, Any]]:
        first = number * VPC_HOSTS
        return [
            {
                "network_id": network,
                "project_id": f"tenant-{number}",
                "binding:host_id": f"host-{(first + index % VPC_HOSTS) % self._plan.hosts}",
            }
            for index in range(size)
        ]


def vpc_sizes(ports: int) -> Iterator[int]:
    """Give sizes between the bounds, about equally often, that add up to the number of ports."""
    low, high = VPC_PORTS
    number = 0
    while ports > 0:
        size = min(ports, low + number * 37 % (high - low + 1))
        ports -= size
        number += 1
        yield size


class _Used(msgspec.Struct, frozen=True):
    """What some processes had used at a moment."""

    processor_s: float = 0.0
    written_bytes: int = 0

    @classmethod
    def of(cls, pids: Sequence[int]) -> "_Used":
        return cls(sum(map(used.processor_s, pids)), sum(map(used.written_bytes, pids)))
