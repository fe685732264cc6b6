"""One host: a real agent over the simulated data plane, with a disk, workloads, and things that go wrong."""

import asyncio
import random
from collections.abc import Callable, Sequence

from alcor.contracts.data_plane import DataPlaneEvents, HostFacts, Refusal
from alcor.contracts.queue import AgentQueue
from alcor.data_plane.simulated.driver import SimulatedDataPlane
from alcor.data_plane.simulated.fabric import Fabric
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.host_agent import journal
from alcor.host_agent.agent import Agent, Connect
from alcor.model import errors
from alcor.model.goal_state import HostState, SectionKey, SectionUpdate
from alcor.model.ids import HostId, PortId
from alcor.model.version import Version
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog

_COMPACT_BYTES = 16 * 1024  # early, so that a short run compacts often
_SLOW_S = 0.02
_UNANSWERED = 0.003  # chance that the data plane does what it is told, and the answer is lost
Violation = Callable[[str], None]


class Disk:
    """What an agent leaves behind. Implements `Journal`; owner of the bytes."""

    def __init__(self) -> None:
        self.data = b""
        self._snapshot_size = 0

    def load(self) -> HostState:
        state, size = journal.replay(self.data)
        self.data = self.data[:size]
        return state

    def append(self, frames: Sequence[bytes]) -> None:
        self.data += b"".join(map(journal.record, frames))

    @property
    def wants_compaction(self) -> bool:
        return len(self.data) > max(_COMPACT_BYTES, 3 * self._snapshot_size)

    def compact(self, state: HostState) -> None:
        self.data = journal.snapshot(state)
        self._snapshot_size = len(self.data)

    def close(self) -> None:
        pass


class WatchedDataPlane:
    """The simulated data plane, slow and fallible, watched for versions that go back (law 2)."""

    name = "simulated"

    def __init__(self, host: "ComputeHost", driver: SimulatedDataPlane, chance: random.Random) -> None:
        self.driver = driver
        self.is_lost = False
        self._host = host
        self._chance = chance
        self._events: DataPlaneEvents | None = None

    async def start(self, events: DataPlaneEvents) -> None:
        self._events = events
        await self.driver.start(events)

    async def synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        await self._reach()
        self._host.state = state
        for key, version in sorted(state.versions.items()):
            self._host.note_version(key, version)
        refused = await self.driver.synchronise(state, remove=remove)
        return [*refused, *self._refusals(sorted(state.sections))]

    async def apply(self, state: HostState, updates: Sequence[SectionUpdate]) -> Sequence[Refusal]:
        await self._reach()
        self._host.state = state
        for update in updates:
            self._host.note_version(update.key, update.version)
        refusals = self._refusals(sorted({update.key for update in updates} & state.sections.keys()))
        refused = {refusal.key for refusal in refusals}
        taken = [update for update in updates if update.key not in refused]
        more = await self.driver.apply(state, taken)
        if self._host.faulty and self._chance.random() < _UNANSWERED:
            raise errors.Unavailable("the data plane's answer was lost", retry_after_s=1)
        return [*more, *refusals]

    def grant(self, token: int) -> None:
        self.driver.grant(token)

    def plugged_ports(self) -> Sequence[PortId]:
        return self.driver.plugged_ports()

    async def close(self) -> None:
        self._events = None
        await self.driver.close()

    def lose(self) -> None:
        """Stop answering."""
        self.is_lost = True
        if self._events is not None:
            self._events.lost("the switch has gone")

    def come_back(self) -> None:
        """Answer again."""
        self.is_lost = False
        if self._events is not None:
            self._events.ready()

    def _refusals(self, keys: Sequence[SectionKey]) -> list[Refusal]:
        return [Refusal(key, "the switch says no") for key in keys if key in self._host.refuses]

    async def _reach(self) -> None:
        if self._host.faulty:
            await asyncio.sleep(self._chance.random() ** 4 * _SLOW_S)
        if self.is_lost:
            raise errors.Unavailable("the data plane does not answer", retry_after_s=1)


class ComputeHost:
    """Owner of one host: its switch, its disk and its agent's life."""

    def __init__(
        self,
        facts: HostFacts,
        fabric: Fabric,
        connect: Connect,
        agent_queue: AgentQueue,
        clock: Clock,
        log: EventLog,
        chance: random.Random,
        violation: Violation,
    ) -> None:
        self.id: HostId = facts.host
        self.facts = facts
        self.faulty = True
        self.disk = Disk()
        self.state = HostState()  # as its agent last showed it to the data plane
        self.refuses: set[SectionKey] = set()
        self.unplugged_at: dict[PortId, float] = {}
        self.stopped_at: float | None = 0.0  # None while the agent runs
        self.emptied_at = float("-inf")  # when its switch was last started anew, without any flow
        self._fabric = fabric
        self._connect = connect
        self._agent_queue = agent_queue
        self._clock = clock
        self._log = log
        self._chance = chance
        self._violation = violation
        self._versions: dict[SectionKey, Version] = {}
        self._task: asyncio.Task[None] | None = None
        self._power_on()

    @property
    def is_running(self) -> bool:
        return self._task is not None

    def start_agent(self) -> None:
        """Start the agent's process anew, on the same switch and disk."""
        assert self._task is None, "one agent a host"
        driver = SimulatedDataPlane(self.facts, self._fabric)
        driver.host = self.switch
        self.data_plane = WatchedDataPlane(self, driver, self._chance)
        agent = Agent(
            self.facts,
            "zone-1",
            self.data_plane,
            self.disk,
            self._connect,
            self._clock,
            self._log,
            urls=(self.id,),
            agent_queue=self._agent_queue,
        )
        self._task = asyncio.create_task(agent.run(), name=f"agent {self.id}")
        self._task.add_done_callback(self._ended)
        self.stopped_at = None

    async def stop_agent(self) -> None:
        """End the agent's process; the switch forwards on."""
        task = self._kill()
        if task is not None:
            await asyncio.wait((task,))

    async def reboot(self, vtep: bytes) -> None:
        """Lose everything but the disk, of which the end may be torn; come back at another address."""
        task = self._kill()
        now_s = self._clock.monotonic_s()
        self.unplugged_at.update(dict.fromkeys(self.switch.plugged, now_s))
        self.facts = HostFacts(self.id, vtep, self.facts.router_mac)
        self.disk.data = self.disk.data[: self._chance.randrange(len(self.disk.data) + 1)]
        self._fabric.leave(self.switch)
        self.emptied_at = now_s
        self._power_on()
        if task is not None:
            await asyncio.wait((task,))

    def plug(self, port_id: PortId) -> None:
        """Attach a workload."""
        (self.data_plane.driver if self.is_running else self.switch).plug(port_id)

    def unplug(self, port_id: PortId) -> None:
        """Take a workload away."""
        if self.switch.ofport(port_id) is not None:
            self.unplugged_at[port_id] = self._clock.monotonic_s()
        (self.data_plane.driver if self.is_running else self.switch).unplug(port_id)

    def note_version(self, key: SectionKey, version: Version) -> None:
        """Hold what is put in force against what was before."""
        before = self._versions.get(key)
        if before is not None and version < before:
            self._violation(f"host {self.id}: {key} went back from {before} to {version}")
        self._versions[key] = version

    def _kill(self) -> asyncio.Task[None] | None:
        task, self._task = self._task, None
        if task is not None:
            self.stopped_at = self._clock.monotonic_s()
            task.cancel()
        return task

    def _power_on(self) -> None:
        self.switch = SimulatedHost(self.facts)
        self.switch.engine()  # from now on flows follow every change
        self.state = HostState()
        self._versions = {}

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._violation(f"host {self.id}: its agent ended by itself: {error!r}")
