"""One host: a real agent over a simulated switch, with a disk, workloads, a neighbour's agent at times, and
things that go wrong.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence

from alcor.contracts.agent_channel import Channel, Probe, Rescue
from alcor.contracts.data_plane import HostFacts
from alcor.contracts.queue import AgentQueue
from alcor.data_plane.ovs.fence import Bid
from alcor.data_plane.simulated.fabric import Fabric
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.host_agent.agent import Agent
from alcor.host_agent.connections import Connect
from alcor.host_agent.journal import NoJournal
from alcor.host_agent.neighbor_help import Neighborhood, NoCertificates
from alcor.host_agent.rescue_duty import RescueDuty
from alcor.model import errors
from alcor.model.goal_state import (
    HostState,
    NetworkChange,
    NetworkSection,
    Section,
    SectionKey,
    SectionUpdate,
)
from alcor.model.ids import HostId, PortId
from alcor.model.version import Version
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.simulation import virtual_time
from alcor.simulation.disk import Disk
from alcor.simulation.fenced_data_plane import FencedDataPlane
from alcor.simulation.fenced_switch import FencedSwitch
from alcor.simulation.virtual_time import Part

AHEAD_MAX_S = 0.5  # wall clocks differ by at most twice as much
DRIFT_MAX = 0.01  # and run faster or slower by so much, many times what a quartz does


class Surroundings:
    """What a host has around it. Owner of nothing; made once by the region."""

    def __init__(
        self,
        *,
        fabric: Fabric,
        dial: Callable[[HostId, str, str], Awaitable[Channel]],
        forget_old: Callable[[str], None],
        reaches: Callable[[HostId, HostId], bool],
        hosts: "dict[HostId, ComputeHost]",
        urls: Callable[[HostId], tuple[str, ...]],
        agent_queue: AgentQueue,
        clock: Clock,
        log: EventLog,
        violation: Callable[[str], None],
        witness: Callable[[HostId, SectionKey, Version, SectionUpdate | None], None],
    ) -> None:
        """`dial(machine, speaker, url)`; `reaches(a, b)`: do two machines reach each other?"""
        self.fabric = fabric
        self.dial = dial
        self.forget_old = forget_old
        self.reaches = reaches
        self.hosts = hosts
        self.urls = urls
        self.agent_queue = agent_queue
        self.clock = clock
        self.log = log
        self.violation = violation
        self.witness = witness


class ComputeHost:
    """Owner of one host: its switch, its disk and its agent's life. Implements `fenced_data_plane.Target`."""

    def __init__(self, facts: HostFacts, around: Surroundings, chance: random.Random) -> None:
        self.id: HostId = facts.host
        self.facts = facts
        self.faulty = True
        self.disk = Disk(random.Random(chance.random()))
        self.state = HostState()  # as its writer last showed it to the switch
        self.refuses: set[SectionKey] = set()
        self.unplugged_at: dict[PortId, float] = {}
        self.emptied_at = float("-inf")  # when its switch was last started anew, without any flow
        self.rescues_begun = 0
        self.fabric = around.fabric
        self._around = around
        self._chance = chance
        self._loop = virtual_time.running()
        self._versions: dict[SectionKey, Version] = {}
        self._task: asyncio.Task[None] | None = None
        self.fence = FencedSwitch(self.id, around.violation, lambda: self._loop.now_s)
        self._set_clock()
        self.part = self._new_part()
        self._power_on()

    @property
    def is_running(self) -> bool:
        return self._task is not None

    @property
    def unattended_s(self) -> float:
        """How long nobody that runs has written to its switch; 0: somebody does."""
        master = self.fence.master
        since = self.fence.unattended_at
        if master is not None:
            since = self.writer_part(master).hung_at
        return 0.0 if since is None else self._loop.now_s - since

    @staticmethod
    def writer_part(master: object) -> Part:
        """Give the process that a master's connection belongs to."""
        return master.data_plane.part  # type: ignore[attr-defined, no-any-return]  # made by FencedDataPlane only

    def start_agent(self) -> None:
        """Start the agent's process anew, on the same switch and disk."""
        assert self._task is None, "one agent a host"
        self.part = self._new_part()
        agent = self.part.run(self._make_agent)
        self._task = self._loop.create_task(agent.run(), name=f"agent {self.id}", context=self.part.context)
        self._task.add_done_callback(self._ended)

    async def stop_agent(self) -> None:
        """End the agent's process, and all rescues that it carries out; the switches forward on."""
        task = self._kill()
        if task is not None:
            await asyncio.wait((task,))

    async def reboot(self, vtep: bytes) -> None:
        """Lose power: all but the database and what is on the disk; come back at another address and time."""
        task = self._kill()
        self.unplugged_at.update(dict.fromkeys(self.switch.plugged, self._loop.now_s))
        self.facts = HostFacts(self.id, vtep, self.facts.router_mac)
        self.disk.lose_power()
        self.fabric.leave(self.switch)
        self.emptied_at = self._loop.now_s
        self._set_clock()
        self.fence.is_down = False
        self.fence.restart()
        self._power_on()
        if task is not None:
            await asyncio.wait((task,))

    def plug(self, port_id: PortId) -> None:
        """Attach a workload."""
        self.switch.plug(port_id)
        self._touched(port_id)

    def unplug(self, port_id: PortId) -> None:
        """Take a workload away."""
        if port_id in self.switch.workloads:
            self.unplugged_at.update(dict.fromkeys(self.switch.reached_through((port_id,)), self._loop.now_s))
        self.switch.unplug(port_id)
        self._touched(port_id)

    def lose_switch(self) -> None:
        """Let the switch answer nobody."""
        self.fence.is_down = True
        self.fence.restart()

    def restart_switch(self) -> None:
        """Let the switch answer again, or end all connections to it."""
        self.fence.is_down = False
        self.fence.restart()

    def shown(self, state: HostState, updates: Sequence[SectionUpdate] | None) -> None:
        """Hold what is put in force against what was before (law 2), and against what it may hold."""
        self._note_turned(state, updates)
        self.state = state
        if not state.versions:  # it was sent things while another wrote, and never held them
            self._around.forget_old(self.id)
        if updates is None:
            for key, version in sorted(state.versions.items()):
                self._note(key, version, None)
        else:
            for update in updates:
                self._note(update.key, update.version, update)

    def _note(self, key: SectionKey, version: Version, update: SectionUpdate | None) -> None:
        before = self._versions.get(key)
        if before is not None and version < before:
            self._around.violation(f"host {self.id}: {key} went back from {before} to {version}")
        self._versions[key] = version
        is_removal = update is not None and update.change is None
        if key in self.state.sections and version != before and not is_removal:
            self._around.witness(self.id, key, version, update)

    def _note_turned(self, state: HostState, updates: Sequence[SectionUpdate] | None) -> None:
        """Ports that come under another workload, or under none any longer, are unplugged like others.

        So are those of which an agent that begins with nothing does not know whose workload they are under.
        """
        given = state.full_updates() if updates is None else updates
        for change in (update.change for update in given):
            for port in change.set_ports if isinstance(change, NetworkChange) else ():
                carrier = port.id if port.tag is None else port.tag.parent
                if self.switch.ofport(port.id) is not None and carrier not in self.switch.workloads:
                    self.unplugged_at[port.id] = self._loop.now_s
        if updates is None:
            known = {port_id for section in state.sections.values() for port_id in _ports_of(section)}
            forgotten = set(self.switch.plugged) - known - set(self.switch.workloads)
            self.unplugged_at.update(dict.fromkeys(forgotten, self._loop.now_s))

    def _touched(self, port_id: PortId) -> None:
        master = self.fence.master
        if master is not None:
            self._loop.deliveries += 1
            master.data_plane.touched(port_id)  # type: ignore[attr-defined]  # made by FencedDataPlane only

    def _set_clock(self) -> None:
        """Set the machine's clock wrong: it is read by all processes on it, until a reboot."""
        self._ahead_s = self._chance.uniform(-AHEAD_MAX_S, AHEAD_MAX_S)
        self._rate = 1.0 + self._chance.uniform(-DRIFT_MAX, DRIFT_MAX)

    def _new_part(self) -> Part:
        return Part(self._loop, f"agent {self.id}", ahead_s=self._ahead_s, rate=self._rate)

    def _make_agent(self) -> Agent:
        around = self._around
        data_plane = FencedDataPlane(
            self,
            self.facts,
            Bid(0, self.id),
            self._chance,
            around.log,
            on_fenced=lambda: around.forget_old(self.id),
        )
        return Agent(
            self.facts,
            "zone-1",
            data_plane,
            self.disk,
            self._connect_as(self.id),
            around.clock,
            around.log,
            urls=around.urls(self.id),
            agent_queue=around.agent_queue,
            help_of=Neighborhood(
                self.id, self._make_help, self._probe, around.log, certificates=NoCertificates()
            ),
        )

    def _make_help(self, order: Rescue, duty: RescueDuty) -> Agent:
        around, target = self._around, self._around.hosts[order.target]
        target.rescues_begun += 1
        facts = HostFacts(order.target, order.vtep, target.facts.router_mac)
        data_plane = FencedDataPlane(
            target,
            facts,
            Bid(order.token, duty.rescuer, int(order.lease_s * 1000)),
            self._chance,
            around.log,
            is_reachable=lambda: around.reaches(self.id, order.target),
        )
        speaker = f"{order.target} by {self.id} {order.token}"
        return Agent(
            facts,
            order.zone,
            data_plane,
            NoJournal(),
            self._connect_as(speaker),
            around.clock,
            around.log,
            urls=around.urls(self.id),
            rescue=duty,
        )

    async def _probe(self, order: Rescue | Probe) -> None:
        await asyncio.sleep(self._chance.random() * 0.01)
        target = self._around.hosts[order.target]
        is_there = self._around.reaches(self.id, order.target) and target.facts.vtep == order.vtep
        if not is_there or target.fence.is_down:
            raise errors.Unavailable("the switch does not answer", retry_after_s=1)

    def _connect_as(self, speaker: str) -> Connect:
        return lambda url: self._around.dial(self.id, speaker, url)

    def _kill(self) -> asyncio.Task[None] | None:
        task, self._task = self._task, None
        if task is not None:
            self.part.resume()
            task.cancel()
            self.disk.end_writer()
        return task

    def _power_on(self) -> None:
        self.switch = SimulatedHost(self.facts, now_s=lambda: asyncio.get_running_loop().time())
        self.switch.engine()  # from now on flows follow every change
        self.fabric.join(self.switch)
        self.state = HostState()
        self._versions = {}

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._around.violation(f"host {self.id}: its agent ended by itself: {error!r}")


def _ports_of(section: Section) -> Iterable[PortId]:
    return section.ports if isinstance(section, NetworkSection) else ()
