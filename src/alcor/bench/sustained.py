"""Batches of ports, one after the other, with 1.2 million ports stored: against the same with an empty store.

    promise                                                   aim
    ports acknowledged (API answers) per second and process   20,000
    with 1.2 million ports stored                             at most 10 % slower than empty

Two regions are alive: one filled through its API, one empty. They take turns, a slice of batches each, so
that what else the machine does strikes both; each pair of slices gives a ratio. Batches are of 10,000 ports
in networks of 1,000, each a tenant's own, as what is stored is. Hosts have no agents: this is about the API
and the store.
"""

import asyncio
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from alcor.bench import ratios, used
from alcor.bench.load import Connection
from alcor.bench.ratios import Quartiles, Ratio
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.lab.region_process import RegionProcess
from alcor.model import errors

BATCH_PORTS = 10_000
NETWORK_PORTS = 1_000
NETWORK_HOSTS = 10
CLIENTS = 2  # one call is answered while the next is read
FAR_HOSTS = 1_000


class Plan(msgspec.Struct, frozen=True):
    """How much is stored, how many slices each region gets, and how many batches are in a slice."""

    stored: int
    slices: int
    batches: int


PLANS = {"quick": Plan(50_000, 3, 2), "standard": Plan(200_000, 6, 2), "full": Plan(1_200_000, 8, 3)}


class Side(msgspec.Struct, frozen=True):
    """One region. Rates are of slices; processor seconds are the region process's own, without its store's."""

    ports_before: int
    ports_after: int
    ports_per_s: Quartiles
    ports_per_processor_s: Quartiles
    store_processor_s_per_batch: float
    region_memory_mib: float


class Sustained(msgspec.Struct, frozen=True):
    """The file that `alcor bench sustained --json` writes. Ratios: full to empty, above 1 is slower."""

    environment: Environment
    batch_ports: int
    fill_s: float
    fill_ports_per_s: float
    empty: Side
    full: Side
    slowdown: Ratio  # of the seconds a slice took
    slowdown_of_pairs: Quartiles  # of each slice of the full to its neighbour of the empty
    processor_slowdown: Ratio  # of the region process's processor seconds

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table("region", "stored", "ports/s", "per processor second", "MiB")
        for name, side in (("empty", self.empty), ("full", self.full)):
            rate, worked = side.ports_per_s, side.ports_per_processor_s
            table.add_row(
                name,
                f"{side.ports_before} to {side.ports_after}",
                f"{rate.median:.0f} ({rate.lower:.0f} to {rate.upper:.0f})",
                f"{worked.median:.0f} ({worked.lower:.0f} to {worked.upper:.0f})",
                f"{side.region_memory_mib:.0f}",
            )
        slow, pairs, worked_ratio = self.slowdown, self.slowdown_of_pairs, self.processor_slowdown
        table.caption = (
            f"full to empty: {slow.value:.2f}x as long ({slow.low:.2f} to {slow.high:.2f} with 95 %); pairs "
            f"{pairs.lower:.2f}, {pairs.median:.2f}, {pairs.upper:.2f}; processor {worked_ratio.value:.2f}x"
        )
        return [table]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        sides = (self.empty, self.full)
        labels = tuple(f"{side.ports_before}\nstored" for side in sides)
        rates = {
            "wall": [side.ports_per_s.median for side in sides],
            "region's processor": [side.ports_per_processor_s.median for side in sides],
        }
        slow, worked = self.slowdown, self.processor_slowdown
        ratio = {
            "95 % from": [slow.low, worked.low],
            "full to empty": [slow.value, worked.value],
            "95 % to": [slow.high, worked.high],
        }
        return [
            Panel("batches of 10,000", "ports per second", labels, rates, aim=20_000),
            Panel("slower when full", "ratio", ("time", "processor"), ratio, aim=1.1),
        ]


async def run(size: str, say: Say) -> Sustained:
    """Measure; `say` hears of progress."""
    where, plan = environment(), PLANS[size]
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    regions = [RegionProcess(directory / name, queue="none") for name in ("empty", "full")]
    try:
        for region in regions:
            region.directory.mkdir(mode=0o755)
            await region.start()
        return await asyncio.to_thread(_measure, where, plan, [_Feed(region) for region in regions], say)
    finally:
        await asyncio.gather(*(region.stop() for region in regions))
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def _measure(where: Environment, plan: Plan, feeds: list["_Feed"], say: Say) -> Sustained:
    empty, full = feeds
    started = time.perf_counter()
    full.send(full.prepare(plan.stored // BATCH_PORTS))
    fill_s = time.perf_counter() - started
    say(f"{plan.stored} ports stored in {fill_s:.0f} s")
    empty.send(empty.prepare(1))  # both have met the code by then
    before = [feed.ports for feed in feeds]
    slices: list[list[_Slice]] = [[], []]
    for number in range(plan.slices):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for side in order:
            slices[side].append(feeds[side].slice(plan.batches))
        pair = slices[1][-1].seconds / slices[0][-1].seconds
        rates = [plan.batches * BATCH_PORTS / some[-1].seconds for some in slices]
        say(f"empty {rates[0]:.0f} ports/s, full {rates[1]:.0f} ports/s: {pair:.2f}x as long")
    times = [[each.seconds for each in some] for some in slices]
    worked = [[each.region_s for each in some] for some in slices]
    return Sustained(
        environment=where,
        batch_ports=BATCH_PORTS,
        fill_s=round(fill_s, 1),
        fill_ports_per_s=round(plan.stored / fill_s),
        empty=_side(empty, before[0], slices[0], plan),
        full=_side(full, before[1], slices[1], plan),
        slowdown=ratios.of_medians(times[1], times[0]),
        slowdown_of_pairs=ratios.quartiles([full / empty for empty, full in zip(*times, strict=True)]),
        processor_slowdown=ratios.of_medians(worked[1], worked[0]),
    )


def _side(feed: "_Feed", before: int, slices: Sequence["_Slice"], plan: Plan) -> Side:
    ports = plan.batches * BATCH_PORTS
    return Side(
        ports_before=before,
        ports_after=feed.ports,
        ports_per_s=ratios.quartiles([ports / each.seconds for each in slices]),
        ports_per_processor_s=ratios.quartiles([ports / each.region_s for each in slices]),
        store_processor_s_per_batch=round(statistics.median(each.store_s for each in slices) / plan.batches, 3),
        region_memory_mib=round(used.memory_mib(feed.region.child.pid), 1),
    )


class _Slice(msgspec.Struct, frozen=True):
    """Some batches of one region: the seconds until all were answered, and processor seconds."""

    seconds: float
    region_s: float
    store_s: float


class _Feed:
    """One region's load. Owner of its connections and of the tenants that it makes."""

    def __init__(self, region: RegionProcess) -> None:
        self.region = region
        self.ports = 0
        self._connections = [Connection(region.url) for _ in range(CLIENTS)]
        self._tenants = 0

    def slice(self, batches: int) -> _Slice:
        """Send so many batches and wait for their answers."""
        bodies = self.prepare(batches)
        pid = self.region.child.pid
        region_s, store_s = used.processor_s(pid), self._store_s(pid)
        started = time.perf_counter()
        self.send(bodies)
        seconds = time.perf_counter() - started
        return _Slice(seconds, used.processor_s(pid) - region_s, self._store_s(pid) - store_s)

    def prepare(self, batches: int) -> list[bytes]:
        """Make tenants with their networks, and the requests for their ports."""
        each = BATCH_PORTS // NETWORK_PORTS
        networks = [self._new_network() for _ in range(batches * each)]
        return [
            msgspec.json.encode({"ports": [port for one in networks[first : first + each] for port in one]})
            for first in range(0, len(networks), each)
        ]

    def send(self, bodies: Sequence[bytes]) -> None:
        """Send requests over all connections; give back when all are answered."""
        todo = iter(bodies)
        lock = threading.Lock()
        failures: list[BaseException] = []

        def work(connection: Connection) -> None:
            while not failures:
                with lock:
                    body = next(todo, None)
                if body is None:
                    return
                try:
                    connection.post_raw("/v2.0/ports", body)
                except (errors.AlcorError, OSError) as error:  # told by the thread that waits
                    failures.append(error)

        threads = [threading.Thread(target=work, args=(connection,)) for connection in self._connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        self.ports += len(bodies) * BATCH_PORTS

    def _new_network(self) -> list[dict[str, Any]]:
        """Make a network of a tenant of its own; give its ports as they are asked for."""
        tenant = f"tenant-{self._tenants}"
        first_host = self._tenants * NETWORK_HOSTS
        self._tenants += 1
        api = self._connections[0]
        body = {"network": {"name": "stored", "project_id": tenant}}
        network: str = api.call("POST", "/v2.0/networks", body)[0]["network"]["id"]
        subnet = {"network_id": network, "project_id": tenant, "ip_version": 4, "cidr": "10.0.0.0/16"}
        api.call("POST", "/v2.0/subnets", {"subnet": subnet})
        api.call("GET", "/v2.0/security-groups", project=tenant)  # its first use makes the default group
        return [
            {
                "network_id": network,
                "project_id": tenant,
                "binding:host_id": f"far-{(first_host + number % NETWORK_HOSTS) % FAR_HOSTS}",
            }
            for number in range(NETWORK_PORTS)
        ]

    def _store_s(self, pid: int) -> float:
        return sum(used.processor_s(each) for each in used.family(pid) if each != pid)
