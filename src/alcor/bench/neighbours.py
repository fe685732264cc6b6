"""Ten thousand neighbours into one agent, over a real stream: how long, and how much memory.

    promise                                          aim
    10,000 neighbours in force at an agent           0.2 s from the commit
    agent memory                                     1 KiB per remote neighbour, flows included

The network is told whole (the bound for on-demand networks is raised). Agents are real, with simulated data
planes, in a process of their own; each gets its first port in the network, and so all neighbours, in its
turn. A simulated host makes flows for its first packet only: what they cost comes on top, and is told apart;
its switch's own tables are counted there. The floor is as many bytes in frames over a raw stream. Then the same
into a real Open vSwitch host (`switch_neighbours`), if there can be one.
"""

import asyncio
import gc
import multiprocessing
import shutil
import statistics
import tempfile
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import msgspec
import uvloop
from rich.table import Table

from alcor.bench import asking_network, streams_floor, switch_neighbours, used
from alcor.bench.asking_network import AskingNetwork
from alcor.bench.load import Connection
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.bench.switch_neighbours import SwitchNeighbours
from alcor.client.api import ApiClient
from alcor.lab import laboratory
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.processes.fleet import EmulatedHosts, emulated_name
from alcor.runtime.event_log import SILENT

AGENTS = {"quick": 3, "full": 10}
NEIGHBOURS = {"quick": 2_000, "full": 10_000}
SWITCH_ROUNDS = {"quick": 2, "full": 5}
FILLED_AT_ONCE = 10_000
TIMEOUT_S = 60
KIB = 1024


class Neighbours(msgspec.Struct, frozen=True):
    """The file that `alcor bench neighbours --json` writes. Memory is resident, per agent and neighbour."""

    environment: Environment
    neighbours: int
    agents: int
    in_force: Milliseconds  # commit of the agent's first port to its acknowledgement
    bytes_sent: int  # by the region, for one agent
    floor_ms: float  # as many bytes over a raw stream
    in_force_to_floor: float
    agent_processor_ms: float
    region_processor_ms: float
    bytes_per_neighbour: float
    flows_ms: float  # to make one host's flows, for its first packet
    bytes_per_neighbour_with_flows: float
    on_switch: SwitchNeighbours | None = None  # None: no Open vSwitch here, or not root

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table(
            "neighbours", "in force ms", "highest", "x raw stream", "bytes each", "flows ms", "with flows"
        )
        table.add_row(
            str(self.neighbours),
            f"{self.in_force.p50:.1f}",
            f"{self.in_force.highest:.1f}",
            f"{self.in_force_to_floor:.1f}",
            f"{self.bytes_per_neighbour:.0f}",
            f"{self.flows_ms:.0f}",
            f"{self.bytes_per_neighbour_with_flows:.0f}",
        )
        if (found := self.on_switch) is not None:
            switch = Table("Open vSwitch: in force ms", "highest", "x raw bundle", "agent CPU ms", "bytes each")
            switch.add_row(
                f"{found.in_force.p50:.1f}",
                f"{found.in_force.highest:.1f}",
                f"{found.in_force_to_floor:.1f}",
                f"{found.agent_processor_ms:.0f}",
                f"{found.bytes_per_neighbour:.0f}",
            )
        return [table, switch]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        times = {
            "p50": self.in_force.p50,
            "highest": self.in_force.highest,
            "raw stream": self.floor_ms,
            "flows": self.flows_ms,
        }
        memory = {"as told": self.bytes_per_neighbour, "with flows": self.bytes_per_neighbour_with_flows}
        if (switch := self.on_switch) is not None:
            times |= {"Open vSwitch": switch.in_force.p50, "raw bundle": switch.floor_ms}
            memory |= {"Open vSwitch": switch.bytes_per_neighbour}
        title = f"{self.neighbours} neighbours into one agent"
        return [
            Panel(title, "ms", tuple(times), {"": [*times.values()]}, aim=200),
            Panel("agent memory", "bytes a neighbour", tuple(memory), {"": [*memory.values()]}, aim=1024),
        ]


async def run(size: str, say: Say) -> Neighbours:
    """Measure; `say` hears of progress."""
    emulated = await _emulated(size, say)
    if missing := laboratory.missing():
        say(f"on a real Open vSwitch host: not measured ({', '.join(missing)})")
        return emulated
    found = await switch_neighbours.measure(NEIGHBOURS[size], SWITCH_ROUNDS[size])
    say(
        f"in force on a real Open vSwitch host p50 {found.in_force.p50:.0f} ms ({found.in_force_to_floor:.1f}x "
        f"a raw bundle of {found.floor_ms:.0f} ms), {found.bytes_per_neighbour:.0f} bytes a neighbour"
    )
    return msgspec.structs.replace(emulated, on_switch=found)


async def _emulated(size: str, say: Say) -> Neighbours:
    where, neighbours, agents = environment(), NEIGHBOURS[size], AGENTS[size]
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    region = RegionProcess(directory, queue="none", on_demand_above=2 * neighbours + agents)
    child = _AgentsProcess(agents + 1, region.agent_url)
    try:
        await region.start()
        child.start()
        async with ApiClient(region.url) as api:
            await hosts_alive(api, agents + 1)
        await asking_network.introduce_far_hosts(region.agent_url)
        bench = _Bench(region, child, neighbours, agents)
        await asyncio.to_thread(bench.fill)
        say(f"a network of {neighbours} ports, told whole")
        found = await asyncio.to_thread(bench.measure)
        sent = found.bytes_sent
        floors = [(await streams_floor.measure(directory, streams=1, bytes_each=sent))[0] for _ in range(5)]
        floor_ms = round(statistics.median(floors) * 1000, 2)
        ratio = round(found.in_force.p50 / floor_ms, 1)
        say(
            f"in force p50 {found.in_force.p50:.1f} ms ({ratio:.1f}x a raw stream), "
            f"{found.bytes_per_neighbour:.0f} bytes a neighbour, {found.bytes_per_neighbour_with_flows:.0f} "
            "with flows"
        )
        return msgspec.structs.replace(found, environment=where, floor_ms=floor_ms, in_force_to_floor=ratio)
    finally:
        await asyncio.to_thread(child.stop)
        await region.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


class _Bench:
    """One network, and agents that get their first port in it, one after the other."""

    def __init__(self, region: RegionProcess, child: "_AgentsProcess", neighbours: int, agents: int) -> None:
        self._region = region
        self._child = child
        self._neighbours = neighbours
        self._agents = agents
        self._api = Connection(region.url)
        self._network = AskingNetwork(self._api)

    def fill(self) -> None:
        """Make the neighbours."""
        for first in range(0, self._neighbours, FILLED_AT_ONCE):
            count = min(FILLED_AT_ONCE, self._neighbours - first)
            self._network.fill(count, hosts=asking_network.FAR_HOSTS)

    def measure(self) -> Neighbours:
        self._one(self._agents)  # code and the shared part's bytes are met once
        pid, agent_pid = self._region.child.pid, self._child.pid
        before = self._child.memory_bytes()
        sent = used.written_bytes(pid)
        worked = [used.processor_s(pid), used.processor_s(agent_pid)]
        times = [self._one(number) for number in range(self._agents)]
        worked = [used.processor_s(pid) - worked[0], used.processor_s(agent_pid) - worked[1]]
        sent = (used.written_bytes(pid) - sent) // self._agents
        held = self._child.memory_bytes()
        flows_ms = [self._child.make_flows(number) for number in range(self._agents)]
        rendered = self._child.memory_bytes()
        entries = self._agents * self._neighbours
        return Neighbours(
            environment=environment(),
            neighbours=self._neighbours,
            agents=self._agents,
            in_force=milliseconds(times),
            bytes_sent=sent,
            floor_ms=0.0,
            in_force_to_floor=0.0,
            agent_processor_ms=round(worked[1] * 1000 / self._agents, 1),
            region_processor_ms=round(worked[0] * 1000 / self._agents, 1),
            bytes_per_neighbour=round((held - before) / entries, 1),
            flows_ms=round(statistics.median(flows_ms), 1),
            bytes_per_neighbour_with_flows=round((rendered - before) / entries, 1),
        )

    def _one(self, number: int) -> float:
        """Give an agent its first port; give ms from the commit until all neighbours are acknowledged."""
        host = emulated_name(number)
        took_ms = self._network.first_port(host)
        if (held := self._child.neighbours(number)) < self._neighbours:
            raise errors.Broken(f"{host} holds {held} neighbours, not {self._neighbours}")
        return took_ms


class _AgentsProcess:
    """Agents in a process of their own, and questions to it. Owner of the process."""

    def __init__(self, agents: int, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, agents, url), daemon=True)

    def start(self) -> None:
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None, "started"
        return self._process.pid

    def memory_bytes(self) -> int:
        """Collect garbage, and give the resident memory."""
        return int(self._ask("memory", 0))

    def neighbours(self, number: int) -> int:
        """Count the neighbours that an agent holds."""
        return int(self._ask("neighbours", number))

    def make_flows(self, number: int) -> float:
        """Make one host's flows; give the milliseconds."""
        return self._ask("flows", number)

    def stop(self) -> None:
        if self._process.pid is not None:
            self._process.terminate()
            self._process.join(10)
            self._process.kill()

    def _ask(self, what: str, number: int) -> float:
        self._pipe.send((what, number))
        if not self._pipe.poll(TIMEOUT_S):
            raise errors.Broken(f"the agents' process does not answer '{what}'")
        answer: float = self._pipe.recv()
        return answer


def _serve(pipe: Pipe, agents: int, url: str) -> None:
    uvloop.run(_serve_for_ever(pipe, agents, url))


async def _serve_for_ever(pipe: Pipe, agents: int, url: str) -> None:
    hosts = EmulatedHosts(agents, (url,), SILENT)
    hosts.start()
    while True:
        what, number = await asyncio.to_thread(pipe.recv)
        plane = hosts.data_planes[HostId(emulated_name(number))] if what in ("flows", "neighbours") else None
        match what:
            case "memory":
                gc.collect()
                pipe.send(used.memory_mib(multiprocessing.current_process().pid or 0) * KIB * KIB)
            case "neighbours" if plane is not None:
                pipe.send(plane.neighbours())
            case "flows" if plane is not None:
                started = time.perf_counter()
                plane.host.engine()
                pipe.send((time.perf_counter() - started) * 1000)
