"""The fast path and the queue path: from commit to acknowledgement, with many agents connected.

    promise                                                         aim
    one port at a time, 10,000 agents, fast path                    p50 10 ms, p99 50 ms
    one change that concerns all 10,000 agents                      1.5 s, within 3x of the floor

The floor is a bare framed stream to as many peers in one other process, which answer the same bytes at once: to
one of them, and to all. Agents and peers dial a socket file; with `--tls` over TLS, each agent with its own
certificate, as those of other machines must. The times of the region come from its receipts: from the
commit until the host's acknowledgement was taken in. Networks are of ten hosts each: one port concerns few.
"""

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import msgspec
from rich.table import Table

from alcor.adapters import identity
from alcor.bench import raw_peers
from alcor.bench.hosts import AgentDoor, EmulatedFleet
from alcor.bench.load import Connection
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.bench.used import Meter, Usage
from alcor.client.api import ApiClient
from alcor.lab.children import Child
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import errors

PathUnderTest = Literal["fast", "queue"]
HOSTS_PER_NETWORK = 10
PORTS_PER_CALL = 1000
ROUNDS = 5
START_S = 300.0
TIMEOUT_S = 60


class MeasuredPath(msgspec.Struct, frozen=True):
    """One path. Times in milliseconds; ratios are to the floor of the same run."""

    path: PathUnderTest
    agents: int
    one_port: Milliseconds  # commit to acknowledgement by the port's own host
    one_port_call: Milliseconds  # the whole call, waited for
    one_to_floor: float
    all_agents_ms: float  # a rule of a group that all agents have: until the last acknowledged
    all_to_floor: float
    used: tuple[Usage, ...]


class Floor(msgspec.Struct, frozen=True):
    """Bare streams. Medians, milliseconds."""

    one_ms: float
    all_ms: float


class Paths(msgspec.Struct, frozen=True):
    """The file that `alcor bench paths --json` writes."""

    environment: Environment
    floor: Floor
    measured: tuple[MeasuredPath, ...]
    tls: bool = False  # the agents' streams, and the floor's; the queue's connections always are

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table(
            "path", "agents", "one port ms", "p99", "x floor", "all agents ms", "x floor", "CPU s", "MiB"
        )
        for each in self.measured:
            table.add_row(
                f"{each.path}{self._kind}",
                str(each.agents),
                f"{each.one_port.p50:.2f}",
                f"{each.one_port.p99:.2f}",
                f"{each.one_to_floor:.1f}",
                f"{each.all_agents_ms:.0f}",
                f"{each.all_to_floor:.1f}",
                " + ".join(f"{part.processor_s:.1f} ({part.name})" for part in each.used),
                " + ".join(f"{part.memory_mib:.0f}" for part in each.used),
            )
        return [table]

    @property
    def _kind(self) -> str:
        return ", TLS" if self.tls else ""

    def panels(self) -> list[Panel]:
        """Give the chart."""
        labels = tuple(f"{each.path}{self._kind}" for each in self.measured)
        one = {
            "p50": [each.one_port.p50 for each in self.measured],
            "p99": [each.one_port.p99 for each in self.measured],
            "raw stream": [self.floor.one_ms] * len(labels),
        }
        every = {
            "all agents": [each.all_agents_ms for each in self.measured],
            "raw streams": [self.floor.all_ms] * len(labels),
        }
        agents = self.measured[0].agents
        return [
            Panel(f"one port, {agents} agents", "ms to acknowledgement", labels, one, aim=50, is_log=True),
            Panel(f"one change for {agents} agents", "ms", labels, every, aim=3 * self.floor.all_ms),
        ]


async def run(agents: int, ports: int, say: Say, *, tls: bool) -> Paths:
    """Measure both paths; `say` hears of progress."""
    where = environment()
    floor = await _floor(agents, tls=tls)
    kind = "bare TLS streams" if tls else "bare streams"
    say(f"{kind}: one answer {floor.one_ms:.2f} ms, {agents} answers {floor.all_ms:.0f} ms")
    measured = [await _measure(path, agents, ports, floor, say, tls=tls) for path in ("fast", "queue")]
    return Paths(where, floor, tuple(measured), tls)


async def _floor(agents: int, *, tls: bool) -> Floor:
    with tempfile.TemporaryDirectory(prefix="alcor-bench-") as directory:
        ring = raw_peers.RawRing()
        server, place = await raw_peers.listen(Path(directory), ring.serve, over_tls=tls)
        command = [sys.executable, "-m", "alcor.bench.raw_peers", place.url, str(agents)]
        if place.certificates is not None:
            command.append(str(place.certificates))
        child = Child("the bare peers", command, Path(directory) / "peers.log")
        await child.start()
        try:
            async with asyncio.timeout(START_S):
                while len(ring.channels) < agents:
                    child.require_alive()
                    await asyncio.sleep(0.05)
            ones = [await ring.once(ring.channels[:1]) for _ in range(200)]
            alls = [await ring.once(ring.channels) for _ in range(ROUNDS)]
        finally:
            await server.close()
            await child.stop()
    return Floor(round(statistics.median(ones), 3), round(statistics.median(alls), 2))


async def _measure(
    path: PathUnderTest, agents: int, ports: int, floor: Floor, say: Say, *, tls: bool
) -> MeasuredPath:
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    door = AgentDoor(tls=tls)
    region = RegionProcess(directory, options=door.region_options)
    fleet: EmulatedFleet | None = None
    try:
        await region.start()
        if path == "queue":
            identity.issue_fleet(region.authority, directory / "fleet")
            certificates = ("--certificates", str(directory / "fleet"))
            ways: tuple[str, ...] = ("--queue", region.queue_url, "--queue-only", *certificates)
        else:
            ways = door.fleet_options(region, agents)
        fleet = EmulatedFleet(agents, paths=ways)
        started = time.perf_counter()
        await fleet.start(region)
        async with ApiClient(region.url) as api:
            await hosts_alive(api, agents, timeout_s=START_S)
        say(f"{path}: {agents} agents connected in {time.perf_counter() - started:.1f} s")
        return await asyncio.to_thread(_Bench(region, fleet, path, agents, floor, say).run, ports)
    finally:
        if fleet is not None:
            await fleet.stop()
        await region.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


class _Bench:
    """One path's measurements, in order."""

    def __init__(
        self,
        region: RegionProcess,
        fleet: EmulatedFleet,
        path: PathUnderTest,
        agents: int,
        floor: Floor,
        say: Say,
    ) -> None:
        self._api = Connection(region.url)
        self._pids = {"region": [region.child.pid], "agents": fleet.pids}
        self._path = path
        self._agents = agents
        self._floor = floor
        self._say = say
        self._networks: list[str] = []

    def run(self, ports: int) -> MeasuredPath:
        group = self._api.call("POST", "/v2.0/security-groups", {"security_group": {"name": "all"}})[0]
        group_id = group["security_group"]["id"]
        self._fill(group_id)
        meter = Meter(self._pids)
        acknowledged, calls = zip(*(self._one_port(number, group_id) for number in range(ports)), strict=True)
        one = milliseconds(acknowledged)
        self._say(f"{self._path}: one port p50 {one.p50:.2f} ms, p99 {one.p99:.2f} ms until acknowledged")
        everybody = statistics.median(self._one_for_all(group_id, number) for number in range(ROUNDS))
        self._say(f"{self._path}: one change for all {self._agents} agents {everybody:.0f} ms")
        return MeasuredPath(
            path=self._path,
            agents=self._agents,
            one_port=one,
            one_port_call=milliseconds(calls),
            one_to_floor=round(one.p50 / self._floor.one_ms, 2),
            all_agents_ms=round(everybody, 2),
            all_to_floor=round(everybody / self._floor.all_ms, 2),
            used=meter.read(),
        )

    def _fill(self, group_id: str) -> None:
        """Give every agent one port in the group, ten agents a network."""
        ports = []
        for first in range(0, self._agents, HOSTS_PER_NETWORK):
            network = self._new_network()
            last = min(first + HOSTS_PER_NETWORK, self._agents)
            ports += [self._port(network, number, group_id) for number in range(first, last)]
            if len(ports) >= PORTS_PER_CALL or last == self._agents:
                revision = self._api.call("POST", "/v2.0/ports", {"ports": ports})[2]
                self._receipt(revision)
                ports = []

    def _one_port(self, number: int, group_id: str) -> tuple[float, float]:
        """Create a port; give ms from its commit until its host acknowledged it, and of the whole call."""
        host = number * 7919 % self._agents  # a prime: far apart, and each host at most once in a while
        network = self._networks[host // HOSTS_PER_NETWORK]
        body = {"port": {**self._port(network, host, group_id), "alcor:fast_path": True}}
        path = f"/v2.0/ports?wait=in_force&timeout={TIMEOUT_S}"
        answer, took_ms, revision = self._api.call("POST", path, body)
        if not answer["port"]["alcor:in_force"]:
            raise errors.Broken(f"a port is not in force after {TIMEOUT_S} s")
        for part in self._receipt(revision):
            if part["host"] == f"host-{host}":
                return float(part["took_ms"]), took_ms
        raise errors.Broken(f"the receipt of {revision} does not name its host")

    def _one_for_all(self, group_id: str, number: int) -> float:
        """Add a rule to the group; give ms from its commit until the last agent acknowledged it."""
        rule = {
            "security_group_id": group_id,
            "direction": "ingress",
            "ethertype": "IPv4",
            "protocol": "tcp",
            "port_range_min": 1000 + number,
            "port_range_max": 1000 + number,
            "remote_ip_prefix": "10.0.0.0/8",
        }
        revision = self._api.call("POST", "/v2.0/security-group-rules", {"security_group_rule": rule})[2]
        parts = self._receipt(revision)
        if len(parts) < self._agents:
            raise errors.Broken(f"the change concerns {len(parts)} hosts, not {self._agents}")
        return max(float(part["took_ms"]) for part in parts)

    def _receipt(self, revision: int) -> list[dict[str, float | str]]:
        path = f"/v2.0/changes/{revision}?wait=in_force&timeout={TIMEOUT_S}"
        change = self._api.call("GET", path)[0]["change"]
        if not change["in_force"]:
            raise errors.Broken(f"revision {revision} is not in force everywhere after {TIMEOUT_S} s")
        if {part["path"] for part in change["hosts"]} - {self._path}:
            raise errors.Broken(f"revision {revision} went by another path than the one to measure")
        hosts: list[dict[str, float | str]] = change["hosts"]
        return hosts

    def _port(self, network: str, host: int, group_id: str) -> dict[str, object]:
        return {
            "network_id": network,
            "binding:host_id": f"host-{host}",
            "security_groups": [group_id],
        }

    def _new_network(self) -> str:
        network: str = self._api.call("POST", "/v2.0/networks", {"network": {"name": "few"}})[0]["network"][
            "id"
        ]
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/16"}
        self._api.call("POST", "/v2.0/subnets", {"subnet": subnet})
        self._networks.append(network)
        return network
