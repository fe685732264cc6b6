"""Ten thousand neighbours into a real Open vSwitch host: told, made into flows, encoded, taken by the switch.

Each round is a network of its own, of which the host gets its first port; it keeps the earlier ones. The floor
is a raw bundle of the same flows into an empty bridge of the same switch.
"""

import asyncio
import contextlib
import shutil
import statistics
import tempfile
from pathlib import Path

import msgspec

from alcor.bench import asking_network, used
from alcor.bench.asking_network import FAR_HOSTS, AskingNetwork
from alcor.bench.floors import BundleFloor
from alcor.bench.hosts import OvsLab
from alcor.bench.load import Connection
from alcor.client.api import ApiClient
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, hosts_alive


class SwitchNeighbours(msgspec.Struct, frozen=True):
    """What one Open vSwitch host needs. Memory is the agent's, resident."""

    rounds: int
    in_force: Milliseconds  # commit of the host's first port to its acknowledgement
    floor_ms: float  # the same flows in a raw bundle
    in_force_to_floor: float
    agent_processor_ms: float
    switch_processor_ms: float
    bytes_per_neighbour: float


async def measure(neighbours: int, rounds: int) -> SwitchNeighbours:
    """Measure in a region of its own, with a laboratory of one host. Needs root and Open vSwitch."""
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    region = RegionProcess(directory, queue="none", on_demand_above=2 * neighbours)
    hosts = OvsLab(1)
    try:
        await region.start()
        await hosts.start(region)
        async with ApiClient(region.url) as api:
            await hosts_alive(api, 1)
        await asking_network.introduce_far_hosts(region.agent_url)
        async with contextlib.AsyncExitStack() as stack:
            floor = BundleFloor(hosts)
            stack.push_async_callback(floor.close)
            await floor.open()
            return await _rounds(region, hosts, floor, neighbours, rounds)
    finally:
        await hosts.stop()
        await region.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _rounds(
    region: RegionProcess, hosts: OvsLab, floor: BundleFloor, neighbours: int, rounds: int
) -> SwitchNeighbours:
    api, name = Connection(region.url), hosts.names[0]
    agent, switch = hosts.agent_pid(name), hosts.switch_pid(name)
    network = await asyncio.to_thread(_filled, api, neighbours)
    await asyncio.to_thread(network.first_port, name)  # code and the heap's first growth are met once
    memory_mib = used.memory_mib(agent)
    times, floors, worked = [], [], {agent: 0.0, switch: 0.0}
    for _ in range(rounds):
        network = await asyncio.to_thread(_filled, api, neighbours)
        floor.follow()
        before = {pid: used.running_s(pid) for pid in worked}
        times.append(await asyncio.to_thread(network.first_port, name))
        worked = {pid: worked[pid] + used.running_s(pid) - before[pid] for pid in worked}
        floors.append(await floor.measure())
    grown_bytes = (used.memory_mib(agent) - memory_mib) * 2**20
    took, floor_ms = milliseconds(times), statistics.median(floors)
    return SwitchNeighbours(
        rounds=rounds,
        in_force=took,
        floor_ms=round(floor_ms, 1),
        in_force_to_floor=round(took.p50 / floor_ms, 2),
        agent_processor_ms=round(worked[agent] * 1000 / rounds, 1),
        switch_processor_ms=round(worked[switch] * 1000 / rounds, 1),
        bytes_per_neighbour=round(grown_bytes / (rounds * neighbours), 1),
    )


def _filled(api: Connection, neighbours: int) -> AskingNetwork:
    network = AskingNetwork(api)
    network.fill(neighbours, hosts=FAR_HOSTS)
    return network
