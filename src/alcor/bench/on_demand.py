"""On demand: look-ups per second of one controller, and what the first packet to an unknown neighbour costs.

promise                                                  aim
look-ups per second and controller process               20,000, flat from 100 to 10^6 ports in a VPC
first ping between emulated hosts, both sides asking     (with the API's region behind it)
first ping on Open vSwitch, both sides asking            against the second ping of the same pair
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.table import Table

from alcor.bench import asking_network, look_ups
from alcor.bench.asking_network import AskingNetwork
from alcor.bench.hosts import OvsLab
from alcor.bench.load import Connection
from alcor.bench.look_ups import LookUpRate
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.bench.used import Meter, Usage, in_words
from alcor.client.api import ApiClient
from alcor.lab import workload as workloads
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.lab.workload import WorkloadPlan
from alcor.model import errors
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts, emulated_name
from alcor.runtime.event_log import SILENT

ON_DEMAND_ABOVE = 3  # so that a handful of ports is enough
EMULATED_HOSTS = 8
WARMING_TRIES = 5


class Plan(msgspec.Struct, frozen=True):
    """How much to do. `pairs`: of workloads that ping each other for the first time."""

    sizes: tuple[int, ...]
    look_ups: int
    pairs: int


PLANS = {
    "quick": Plan((100, 10_000), 8_000, 10),
    "full": Plan((100, 10_000, 1_000_000), 64_000, 50),
}


class FirstPackets(msgspec.Struct, frozen=True):
    """The first ping of pairs that did not know each other, and the second: what is known costs nothing."""

    data_plane: str
    first: Milliseconds
    second: Milliseconds
    used: tuple[Usage, ...]


class OnDemand(msgspec.Struct, frozen=True):
    """The file that `alcor bench on-demand --json` writes."""

    environment: Environment
    look_ups: tuple[LookUpRate, ...]
    first_packets: tuple[FirstPackets, ...]

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table("ports per VPC", "in a question", "look-ups/s", "per processor second", "echo/s", "MiB")
        for each in self.look_ups:
            table.add_row(
                str(each.ports_per_network),
                str(each.addresses_per_ask),
                f"{each.look_ups_per_s:.0f}",
                f"{each.look_ups_per_processor_s:.0f}",
                f"{each.echo_per_s:.0f}",
                f"{each.memory_mib:.0f}",
            )
        packets = Table("data plane", "first ping ms", "p99", "second ping ms", "p99")
        for one in self.first_packets:
            first, second = one.first, one.second
            times = (first.p50, first.p99, second.p50, second.p99)
            packets.add_row(one.data_plane, *(f"{time_ms:.2f}" for time_ms in times))
        packets.caption = "\n".join(f"{one.data_plane}, {in_words(one.used)}" for one in self.first_packets)
        return [table, packets]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        rates = {
            "look-ups": [each.look_ups_per_s for each in self.look_ups],
            "per processor second": [each.look_ups_per_processor_s for each in self.look_ups],
            "echo": [each.echo_per_s for each in self.look_ups],
        }
        labels = tuple(f"{each.ports_per_network}\nby {each.addresses_per_ask}" for each in self.look_ups)
        pings = {
            "first": [each.first.p50 for each in self.first_packets],
            "second": [each.second.p50 for each in self.first_packets],
        }
        planes = tuple(each.data_plane for each in self.first_packets)
        return [
            Panel("look-ups, by ports in the VPC", "per second", labels, rates, aim=20_000, is_log=True),
            Panel("ping of a new pair", "ms", planes, pings, is_log=True),
        ]


async def run(size: str, say: Say) -> OnDemand:
    """Measure everything; `say` hears of progress. Open vSwitch needs root."""
    where, plan = environment(), PLANS[size]
    rates = await look_ups.measure(plan.sizes, plan.look_ups, say)
    found = []
    for measure in (_emulated, _open_vswitch):
        packets = await _with_region(measure, plan)
        found.append(packets)
        say(
            f"first ping, {packets.data_plane}: p50 {packets.first.p50:.2f} ms (p99 {packets.first.p99:.1f}), "
            f"second {packets.second.p50:.2f} ms"
        )
    return OnDemand(where, tuple(rates), tuple(found))


async def _with_region(measure: Callable[..., object], plan: Plan) -> FirstPackets:
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    region = RegionProcess(directory, on_demand_above=ON_DEMAND_ABOVE)
    try:
        await region.start()
        return await measure(region, plan)  # type: ignore[misc, no-any-return]
    finally:
        await region.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _emulated(region: RegionProcess, plan: Plan) -> FirstPackets:
    hosts = EmulatedHosts(EMULATED_HOSTS, (region.agent_url,), SILENT)
    hosts.start()
    try:
        async with ApiClient(region.url) as api:
            await hosts_alive(api, EMULATED_HOSTS)
        network = await asyncio.to_thread(AskingNetwork, Connection(region.url))
        names = [emulated_name(number % EMULATED_HOSTS) for number in range(2 * plan.pairs)]
        made = await asyncio.to_thread(network.add, names)
        for port in made:
            hosts.data_planes[HostId(port.host)].plug(PortId(port.id))
            hosts.data_planes[HostId(port.host)].host.engine()  # made for the first packet, else
        first, second, meter = [], [], _meter(region)
        for source, target in zip(made[0::2], made[1::2], strict=True):
            first.append(await asking_network.first_ping(hosts.fabric, source, target))
            second.append(await asking_network.first_ping(hosts.fabric, source, target))
        return FirstPackets("simulated", milliseconds(first), milliseconds(second), meter.read())
    finally:
        await hosts.stop()


async def _open_vswitch(region: RegionProcess, plan: Plan) -> FirstPackets:
    hosts = OvsLab(2)
    try:
        await hosts.start(region)
        async with ApiClient(region.url) as api:
            await hosts_alive(api, len(hosts.names))
        network = await asyncio.to_thread(AskingNetwork, Connection(region.url))
        made = await asyncio.to_thread(network.add, hosts.names * (plan.pairs + 1))
        of_name = {host.name: host for host in hosts.lab.hosts}
        plans = [WorkloadPlan(port.id, port.mac, of_name[port.host]) for port in made]
        plugged = await asyncio.to_thread(hosts.lab.add_workloads, plans)
        for port, workload in zip(made, plugged, strict=True):
            address = f"{port.ip}/{asking_network.PREFIX_LEN}"
            await asyncio.to_thread(workloads.configure, workload, address=address, gateway=None, mtu=1450)
        async with ApiClient(region.url) as api:
            await _until_active(api, network.id, len(made))
        first: list[float] = []
        second: list[float] = []
        pairs = list(zip(plugged[0::2], made[1::2], strict=True))
        await _warm(*pairs[0])
        meter = _meter(region)
        for source, target in pairs[1:]:
            for times in (first, second):
                took_ms = await asyncio.to_thread(asking_network.ping, source, target.ip)
                if took_ms is None:
                    raise errors.Broken(f"{target.ip} did not answer the first ping")
                times.append(took_ms)
        return FirstPackets("ovs", milliseconds(first), milliseconds(second), meter.read())
    finally:
        await hosts.stop()


def _meter(region: RegionProcess) -> Meter:
    return Meter({"region": [region.child.pid], "hosts and client": [os.getpid()]})


async def _warm(source: workloads.Workload, target: asking_network.MadePort) -> None:
    """Let the hosts' tunnels resolve each other: the userspace datapath drops the first packet meanwhile."""
    for _ in range(WARMING_TRIES):
        if await asyncio.to_thread(asking_network.ping, source, target.ip) is not None:
            return
    raise errors.Broken("the hosts do not reach each other")


async def _until_active(api: ApiClient, network_id: str, count: int) -> None:
    while True:
        ports = (await api.get("/v2.0/ports", network_id=network_id, status="ACTIVE", fields="id"))["ports"]
        if len(ports) >= count:
            return
        await asyncio.sleep(0.05)
