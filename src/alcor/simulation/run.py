"""Runs a region from one seed: random operations under faults, then peace, then the comparison."""

import asyncio
import gc
import hashlib
import random
from collections import Counter

import msgspec

from alcor.control_plane.region import OnDemandBounds
from alcor.model import errors
from alcor.runtime import clock
from alcor.runtime.event_log import SILENT, EventLog
from alcor.simulation import checks
from alcor.simulation.cloud import Cloud
from alcor.simulation.faults import Faults
from alcor.simulation.operations import Operation, Operations
from alcor.simulation.virtual_time import VirtualClock, VirtualLoop
from alcor.simulation.workloads import Workloads

HOSTS = 5
IN_FLIGHT_MAX = 6
OPERATION_S = 60.0  # no operation takes longer, whatever goes wrong
PAUSE_S = 0.05  # mean between two operations
LONG_PAUSE = 0.02  # chance of one that lets silences be noticed
CONVERGED_S = 60.0  # from the end of the faults; agents reconnect within 5 s and retry refusals within 10 s
CHECKED_PORTS = 12  # after each operation; all of them from time to time
SHOWN = 8
FEW_PORTS = OnDemandBounds(above=4, below=5)  # without a gap: what a network is does not depend on its past


class Events(msgspec.Struct, frozen=True):
    """What was simulated: frames and calls that arrived, timers that went off, operations and faults.

    `turns`: how often the loop ran something, which is what one event leads to; not counted as events.
    """

    deliveries: int
    timers: int
    operations: int
    turns: int

    @property
    def total(self) -> int:
        return self.deliveries + self.timers + self.operations


class Report(msgspec.Struct, frozen=True):
    """What a run did. `trace` names the whole history: equal for equal seeds."""

    seed: int
    operations: int
    events: Events
    outcomes: dict[str, int]
    faults: dict[str, int]
    revision: int
    ports: int
    dual_stack: int  # of these, with addresses of both IP versions
    virtual_s: float
    converged_s: float
    trace: str
    violations: tuple[str, ...]


def replay_command(seed: int, operations: int, *, on_demand: bool = False) -> str:
    """Give the command that repeats a run."""
    flag = " --on-demand" if on_demand else ""
    return f"python -m alcor.simulation --seed {seed} --operations {operations}{flag}"


def run(seed: int, operations: int, log: EventLog = SILENT, *, on_demand: bool = False) -> Report:
    """Run a region on virtual time. Raises nothing: what goes wrong is in the report.

    `on_demand`: networks are so from a few ports on, and workloads resolve each other.
    """
    loop = VirtualLoop()
    virtual = VirtualClock(loop)
    chance = random.Random(seed)
    collects = gc.isenabled()
    gc.disable()  # it would end forgotten tasks at moments that no seed decides
    try:
        with clock.replaced_sources(random.Random(chance.random()).randbytes, lambda: virtual.now_us() * 1000):
            return loop.run_until_complete(_run(seed, operations, chance, virtual, log, on_demand))
    finally:
        loop.close()
        if collects:
            gc.enable()


async def _run(
    seed: int, operations: int, chance: random.Random, virtual: VirtualClock, log: EventLog, on_demand: bool
) -> Report:
    return await _Run(
        seed, operations, chance, virtual, log, on_demand=on_demand
    ).run()  # its parts want a running loop


class _Run:
    """Owner of one run's region and history."""

    def __init__(
        self,
        seed: int,
        operations: int,
        chance: random.Random,
        virtual: VirtualClock,
        log: EventLog,
        *,
        on_demand: bool,
    ) -> None:
        self._seed = seed
        self._operations = operations
        self._chance = chance
        self._virtual = virtual
        self._log = log
        bounds = FEW_PORTS if on_demand else OnDemandBounds()
        self._cloud = Cloud(virtual, log, chance, hosts=HOSTS, on_demand=bounds)
        faults = Faults(self._cloud, random.Random(chance.random()))
        workloads = Workloads(self._cloud, random.Random(chance.random()), asks=on_demand)
        befalls = [*workloads.table, *faults.table]
        self._drawn = Operations(self._cloud, random.Random(chance.random()), befalls)
        self._outcomes: Counter[str] = Counter()
        self._trace = hashlib.blake2b(digest_size=8)
        self._in_flight: set[asyncio.Task[None]] = set()

    async def run(self) -> Report:
        keeper = asyncio.create_task(self._keep_a_controller())
        try:
            for host in self._cloud.hosts.values():
                host.start_agent()
            for number in range(self._operations):
                await self._one_more()
                await self._check(everything=number % 25 == 0)
                if self._cloud.violations:
                    break
            if self._in_flight:
                await asyncio.wait(self._in_flight)
            converged_s = await self._converge() if not self._cloud.violations else 0.0
            return await self._report(converged_s)
        finally:
            keeper.cancel()
            await self._cloud.stop()

    def _fault_counts(self) -> dict[str, int]:
        hosts = self._cloud.hosts.values()
        return {
            **self._cloud.network.counts,
            **self._cloud.queue.counts,
            "terms": self._cloud.terms_begun,
            "rescues": sum(host.rescues_begun for host in hosts),
            "takeovers": sum(host.fence.takeovers for host in hosts),
            "writes": sum(host.fence.written for host in hosts),
            "writes_fenced": sum(host.fence.refused for host in hosts),
        }

    async def _report(self, converged_s: float) -> Report:
        loop = self._virtual.loop
        ports = await checks.all_ports(self._cloud.store)
        return Report(
            seed=self._seed,
            operations=self._operations,
            events=Events(loop.deliveries, loop.timers, self._outcomes.total(), loop.turns),
            outcomes=dict(sorted(self._outcomes.items())),
            faults=dict(sorted(self._fault_counts().items())),
            revision=await self._cloud.store.revision(),
            ports=len(ports),
            dual_stack=sum(len({len(fixed.ip) for fixed in port.fixed_ips}) == 2 for port in ports),
            virtual_s=round(self._virtual.monotonic_s(), 3),
            converged_s=round(converged_s, 3),
            trace=self._trace.hexdigest(),
            violations=tuple(self._cloud.violations[:SHOWN]),
        )

    async def _one_more(self) -> None:
        operation = self._drawn.draw()
        task = asyncio.create_task(self._carry_out(operation), name=operation.__name__)
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        if len(self._in_flight) >= IN_FLIGHT_MAX:
            await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        pause_s = self._chance.expovariate(1 / PAUSE_S) if self._chance.random() < 0.8 else 0.0
        if self._chance.random() < LONG_PAUSE:
            pause_s = self._chance.uniform(1.0, 12.0)
        await asyncio.sleep(pause_s)

    async def _carry_out(self, operation: Operation) -> None:
        name = operation.__name__
        outcome = "done"
        try:
            async with asyncio.timeout(OPERATION_S):
                await operation()
        except errors.Broken as error:
            outcome = "Broken"
            self._violated(f"{name} ended in Broken: {error.message}")
        except errors.AlcorError as error:
            outcome = error.reason
        except TimeoutError:
            outcome = "timeout"
            self._violated(f"{name} took more than {OPERATION_S} s")
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be
            outcome = type(error).__name__
            self._violated(f"{name} raised {error!r}")
            self._log.error("operation_failed", operation=name, error=repr(error))
        self._outcomes["done" if outcome == "done" else f"refused: {outcome}"] += 1
        self._note(f"{name} {outcome}")

    def _violated(self, sentence: str) -> None:
        self._cloud.violations.append(sentence)

    def _note(self, event: str) -> None:
        self._trace.update(f"{self._virtual.monotonic_s():.9f} {event}\n".encode())
        self._log.debug("operation", at_s=self._virtual.monotonic_s(), event_text=event)

    async def _check(self, *, everything: bool) -> None:
        ports = await checks.all_ports(self._cloud.store)
        if not everything:
            ports = self._chance.sample(ports, min(len(ports), CHECKED_PORTS))
        for sentence in checks.untruths(self._cloud, ports):
            self._violated(f"at {self._virtual.monotonic_s():.3f} s: {sentence}")
        for term in self._cloud.terms:
            term.controller.convergence.hosts()
        self._note(f"revision {await self._cloud.store.revision()}")

    async def _keep_a_controller(self) -> None:
        """Start a controller whenever there is none, as whatever supervises processes does."""
        while True:
            if not self._cloud.newest_is_alive:
                try:
                    await self._cloud.start_controller()
                except errors.Unavailable:
                    self._note("no controller")
            if any(term.controller.failed.is_set() for term in self._cloud.terms):
                self._violated("a task of the controller failed")
            await asyncio.sleep(0.3)

    async def _converge(self) -> float:
        """End the faults and wait until all is as the final state demands; give how long it took."""
        begun_s = self._virtual.monotonic_s()
        await self._cloud.heal()
        for host in self._cloud.hosts.values():
            if not host.is_running:
                host.start_agent()
        while True:
            await asyncio.sleep(0.5)
            controller = self._cloud.controller
            found = (
                ["no controller runs"]
                if controller is None
                else await checks.differences(self._cloud, controller)
            )
            taken_s = self._virtual.monotonic_s() - begun_s
            await self._check(everything=True)
            if not found or self._cloud.violations:
                return taken_s
            if taken_s > CONVERGED_S:
                for sentence in found:
                    self._violated(f"{CONVERGED_S:.0f} s after the faults ended: {sentence}")
                return taken_s
