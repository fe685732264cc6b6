"""One member more in a group of ten thousand that every host has rules about, in a network of both IP versions.

    promise                                    aim
    bytes to each host concerned               200
    flows changed on each host concerned       a handful

Times are from the call until every host has acknowledged; the floor is the same call for a port that concerns
its own host only. Bytes and flows are taken from one host that answers like an agent and renders its flows.
"""

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from alcor.bench.hosts import EmulatedFleet
from alcor.bench.load import Connection
from alcor.bench.raw_agent import RawAgent
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.bench.used import Meter, Usage, in_words
from alcor.client.api import ApiClient
from alcor.contracts.data_plane import facts_of
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import errors

OBSERVER, OBSERVER_VTEP = "observer", bytes([10, 254, 0, 1])
IN_FORCE_TIMEOUT_S = 60
MADE_AT_ONCE = 5_000
TOLD_WHOLE = 10**6  # ports; above it a member is told to nobody who does not ask


class Plan(msgspec.Struct, frozen=True):
    """How much to do."""

    hosts: int
    members: int
    rounds: int


PLANS = {"quick": Plan(20, 2_000, 10), "full": Plan(200, 10_000, 50)}


class Group(msgspec.Struct, frozen=True):
    """The file that `alcor bench group --json` writes."""

    environment: Environment
    hosts: int
    members: int
    in_force_everywhere: Milliseconds
    floor_one_host: Milliseconds
    bytes_per_host: float
    flows_changed: float
    used: tuple[Usage, ...]

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table(
            "members", "hosts", "in force everywhere ms", "p99", "floor ms", "bytes a host", "flows a host"
        )
        every, floor = self.in_force_everywhere, self.floor_one_host
        table.add_row(
            str(self.members),
            str(self.hosts),
            *(f"{time_ms:.2f}" for time_ms in (every.p50, every.p99, floor.p50)),
            f"{self.bytes_per_host:.0f}",
            f"{self.flows_changed:.1f}",
        )
        table.caption = in_words(self.used)
        return [table]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        times = {
            "in force on all": [self.in_force_everywhere.p50, self.in_force_everywhere.p99],
            "a port on one host": [self.floor_one_host.p50, self.floor_one_host.p99],
        }
        title = f"one member more of {self.members}, {self.hosts} hosts"
        return [
            Panel(title, "ms", ("p50", "p99"), times),
            Panel("to each host", "bytes", ("one member more",), {"bytes": [self.bytes_per_host]}, aim=200),
        ]


async def run(size: str, say: Say) -> Group:
    """Measure; `say` hears of progress."""
    where, plan = environment(), PLANS[size]
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    region, fleet = RegionProcess(directory, on_demand_above=TOLD_WHOLE), EmulatedFleet(plan.hosts)
    try:
        await region.start()
        await fleet.start(region)
        observer = await RawAgent.connect(region.agent_url, OBSERVER, OBSERVER_VTEP)
        taking = asyncio.create_task(_take_for_ever(observer))
        async with ApiClient(region.url) as api:
            await hosts_alive(api, plan.hosts + 1)
        bench = _Bench(Connection(region.url), plan, [*fleet.names, OBSERVER])
        await asyncio.to_thread(bench.prepare)
        say(f"{plan.members} members, {plan.hosts} hosts with rules about them")
        meter = Meter({"region": [region.child.pid], "agents": fleet.pids, "client": [os.getpid()]})
        found = await _measure(bench, observer, plan)
        worked = meter.read()
        say(
            f"one member more: in force everywhere p50 {found[0].p50:.2f} ms (floor {found[1].p50:.2f}), "
            f"{found[2]:.0f} bytes and {found[3]:.1f} flows a host"
        )
        taking.cancel()
        observer.close()
        return Group(where, plan.hosts, plan.members, *found, worked)
    finally:
        await fleet.stop()
        await region.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


class _Bench:
    """A network with a server on every host, whose rule lets in the members of a group."""

    def __init__(self, api: Connection, plan: Plan, hosts: list[str]) -> None:
        self._api = api
        self._plan = plan
        self._hosts = hosts
        self._network = self._elsewhere = ""
        self._clients = self._others = ""

    def prepare(self) -> None:
        """Make everything, and wait until it is in force."""
        self._clients = self._new("security-group", {"name": "clients"})
        self._others = self._new("security-group", {"name": "others"})
        servers = self._new("security-group", {"name": "servers"})
        for ethertype in ("IPv4", "IPv6"):
            rule = {"direction": "ingress", "ethertype": ethertype, "remote_group_id": self._clients}
            self._new("security-group-rule", {**rule, "security_group_id": servers})
        self._network, self._elsewhere = (self._new_network(name) for name in ("group", "elsewhere"))
        for start in range(0, self._plan.members, MADE_AT_ONCE):
            count = min(MADE_AT_ONCE, self._plan.members - start)
            others = self._hosts[:-1]  # but for the observer, whose own ports are one
            self._ports([others[number % len(others)] for number in range(count)], [self._clients])
        self._ports(self._hosts, [servers], query=f"?wait=in_force&timeout={IN_FORCE_TIMEOUT_S}")

    def add_member(self) -> float:
        """Add one member; give the milliseconds until every host with rules about it has acknowledged."""
        return self._timed(self._network, [self._clients, self._others])

    def add_stranger(self) -> float:
        """Add a port that concerns its own host only."""
        return self._timed(self._elsewhere, [])

    def until_everywhere(self, revision: int) -> None:
        """Wait until every host concerned has the revision."""
        path = f"/v2.0/changes/{revision}?wait=in_force&timeout={IN_FORCE_TIMEOUT_S}"
        if not self._api.call("GET", path)[0]["change"]["in_force"]:
            raise errors.Broken(f"revision {revision} is not in force after {IN_FORCE_TIMEOUT_S} s")

    def _timed(self, network: str, groups: list[str]) -> float:
        started = time.perf_counter()
        self.until_everywhere(self._ports([self._hosts[0]], groups, network=network))
        return (time.perf_counter() - started) * 1000

    def _ports(self, hosts: list[str], groups: list[str], *, network: str = "", query: str = "") -> int:
        bodies = [
            {
                "network_id": network or self._network,
                "binding:host_id": host,
                "security_groups": groups,
            }
            for host in hosts
        ]
        return self._api.call("POST", f"/v2.0/ports{query}", {"ports": bodies})[2]

    def _new_network(self, name: str) -> str:
        network = self._new("network", {"name": name})
        self._new("subnet", {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/8"})
        prefix = {"cidr": "2001:db8::/64", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
        self._new("subnet", {"network_id": network, "ip_version": 6, **prefix})
        return network

    def _new(self, kind: str, body: dict[str, Any]) -> str:
        name = kind.replace("-", "_")
        made: str = self._api.call("POST", f"/v2.0/{kind}s", {name: body})[0][name]["id"]
        return made


async def _measure(
    bench: _Bench, observer: RawAgent, plan: Plan
) -> tuple[Milliseconds, Milliseconds, float, float]:
    program = FlowProgram(facts_of(OBSERVER, OBSERVER_VTEP), 1)
    program.replace(observer.state)
    times, floor, flows = [], [], 0
    received = observer.update_bytes
    for _ in range(plan.rounds):
        times.append(await asyncio.to_thread(bench.add_member))
        change = program.change(observer.state, observer.sections)
        flows += len(change.install) + len(change.remove)
        floor.append(await asyncio.to_thread(bench.add_stranger))
    return (
        milliseconds(times),
        milliseconds(floor),
        (observer.update_bytes - received) / plan.rounds,
        flows / plan.rounds,
    )


async def _take_for_ever(observer: RawAgent) -> None:
    while True:
        await observer.take()
