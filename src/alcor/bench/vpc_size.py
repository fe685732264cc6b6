"""One port more into a VPC of ten to a million ports: until in force, and until another host pings it.

    promise                                                     aim
    one port into a VPC of 10^6, reachable from any host        100 ms
    the same from 10 to 10^6                                    within +10 %

The region is a real one behind its API, filled through it; from 2,000 ports on hosts ask for their neighbours.
The ports that fill it are on hosts without agents.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from alcor.bench import asking_network, used
from alcor.bench.asking_network import AskingNetwork, MadePort
from alcor.bench.load import Connection
from alcor.bench.report import Environment, environment
from alcor.client.api import ApiClient
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model.ids import HostId, PortId
from alcor.processes.agent import EmulatedHosts, emulated_name
from alcor.runtime.event_log import SILENT

SIZES = {"quick": (10, 1_000, 10_000), "standard": (10, 1_000, 10_000, 100_000)}
SIZES["full"] = (*SIZES["standard"], 1_000_000)
HOSTS = 4
FAR_HOSTS = 1_000
FILLED_AT_ONCE = 10_000
ROUNDS = 30
WARM_ROUNDS = 5

Say = Callable[[str], None]


class SizeMeasured(msgspec.Struct, frozen=True):
    """One size: from the call until in force, and until the first ping from another host was answered."""

    ports: int
    in_force: Milliseconds
    reachable: Milliseconds
    region_memory_mib: float
    region_processor_ms_per_port: float


class VpcSize(msgspec.Struct, frozen=True):
    """The file that `alcor bench vpc-size --json` writes. The ratio is of the largest size to the smallest."""

    environment: Environment
    sizes: tuple[SizeMeasured, ...]
    reachable_ratio: float


async def run(size: str, say: Say) -> VpcSize:
    """Measure all sizes in one growing VPC; `say` hears of progress."""
    where = environment()
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    region = RegionProcess(directory)
    hosts = EmulatedHosts(HOSTS, region.agent_url, SILENT)
    try:
        await region.start()
        hosts.start()
        async with ApiClient(region.url) as api:
            await hosts_alive(api, HOSTS)
        network = await asyncio.to_thread(AskingNetwork, Connection(region.url))
        bench = _Bench(region, hosts, network)
        found = []
        for ports in SIZES[size]:
            await bench.grow(ports)
            measured = await bench.measure(ports)
            found.append(measured)
            say(
                f"{ports} ports: in force p50 {measured.in_force.p50:.2f} ms, reachable p50 "
                f"{measured.reachable.p50:.2f} ms (p99 {measured.reachable.p99:.1f})"
            )
        ratio = round(found[-1].reachable.p50 / found[0].reachable.p50, 2)
        return VpcSize(where, tuple(found), ratio)
    finally:
        await hosts.stop()
        await region.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


class _Bench:
    """One VPC. Owner of its growth."""

    def __init__(self, region: RegionProcess, hosts: EmulatedHosts, network: AskingNetwork) -> None:
        self._region = region
        self._hosts = hosts
        self._network = network
        self._ports = 0
        self._sources: list[MadePort] = []

    async def grow(self, ports: int) -> None:
        """Fill the VPC up to a size, one workload on each host that pings among them."""
        if not self._sources:
            self._sources = await self._add([emulated_name(number) for number in range(HOSTS)])
        while self._ports < ports:
            some = min(FILLED_AT_ONCE, ports - self._ports)
            await asyncio.to_thread(self._network.fill, some, hosts=FAR_HOSTS)
            self._ports += some

    async def measure(self, ports: int) -> SizeMeasured:
        """Add ports one by one, and ping each from a host that does not know it yet."""
        for number in range(WARM_ROUNDS):
            await self._round(number)
        used_s = used.processor_s(self._region.child.pid)
        times = [await self._round(number) for number in range(ROUNDS)]
        used_ms = (used.processor_s(self._region.child.pid) - used_s) * 1000
        return SizeMeasured(
            ports=ports,
            in_force=milliseconds([in_force for in_force, _ in times]),
            reachable=milliseconds([reachable for _, reachable in times]),
            region_memory_mib=round(used.memory_mib(self._region.child.pid), 1),
            region_processor_ms_per_port=round(used_ms / ROUNDS, 2),
        )

    async def _round(self, number: int) -> tuple[float, float]:
        host, source = emulated_name(number % HOSTS), self._sources[(number + 1) % HOSTS]
        started = time.perf_counter()
        [made] = await self._add([host])
        in_force_ms = (time.perf_counter() - started) * 1000
        await asking_network.first_ping(self._hosts.fabric, source, made)
        return in_force_ms, (time.perf_counter() - started) * 1000

    async def _add(self, names: list[str]) -> list[MadePort]:
        made = await asyncio.to_thread(self._network.add, names)
        for port in made:
            plane = self._hosts.data_planes[HostId(port.host)]
            plane.plug(PortId(port.id))
        self._ports += len(made)
        return made
