"""Provisioning: from the call to the answer and to in force, one by one and in batches, on both data planes.

    promise                                          aim
    1,000 ports in one call, answered                within 5x a raw COPY of the same rows
    1,000 ports in force on 100 emulated agents      0.15 s
    1,000 ports in force on 4 Open vSwitch hosts     0.5 s
    10,000 ports in force on 1,000 emulated agents   0.6 s
    one port in force, emulated / Open vSwitch       p50 3 ms / 10 ms, p99 50 ms

Batches of up to 1,000 ports go into one network that every host takes part in. Single ports go into a network
of ten hosts, 10,000 into a hundred such networks: a VPC's neighbourhood is told to each of its hosts. All ports
are one tenant's, in its `default` group, whose members may talk. Floors are taken in the same run: a raw COPY
of the same rows into empty tables of the same shape, and a raw bundle of the same flows.
"""

import asyncio
import contextlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from alcor.bench.floors import BundleFloor, CopyFloor
from alcor.bench.hosts import BenchHosts, EmulatedFleet, OvsLab
from alcor.bench.load import Connection, in_parallel
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.client.api import ApiClient
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import errors

IN_FORCE_TIMEOUT_S = 60
CLIENTS = 16
SPREAD_PORTS = 10_000  # from here on ports are spread over networks of a few hosts each
SPREAD_NETWORK_PORTS = 100
TENANT = "tenant"
FEW_HOSTS = 10  # that share the network of single ports, and each of the spread ones


class Plan(msgspec.Struct, frozen=True):
    """How much to do on one data plane. `batches`: (ports, calls)."""

    hosts: int
    serial: int
    batches: tuple[tuple[int, int], ...]


PLANS: dict[str, tuple[tuple[type[EmulatedFleet] | type[OvsLab], Plan], ...]] = {
    "full": (
        (EmulatedFleet, Plan(100, 300, ((100, 10), (1000, 7)))),
        (EmulatedFleet, Plan(1000, 100, ((10_000, 3),))),
        (OvsLab, Plan(4, 200, ((100, 10), (1000, 5)))),
    ),
    "quick": (
        (EmulatedFleet, Plan(20, 50, ((100, 3), (1000, 2)))),
        (OvsLab, Plan(2, 30, ((100, 2), (500, 2)))),
    ),
}


class Batch(msgspec.Struct, frozen=True):
    """One batch size: medians over the calls. Ratios are to the floor of the same run."""

    ports: int
    calls: int
    answered_ms: float
    in_force_ms: float
    copy_floor_ms: float
    answered_to_copy: float
    bundle_floor_ms: float | None = None
    in_force_to_bundle: float | None = None


class Measured(msgspec.Struct, frozen=True):
    """One data plane."""

    data_plane: str
    hosts: int
    serial_answered: Milliseconds
    serial_in_force: Milliseconds
    clients: int
    clients_answered: Milliseconds
    clients_ports_per_s: float
    batches: tuple[Batch, ...]


class Provisioning(msgspec.Struct, frozen=True):
    """The file that `alcor bench provisioning --json` writes."""

    environment: Environment
    measured: tuple[Measured, ...]

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table("data plane", "hosts", "what", "answered ms", "in force ms", "x raw COPY", "x raw bundle")
        for each in self.measured:
            where = (each.data_plane, str(each.hosts))
            one, force = each.serial_answered, each.serial_in_force
            table.add_row(
                *where,
                "one port",
                f"{one.p50:.2f} (p99 {one.p99:.1f})",
                f"{force.p50:.2f} (p99 {force.p99:.1f})",
                "",
                "",
            )
            clients = each.clients_answered
            what = f"{each.clients} clients, {each.clients_ports_per_s:.0f} ports/s"
            table.add_row(*where, what, f"{clients.p50:.2f} (p99 {clients.p99:.1f})", "", "", "")
            for batch in each.batches:
                table.add_row(
                    *where,
                    f"{batch.ports} ports in a call",
                    f"{batch.answered_ms:.1f}",
                    f"{batch.in_force_ms:.1f}",
                    f"{batch.answered_to_copy:.1f}",
                    "" if batch.in_force_to_bundle is None else f"{batch.in_force_to_bundle:.1f}",
                )
        return [table]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        rows = [(each, batch) for each in self.measured for batch in each.batches]
        labels = tuple(f"{batch.ports}\n{each.hosts} {each.data_plane}" for each, batch in rows)
        each_port = {
            "answered": [each.serial_answered.p50 for each in self.measured],
            "in force": [each.serial_in_force.p50 for each in self.measured],
            "in force p99": [each.serial_in_force.p99 for each in self.measured],
        }
        batches = {
            "answered": [batch.answered_ms for _, batch in rows],
            "in force": [batch.in_force_ms for _, batch in rows],
            "raw COPY": [batch.copy_floor_ms for _, batch in rows],
        }
        hosts = tuple(f"{each.hosts} {each.data_plane}" for each in self.measured)
        return [
            Panel("one port", "ms", hosts, each_port),
            Panel("ports in a call", "ms", labels, batches, is_log=True),
        ]


async def run(size: str, say: Say) -> Provisioning:
    """Measure everything; `say` hears of progress. Needs root and Open vSwitch."""
    where = environment()
    measured = []
    for kind, plan in PLANS[size]:
        measured.append(await _measure(kind(plan.hosts), plan, say))
    return Provisioning(where, tuple(measured))


async def _measure(hosts: BenchHosts, plan: Plan, say: Say) -> Measured:
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    region = RegionProcess(directory)
    try:
        await region.start()
        await hosts.start(region)
        async with ApiClient(region.url) as api:
            await hosts_alive(api, len(hosts.names))
        say(f"{hosts.data_plane}, {len(hosts.names)} hosts: up")
        async with contextlib.AsyncExitStack() as floors:
            copy_floor = await CopyFloor.open(directory)
            floors.push_async_callback(copy_floor.close)
            bundle_floor = None
            if isinstance(hosts, OvsLab):
                bundle_floor = BundleFloor(hosts)
                floors.push_async_callback(bundle_floor.close)
                await bundle_floor.open()
            return await _Bench(region.url, hosts, plan, copy_floor, bundle_floor, say).run()
    finally:
        await hosts.stop()
        await region.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


class _Bench:
    """One data plane's measurements, in order."""

    def __init__(
        self,
        url: str,
        hosts: BenchHosts,
        plan: Plan,
        copy_floor: CopyFloor,
        bundle_floor: BundleFloor | None,
        say: Say,
    ) -> None:
        self._url = url
        self._hosts = hosts
        self._plan = plan
        self._copy_floor = copy_floor
        self._bundle_floor = bundle_floor  # None: these hosts have no switch
        self._say = say
        self._api = Connection(url)

    async def run(self) -> Measured:
        plan = self._plan
        network = self._new_network("serial")
        answered = [self._create_one(network, number)[0] for number in range(plan.serial)]
        in_force = [self._create_in_force(network, number) for number in range(plan.serial)]
        self._say(f"one port in force: p50 {statistics.median(in_force):.2f} ms")
        bodies = [self._one(network, number) for number in range(plan.serial * 4)]
        clients, seconds = in_parallel(self._url, bodies, clients=CLIENTS, path="/v2.0/ports")
        self._say(f"{CLIENTS} clients: {len(clients) / seconds:.0f} ports/s")
        self._create_in_force(
            network, 0
        )  # every host has all of the above by then: it is in none of the batches
        batches = [await self._batch(ports, calls) for ports, calls in plan.batches]
        return Measured(
            data_plane=self._hosts.data_plane,
            hosts=plan.hosts,
            serial_answered=milliseconds(answered),
            serial_in_force=milliseconds(in_force),
            clients=CLIENTS,
            clients_answered=milliseconds(clients),
            clients_ports_per_s=round(len(clients) / seconds, 1),
            batches=tuple(batches),
        )

    async def _batch(self, ports: int, calls: int) -> Batch:
        answered: list[float] = []
        in_force: list[float] = []
        floors: list[float] = []
        bundles: list[float] = []
        for _ in range(calls):
            count = max(1, ports // SPREAD_NETWORK_PORTS) if ports >= SPREAD_PORTS else 1
            networks = [self._new_network(f"batch-{ports}") for _ in range(count)]
            if self._bundle_floor is not None:
                self._bundle_floor.follow()
            answered_ms, in_force_ms, port_ids, revision = self._create(networks, ports)
            answered.append(answered_ms)
            in_force.append(in_force_ms)
            floors.append(await self._copy_floor.measure(port_ids, revision))
            if self._bundle_floor is not None:
                bundles.append(await self._bundle_floor.measure())
        floor = statistics.median(floors)
        bundle = statistics.median(bundles) if bundles else None
        batch = Batch(
            ports=ports,
            calls=calls,
            answered_ms=round(statistics.median(answered), 2),
            in_force_ms=round(statistics.median(in_force), 2),
            copy_floor_ms=round(floor, 2),
            answered_to_copy=round(statistics.median(answered) / floor, 2),
            bundle_floor_ms=None if bundle is None else round(bundle, 2),
            in_force_to_bundle=None if bundle is None else round(statistics.median(in_force) / bundle, 2),
        )
        self._say(
            f"{ports} ports: answered {batch.answered_ms:.0f} ms ({batch.answered_to_copy:.1f}x a raw COPY of "
            f"{floor:.0f} ms), in force {batch.in_force_ms:.0f} ms"
            + ("" if bundle is None else f" ({batch.in_force_to_bundle:.1f}x a raw bundle of {bundle:.0f} ms)")
        )
        return batch

    def _create(self, networks: Sequence[str], ports: int) -> tuple[float, float, list[str], int]:
        """Create ports in one call. Give ms until answered and until in force, the ids, and the revision."""
        each = ports // len(networks)
        bodies = [
            {"network_id": network, "project_id": TENANT, "binding:host_id": host}
            for index, network in enumerate(networks)
            for host in self._hosts_of(index, each, spread=len(networks) > 1)
        ]
        content = msgspec.json.encode({"ports": bodies})
        started = time.perf_counter()
        raw, answered_ms, revision = self._api.exchange("POST", "/v2.0/ports", content)
        self._until_in_force(revision)
        in_force_ms = (time.perf_counter() - started) * 1000
        answer = msgspec.json.decode(raw)
        return answered_ms, in_force_ms, [port["id"] for port in answer["ports"]], revision

    def _create_one(self, network: str, number: int) -> tuple[float, int]:
        """Create a port and give the ms until answered; the next begins when this one is in force."""
        _, answered_ms, revision = self._api.call("POST", "/v2.0/ports", self._one(network, number))
        self._until_in_force(revision)
        return answered_ms, revision

    def _create_in_force(self, network: str, number: int) -> float:
        """Create one port and wait for its truth in the same call; give the milliseconds."""
        path = f"/v2.0/ports?wait=in_force&timeout={IN_FORCE_TIMEOUT_S}"
        answer, took_ms, revision = self._api.call("POST", path, self._one(network, number))
        if not answer["port"]["alcor:in_force"]:
            raise errors.Broken(f"a port is not in force after {IN_FORCE_TIMEOUT_S} s")
        self._until_in_force(revision)
        return took_ms

    def _until_in_force(self, revision: int) -> None:
        """Wait until every host concerned has a revision."""
        path = f"/v2.0/changes/{revision}?wait=in_force&timeout={IN_FORCE_TIMEOUT_S}"
        if not self._api.call("GET", path)[0]["change"]["in_force"]:
            raise errors.Broken(f"revision {revision} is not in force after {IN_FORCE_TIMEOUT_S} s")

    def _one(self, network: str, number: int) -> dict[str, Any]:
        """Ask for one port, on the next of the few hosts that share the network."""
        names = self._hosts.names[:FEW_HOSTS]
        host = names[number % len(names)]
        return {"port": {"network_id": network, "project_id": TENANT, "binding:host_id": host}}

    def _hosts_of(self, network: int, ports: int, *, spread: bool) -> list[str]:
        """Give the host of each port: all hosts in turn, or for each network the next few of them."""
        names = self._hosts.names
        first, count = (network * FEW_HOSTS, FEW_HOSTS) if spread else (0, len(names))
        return [names[(first + number % count) % len(names)] for number in range(ports)]

    def _new_network(self, name: str) -> str:
        """Make a network with a subnet. All are one tenant's, and so are all ports members of one group."""
        body = {"network": {"name": name, "project_id": TENANT}}
        network: str = self._api.call("POST", "/v2.0/networks", body)[0]["network"]["id"]
        subnet = {"network_id": network, "project_id": TENANT, "ip_version": 4, "cidr": "10.0.0.0/16"}
        self._api.call("POST", "/v2.0/subnets", {"subnet": subnet})
        self._api.call("GET", "/v2.0/security-groups", project=TENANT)  # its first use makes the default group
        return network
