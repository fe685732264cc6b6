"""One port more into a VPC of ten to a million ports: until in force, and until another host pings it.

    promise                                                     aim
    one port into a VPC of 10^6, reachable from any host        100 ms
    the same from 10 to 10^6                                    within +10 %

A region for each size, all alive at the same time: rounds take a port in each of them by turns, in an order
that changes, so that what the machine does meanwhile strikes all sizes alike. Regions are filled through
their APIs; from 2,000 ports on hosts ask for their neighbours. The ports that fill them are in no group: who
is in a group is another measurement (`alcor bench group`).
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import msgspec
from rich.table import Table

from alcor.bench import asking_network, ratios, used
from alcor.bench.asking_network import AskingNetwork, MadePort
from alcor.bench.load import Connection
from alcor.bench.ratios import Ratio
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.bench.used import Meter
from alcor.client.api import ApiClient
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts, emulated_name
from alcor.runtime.event_log import SILENT

SIZES = {"quick": (10, 1_000, 10_000), "standard": (10, 1_000, 10_000, 100_000)}
SIZES["full"] = (*SIZES["standard"], 1_000_000)
ROUNDS = {"quick": 30, "standard": 100, "full": 200}
HOSTS = 4
FILLED_AT_ONCE = 10_000
WARM_ROUNDS = 10


class SizeMeasured(msgspec.Struct, frozen=True):
    """One size: from the call until in force, and until the first ping from another host was answered.

    Ratios are to the smallest size.
    """

    ports: int
    in_force: Milliseconds
    reachable: Milliseconds
    in_force_ratio: Ratio
    reachable_ratio: Ratio
    region_memory_mib: float
    region_processor_ms_per_port: float
    store_processor_ms_per_port: float


class VpcSize(msgspec.Struct, frozen=True):
    """The file that `alcor bench vpc-size --json` writes. The ratio is of the largest size to the smallest."""

    environment: Environment
    rounds: int
    sizes: tuple[SizeMeasured, ...]
    reachable_ratio: Ratio
    hosts_processor_ms_per_port: float  # emulated, with the client: in the process that measures

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table(
            "ports",
            "in force ms",
            "p99",
            "reachable ms",
            "p99",
            "x smallest",
            "95 %",
            "region MiB",
            "region CPU ms",
            "store CPU ms",
        )
        for each in self.sizes:
            force, reach = each.in_force, each.reachable
            table.add_row(
                str(each.ports),
                *(f"{time_ms:.2f}" for time_ms in (force.p50, force.p99, reach.p50, reach.p99)),
                f"{each.reachable_ratio.value:.2f}",
                f"{each.reachable_ratio.low:.2f} to {each.reachable_ratio.high:.2f}",
                f"{each.region_memory_mib:.0f}",
                f"{each.region_processor_ms_per_port:.1f}",
                f"{each.store_processor_ms_per_port:.1f}",
            )
        table.caption = f"hosts and client: {self.hosts_processor_ms_per_port:.1f} ms of a core for each port"
        return [table]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        labels = tuple(f"{each.ports}" for each in self.sizes)
        times = {
            "in force p50": [each.in_force.p50 for each in self.sizes],
            "reachable p50": [each.reachable.p50 for each in self.sizes],
            "reachable p99": [each.reachable.p99 for each in self.sizes],
        }
        ratio = {
            "95 % from": [each.reachable_ratio.low for each in self.sizes],
            "reachable": [each.reachable_ratio.value for each in self.sizes],
            "95 % to": [each.reachable_ratio.high for each in self.sizes],
        }
        return [
            Panel("one port more, by ports in the VPC", "ms", labels, times),
            Panel("against the smallest VPC", "ratio of medians", labels, ratio, aim=1.1),
        ]


async def run(size: str, say: Say) -> VpcSize:
    """Measure all sizes by turns; `say` hears of progress."""
    where = environment()
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    try:
        async with contextlib.AsyncExitStack() as stack:
            vpcs = []
            for ports in SIZES[size]:
                vpc = _Vpc(directory / str(ports), ports)
                stack.push_async_callback(vpc.stop)
                await vpc.start()
                vpcs.append(vpc)
                say(f"{ports} ports are there")
            worked_s = await _take_turns(vpcs, ROUNDS[size])
            found = tuple(vpc.measured(vpcs[0]) for vpc in vpcs)
        each_ms = round(worked_s * 1000 / ROUNDS[size] / len(found), 2)
        for each in found:
            ratio = each.reachable_ratio
            say(
                f"{each.ports} ports: in force p50 {each.in_force.p50:.2f} ms, reachable p50 "
                f"{each.reachable.p50:.2f} ms: {ratio.value:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"
            )
        return VpcSize(where, ROUNDS[size], found, found[-1].reachable_ratio, each_ms)
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _take_turns(vpcs: list["_Vpc"], rounds: int) -> float:
    """Go; give the processor seconds that this process took for what counts."""
    for number in range(WARM_ROUNDS):
        for vpc in vpcs:
            await vpc.round(number)
    for vpc in vpcs:
        vpc.begin()
    worked_s = used.processor_s(os.getpid())
    for number in range(rounds):
        first = number % len(vpcs)
        for vpc in (*vpcs[first:], *vpcs[:first]):
            await vpc.round(number)
    return used.processor_s(os.getpid()) - worked_s


class _Vpc:
    """One region with one VPC of a size, and four hosts that ping. Owner of both, and of the samples."""

    def __init__(self, directory: Path, ports: int) -> None:
        directory.mkdir(mode=0o755)
        self.ports = ports
        self.in_force_ms: list[float] = []
        self.reachable_ms: list[float] = []
        self._region = RegionProcess(directory, queue="none")
        self._hosts = EmulatedHosts(HOSTS, (self._region.agent_url,), SILENT)
        self._network: AskingNetwork | None = None
        self._sources: list[MadePort] = []
        self._worked_s = 0.0
        self._with_store: Meter | None = None

    async def start(self) -> None:
        """Start everything and fill the VPC."""
        await self._region.start()
        self._hosts.start()
        async with ApiClient(self._region.url) as api:
            await hosts_alive(api, HOSTS)
        await asking_network.introduce_far_hosts(self._region.agent_url)
        network = self._network = await asyncio.to_thread(AskingNetwork, Connection(self._region.url))
        for first in range(HOSTS, self.ports, FILLED_AT_ONCE):
            some = min(FILLED_AT_ONCE, self.ports - first)
            await asyncio.to_thread(network.fill, some, hosts=asking_network.FAR_HOSTS)
        self._sources = await self._add([emulated_name(number) for number in range(HOSTS)])

    async def stop(self) -> None:
        await self._hosts.stop()
        await self._region.stop()

    def begin(self) -> None:
        """Forget the rounds so far: from now on they count."""
        self.in_force_ms, self.reachable_ms = [], []
        self._worked_s = used.processor_s(self._region.child.pid)
        self._with_store = Meter({"": [self._region.child.pid]})

    async def round(self, number: int) -> None:
        """Add one port, and ping it from a host that does not know it yet."""
        host, source = emulated_name(number % HOSTS), self._sources[(number + 1) % HOSTS]
        started = time.perf_counter()
        [made] = await self._add([host])
        self.in_force_ms.append((time.perf_counter() - started) * 1000)
        await asking_network.first_ping(self._hosts.fabric, source, made)
        self.reachable_ms.append((time.perf_counter() - started) * 1000)

    def measured(self, smallest: "_Vpc") -> SizeMeasured:
        """Give the figures, against those of the smallest."""
        assert self._with_store is not None, "begun"
        pid, rounds = self._region.child.pid, len(self.in_force_ms)
        worked_s = used.processor_s(pid) - self._worked_s
        store_s = self._with_store.read()[0].processor_s - worked_s
        return SizeMeasured(
            ports=self.ports,
            in_force=milliseconds(self.in_force_ms),
            reachable=milliseconds(self.reachable_ms),
            in_force_ratio=ratios.of_medians(self.in_force_ms, smallest.in_force_ms),
            reachable_ratio=ratios.of_medians(self.reachable_ms, smallest.reachable_ms),
            region_memory_mib=round(used.memory_mib(pid), 1),
            region_processor_ms_per_port=round(worked_s * 1000 / rounds, 2),
            store_processor_ms_per_port=round(store_s * 1000 / rounds, 2),
        )

    async def _add(self, names: list[str]) -> list[MadePort]:
        assert self._network is not None, "started"
        made = await asyncio.to_thread(self._network.add, names)
        for port in made:
            self._hosts.data_planes[HostId(port.host)].plug(PortId(port.id))
        return made
