"""Runs a region from one seed: random operations under faults, then peace, then the comparison."""

import asyncio
import gc
import hashlib
import random
import traceback
from collections import Counter
from typing import Any

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
STOPPED_S = 60.0  # from then on what does not end is said not to
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
    """Run a region on virtual time. Raises nothing: what goes wrong is in the report, our own mistakes too.

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
    except Exception as error:  # noqa: BLE001  # a seed that names no command to repeat it is lost
        return _broken(seed, loop, error)
    finally:
        loop.close()
        if collects:
            gc.enable()


def _broken(seed: int, loop: VirtualLoop, error: Exception) -> Report:
    """Report a run that could not even come to its end: nothing is known but when, and why."""
    return Report(
        seed=seed,
        operations=0,
        events=Events(loop.deliveries, loop.timers, 0, loop.turns),
        outcomes={},
        faults={},
        revision=0,
        ports=0,
        dual_stack=0,
        virtual_s=round(loop.now_s, 3),
        converged_s=0.0,
        trace="",
        violations=(_sentence("the run", error),),
    )


def _sentence(what: str, error: BaseException) -> str:
    """Say that something raised, and where."""
    return f"{what} raised {error!r}\n{''.join(traceback.format_exception(error)).rstrip()}"


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
        self._resync_waits = 0  # how often a controller was seen to let hosts wait for their turn
        self._in_flight: set[asyncio.Task[None]] = set()

    async def run(self) -> Report:
        self._virtual.loop.set_exception_handler(self._unhandled)
        keeper = asyncio.create_task(self._keep_a_controller(), name="keeper")
        converged_s = 0.0
        try:
            converged_s = await self._history()
        except Exception as error:  # noqa: BLE001  # the report is to say of it, and how to repeat it
            self._violated(_sentence(f"at {self._virtual.monotonic_s():.3f} s: the run", error))
        report = await self._report(converged_s)
        await self._end(keeper)
        return msgspec.structs.replace(report, violations=tuple(self._cloud.violations[:SHOWN]))

    async def _history(self) -> float:
        """Carry out all operations, then converge; give how long that took."""
        for host in self._cloud.hosts.values():
            host.start_agent()
        for number in range(self._operations):
            await self._one_more()
            await self._check(everything=number % 25 == 0)
            if self._cloud.violations:
                break
        if self._in_flight:
            await asyncio.wait(self._in_flight)
        return await self._converge() if not self._cloud.violations else 0.0

    async def _end(self, keeper: asyncio.Task[None]) -> None:
        """End everything; what does not end, or raises, is found out too."""
        keeper.cancel()
        await asyncio.wait((keeper,), timeout=STOPPED_S)
        if keeper.done() and not keeper.cancelled() and (error := keeper.exception()) is not None:
            self._violated(_sentence("the keeper of controllers", error))
        try:
            async with asyncio.timeout(STOPPED_S):
                await self._cloud.stop()
        except TimeoutError:
            self._violated(f"the region did not stop within {STOPPED_S:.0f} s")
        except Exception as error:  # noqa: BLE001  # as above
            self._violated(_sentence("stopping the region", error))

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Hear what no one else does: of callbacks that raised, and tasks that nobody waited for."""
        error = context.get("exception")
        task: asyncio.Task[Any] | None = context.get("task") or context.get("future")
        name = task.get_name() if isinstance(task, asyncio.Task) else ""
        about = f"{context['message']} {name}".rstrip()
        self._violated(about if error is None else _sentence(about, error))

    def _fault_counts(self) -> dict[str, int]:
        hosts = self._cloud.hosts.values()
        return {
            **self._cloud.network.counts,
            **self._cloud.queue.counts,
            **sum((host.disk.counts for host in hosts), Counter()),
            "api_crashes": self._cloud.apis_crashed,
            "store_crashes": self._cloud.store_server.crashes,
            "resync_waits": self._resync_waits,
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
            violations=(),  # they are complete only when everything has ended
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
            self._violated(_sentence(name, error))
            self._log.error("operation_failed", operation=name, reason=repr(error))
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
            self._resync_waits += term.controller.resync().waiting > 0
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
