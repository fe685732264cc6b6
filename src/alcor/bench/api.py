"""What a request costs the API, with 1,000 and with 1,000,000 ports stored.

    promise                                                aim
    get a port by id                                       3,000 per second of one core
    list 1,000 ports                                       30 ms of one core
    any of them with a million stored, against a thousand  at most 20 % slower

Two regions are alive, one of each size. They take turns, a slice of requests of each kind, so that what else
the machine does strikes both. The robust figure is processor time: of the process that serves the API, and of
its store. Ports are of a few tenants, 1,000 in a network, 50 on a host, two of a device; hosts have no agents.

Floors, in the same run: reading the row by its key with the bare driver; an empty application that answers as
many bytes. Beside them a process that serves the API alone (`alcor api`), and asks the large one's controller.
"""

import asyncio
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from rich.table import Table

from alcor.adapters.postgres.embedded import EmbeddedPostgres
from alcor.bench import ratios, used
from alcor.bench.http_load import Load, request
from alcor.bench.ratios import Ratio
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.lab.children import Child, alcor_command
from alcor.lab.percentiles import Milliseconds, milliseconds
from alcor.lab.region_process import RegionProcess, free_port
from alcor.model import errors

NETWORK_PORTS = 1_000
HOST_PORTS = 50
DEVICE_PORTS = 2
TENANT_NETWORKS = 100
CONNECTIONS = 4  # for what is asked by many at once; lists of 1,000 come one at a time
KNOWN_NETWORKS = 20  # that requests are made from
WAIT_S = 60.0


class Plan(msgspec.Struct, frozen=True):
    """How much each region stores, how many slices there are, and how many requests in each."""

    small: int
    large: int
    slices: int
    requests: int
    lists: int


PLANS = {"quick": Plan(1_000, 20_000, 3, 200, 5), "full": Plan(1_000, 1_000_000, 9, 600, 12)}


class Side(msgspec.Struct, frozen=True):
    """One kind of request, to one process. Processor milliseconds are for each request, medians of slices."""

    per_s: float
    took: Milliseconds
    api_ms: float  # of the process that serves the API
    store_ms: float

    def cells(self) -> tuple[str, ...]:
        """Give its part of a row."""
        return (
            f"{self.per_s:.0f}",
            f"{self.took.p50:.2f}",
            f"{self.took.p99:.2f}",
            f"{self.api_ms:.3f}",
            f"{self.store_ms:.3f}",
        )


class Kind(msgspec.Struct, frozen=True):
    """One kind of request. Ratios: large to small, above 1 is slower."""

    name: str
    answer_bytes: int
    small: Side
    large: Side
    slowdown: Ratio  # of the seconds a slice took
    processor_slowdown: Ratio  # of API and store together


class Floor(msgspec.Struct, frozen=True):
    """What cannot be avoided: for each, milliseconds of the answering process."""

    name: str
    per_s: float
    processor_ms: float


class Api(msgspec.Struct, frozen=True):
    """The file that `alcor bench api --json` writes."""

    environment: Environment
    stored: tuple[int, int]
    fill_s: float
    kinds: tuple[Kind, ...]
    alone: dict[str, Side]  # by `alcor api`, on the large region
    floors: tuple[Floor, ...]

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table("request", "stored", "per s", "p50 ms", "p99 ms", "API ms", "store ms", "large to small")
        for kind in self.kinds:
            time, worked = kind.slowdown, kind.processor_slowdown
            ratio = f"time {time.value:.2f}, processor {worked.value:.2f}"
            for stored, side, shown in zip(self.stored, (kind.small, kind.large), ("", ratio), strict=True):
                table.add_row(kind.name, str(stored), *side.cells(), shown)
        for name, side in self.alone.items():
            table.add_row(f"{name}, alcor api", str(self.stored[1]), *side.cells(), "")
        for floor in self.floors:
            table.add_row(floor.name, "", f"{floor.per_s:.0f}", "", "", f"{floor.processor_ms:.3f}", "", "")
        table.caption = "API, store: milliseconds of a core for each request, of the process and of its store"
        return [table]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        small, large = (f"{stored} stored" for stored in self.stored)
        by_name = {kind.name: kind for kind in self.kinds}
        floors = {floor.name: floor for floor in self.floors}
        quick = [kind for kind in self.kinds if not kind.name.startswith("list")]
        worked = {
            small: [kind.small.api_ms for kind in quick],
            large: [kind.large.api_ms for kind in quick],
        }
        listed = by_name["list 1,000"]
        long = {"": [listed.small.api_ms, listed.large.api_ms, floors["empty answer: list 1,000"].processor_ms]}
        slower = {
            "time": [kind.slowdown.value for kind in self.kinds],
            "processor": [kind.processor_slowdown.value for kind in self.kinds],
        }
        labels = tuple(kind.name.replace(" ", "\n") for kind in quick)
        return [
            Panel("API process, each request", "ms of a core", labels, worked, aim=1000 / 3000),
            Panel("list of 1,000 ports", "ms of a core", (small, large, "empty answer"), long, aim=30),
            Panel(
                f"{self.stored[1]} stored to {self.stored[0]}",
                "ratio",
                tuple(kind.name.replace(" ", "\n") for kind in self.kinds),
                slower,
                aim=1.2,
            ),
        ]


class _Slice(msgspec.Struct, frozen=True):
    seconds: float
    api_s: float
    store_s: float
    took_ms: Sequence[float]
    answer_bytes: int


async def run(size: str, say: Say) -> Api:
    """Measure; `say` hears of progress."""
    where, plan = environment(), PLANS[size]
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    directory.chmod(0o755)  # the embedded database runs as another user
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        load = Load()
        stack.callback(load.close)
        sides = [await _Stored.start(directory / name, load, stack) for name in ("small", "large")]
        started = time.perf_counter()
        for side, count in zip(sides, (plan.small, plan.large), strict=True):
            await asyncio.to_thread(side.fill, count, say)
        fill_s = time.perf_counter() - started
        alone = await _start_alone(sides[1], directory, stack)
        empty_url, empty = await _start_empty(directory, stack)
        measured = await asyncio.to_thread(_measure, plan, sides, say)
        kinds = tuple(_kind(name, slices) for name, slices in measured.items())
        sizes = {kind.name: kind.answer_bytes for kind in kinds}
        return Api(
            environment=where,
            stored=(plan.small, plan.large),
            fill_s=round(fill_s, 1),
            kinds=kinds,
            alone=await asyncio.to_thread(_measure_alone, plan, sides[1], alone),
            floors=(
                await _row_floor(sides[1], plan),
                await asyncio.to_thread(_empty_floor, load, empty_url, empty.pid, "get", sizes, plan),
                await asyncio.to_thread(_empty_floor, load, empty_url, empty.pid, "list 1,000", sizes, plan),
            ),
        )


class _Stored:
    """One region, its store, and what is known of the ports in it."""

    def __init__(self, region: RegionProcess, database: EmbeddedPostgres, socket: str, load: Load) -> None:
        self.region = region
        self.socket = socket
        self.dsn = database.dsn
        self.known: list[dict[str, Any]] = []  # ports that requests are made from
        self._database = database
        self._load = load
        self._chance = random.Random(1)

    @classmethod
    async def start(cls, directory: Path, load: Load, stack: contextlib.AsyncExitStack) -> "_Stored":
        directory.mkdir(mode=0o755)
        database = EmbeddedPostgres(directory / "postgres")
        stack.push_async_callback(database.stop)
        dsn = await database.start()
        socket = f"unix://{directory / 'api.sock'}"
        region = RegionProcess(
            directory / "region", database=dsn, queue="none", options=("--api-processes", socket)
        )
        stack.push_async_callback(region.stop)
        await region.start()
        return cls(region, database, socket, load)

    def fill(self, count: int, say: Say) -> None:
        """Store so many ports, 10,000 in a call."""
        networks = count // NETWORK_PORTS
        keep = set(self._chance.sample(range(networks), min(networks, KNOWN_NETWORKS)))
        for first in range(0, networks, 10):
            numbers = range(first, min(first + 10, networks))
            wanted = [port for number in numbers for port in self._new_network(number)]
            answer = self._ask("POST", "/v2.0/ports", {"ports": wanted})["ports"]
            for number, start in zip(numbers, range(0, len(answer), NETWORK_PORTS), strict=True):
                if number in keep:
                    self.known += answer[start : start + NETWORK_PORTS]
            if first % 100 == 0 and count > 10_000:
                say(f"{first * NETWORK_PORTS} of {count} ports stored")

    def _new_network(self, number: int) -> list[dict[str, Any]]:
        who = {"project_id": f"tenant-{number // TENANT_NETWORKS}"}
        network = self._ask("POST", "/v2.0/networks", {"network": {"name": "stored", **who}})["network"]["id"]
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/16", **who}
        self._ask("POST", "/v2.0/subnets", {"subnet": subnet})
        first = number * NETWORK_PORTS
        return [
            {
                "network_id": network,
                "name": f"port-{at}",
                "device_id": f"vm-{at // DEVICE_PORTS}",
                "device_owner": "compute:nova",
                "binding:host_id": f"far-{at // HOST_PORTS}",
                **who,
            }
            for at in range(first, first + NETWORK_PORTS)
        ]

    def _ask(self, method: str, path: str, body: object) -> Any:
        outcome = self._load.send(self.region.url, [request(method, path, body)], connections=1)
        return msgspec.json.decode(outcome.bodies[0])

    def kinds(self, plan: Plan) -> dict[str, list[bytes]]:
        """Make the requests of one slice, by kind, in the order in which they are to be sent."""
        return {
            "get": self._reads(plan.requests, lambda port: f"/{port['id']}"),
            "list 1,000": self._reads(plan.lists, lambda port: f"?network_id={port['network_id']}"),
            "by device": self._reads(plan.requests, lambda port: f"?device_id={port['device_id']}"),
            "by address": self._reads(
                plan.requests,
                lambda port: "?fixed_ips=ip_address={ip_address}&fixed_ips=subnet_id={subnet_id}".format(
                    **port["fixed_ips"][0]
                ),
            ),
            "by MAC": self._reads(plan.requests, lambda port: f"?mac_address={port['mac_address']}"),
            "by name": self._reads(plan.requests, lambda port: f"?name={port['name']}"),
            "by host": self._reads(
                plan.requests, lambda port: f"?binding:host_id={port['binding:host_id']}", is_admin=True
            ),
            "create": self._creates(plan.requests),
        }

    def send(
        self, requests: Sequence[bytes], *, url: str = "", pid: int = 0, connections: int = CONNECTIONS
    ) -> tuple[_Slice, list[bytes]]:
        """Send requests, by default to the region's own process; give what they cost and the answers."""
        pid = pid or self.region.child.pid
        api_s, store_s = used.running_s(pid), self._store_s()
        outcome = self._load.send(url or self.region.url, requests, connections=connections)
        cost = _Slice(
            outcome.seconds,
            used.running_s(pid) - api_s,
            self._store_s() - store_s,
            outcome.took_ms,
            len(outcome.bodies[0]),
        )
        return cost, outcome.bodies

    def slice(self, plan: Plan) -> dict[str, _Slice]:
        """Send one slice of each kind; what was created is changed, then deleted."""
        found = {}
        made: list[dict[str, Any]] = []
        for name, requests in self.kinds(plan).items():
            connections = 1 if name.startswith("list") else CONNECTIONS
            found[name], bodies = self.send(requests, connections=connections)
            if name == "create":
                made = [msgspec.json.decode(body)["port"] for body in bodies]
        path = "/v2.0/ports/{id}"
        renamed = {"port": {"name": "renamed"}}
        for name, method, body in (("update", "PUT", renamed), ("delete", "DELETE", None)):
            requests = [
                request(method, path.format(**port), body, project=port["project_id"], is_admin=False)
                for port in made
            ]
            found[name], _ = self.send(requests)
        return found

    def _reads(
        self, count: int, ending: Callable[[dict[str, Any]], str], *, is_admin: bool = False
    ) -> list[bytes]:
        ports = self._chance.choices(self.known, k=count)
        return [
            request("GET", f"/v2.0/ports{ending(port)}", project=port["project_id"], is_admin=is_admin)
            for port in ports
        ]

    def _creates(self, count: int) -> list[bytes]:
        ports = self._chance.choices(self.known, k=count)
        return [
            request(
                "POST",
                "/v2.0/ports",
                {"port": {"network_id": port["network_id"], "device_id": "made"}},
                project=port["project_id"],
                is_admin=False,
            )
            for port in ports
        ]

    def _store_s(self) -> float:
        assert self._database.pid is not None, "it runs as long as we measure"
        return sum(used.running_s(pid) for pid in used.family(self._database.pid))


def _measure(plan: Plan, sides: Sequence[_Stored], say: Say) -> dict[str, list[list[_Slice]]]:
    """Give the slices of each kind: of the small side, of the large."""
    found: dict[str, list[list[_Slice]]] = {}
    for side in sides:
        side.slice(plan)  # both have met the code by then
    for number in range(plan.slices):
        for at in (0, 1) if number % 2 == 0 else (1, 0):
            for name, cost in sides[at].slice(plan).items():
                found.setdefault(name, [[], []])[at].append(cost)
        say(f"slice {number + 1} of {plan.slices}")
    return found


def _kind(name: str, slices: Sequence[Sequence[_Slice]]) -> Kind:
    small, large = slices
    return Kind(
        name=name,
        answer_bytes=large[0].answer_bytes,
        small=_side(small),
        large=_side(large),
        slowdown=ratios.of_medians(*([each.seconds for each in side] for side in (large, small))),
        processor_slowdown=ratios.of_medians(
            *([each.api_s + each.store_s for each in side] for side in (large, small))
        ),
    )


def _side(slices: Sequence[_Slice]) -> Side:
    each = len(slices[0].took_ms)
    return Side(
        per_s=round(each / statistics.median(one.seconds for one in slices)),
        took=milliseconds([took for one in slices for took in one.took_ms]),
        api_ms=round(1000 * statistics.median(one.api_s for one in slices) / each, 3),
        store_ms=round(1000 * statistics.median(one.store_s for one in slices) / each, 3),
    )


def _measure_alone(plan: Plan, side: _Stored, alone: "_Alone") -> dict[str, Side]:
    found: dict[str, list[_Slice]] = {}
    for _ in range(plan.slices):
        kinds = side.kinds(plan)
        for name in ("get", "list 1,000"):
            connections = 1 if name.startswith("list") else CONNECTIONS
            cost, _ = side.send(kinds[name], url=alone.url, pid=alone.pid, connections=connections)
            found.setdefault(name, []).append(cost)
    return {name: _side(slices) for name, slices in found.items()}


class _Alone(msgspec.Struct, frozen=True):
    url: str
    pid: int


async def _start_alone(side: _Stored, directory: Path, stack: contextlib.AsyncExitStack) -> _Alone:
    url = f"http://127.0.0.1:{free_port()}"
    command = alcor_command("api", "--database", side.dsn, "--controller", side.socket)
    command += ["--data-dir", str(directory), "--listen", url.removeprefix("http://")]
    child = Child("an API process", command, directory / "api.log")
    await child.start()
    stack.push_async_callback(child.stop)
    await _connected(int(url.rpartition(":")[2]), child)
    return _Alone(url, child.pid)


async def _start_empty(directory: Path, stack: contextlib.AsyncExitStack) -> tuple[str, Child]:
    port = free_port()
    child = Child(
        "the empty API", [sys.executable, "-m", "alcor.bench.empty_api", str(port)], directory / "empty.log"
    )
    await child.start()
    stack.push_async_callback(child.stop)
    await _connected(port, child)
    return f"http://127.0.0.1:{port}", child


async def _connected(port: int, child: Child) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            child.require_alive()
            if time.monotonic() > deadline:
                raise errors.Unavailable(f"{child.name} does not listen", retry_after_s=1) from error
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def _row_floor(side: _Stored, plan: Plan) -> Floor:
    """Read the rows of ports with the bare driver, from this process, as many at once as clients ask for."""
    pool = await asyncpg.create_pool(side.dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    ids = [port["id"] for port in side.known]
    rates, worked = [], []
    try:
        for _ in range(plan.slices):
            todo = iter(random.choices(ids, k=plan.requests))

            async def read(session: asyncpg.Connection, todo: Any = todo) -> None:
                for id_ in todo:
                    await session.fetchrow("SELECT body FROM ports WHERE id = $1", id_)

            async with contextlib.AsyncExitStack() as stack:
                sessions = [await stack.enter_async_context(pool.acquire()) for _ in range(CONNECTIONS)]
                reads: list[Awaitable[None]] = [read(session) for session in sessions]
                before, started = time.process_time(), time.perf_counter()
                await asyncio.gather(*reads)
                rates.append(plan.requests / (time.perf_counter() - started))
                worked.append(time.process_time() - before)
    finally:
        await pool.close()
    return Floor("read the row", round(statistics.median(rates)), _ms_each(worked, plan.requests))


def _empty_floor(load: Load, url: str, pid: int, name: str, sizes: dict[str, int], plan: Plan) -> Floor:
    count = plan.requests if name == "get" else plan.lists
    requests = [request("GET", f"/{sizes[name]}")] * count
    connections = CONNECTIONS if name == "get" else 1
    rates, worked = [], []
    load.send(url, requests, connections=connections)
    for _ in range(plan.slices):
        before = used.running_s(pid)
        outcome = load.send(url, requests, connections=connections)
        rates.append(count / outcome.seconds)
        worked.append(used.running_s(pid) - before)
    return Floor(f"empty answer: {name}", round(statistics.median(rates)), _ms_each(worked, count))


def _ms_each(worked: Sequence[float], count: int) -> float:
    return round(1000 * statistics.median(worked) / count, 3)
