"""Many emulated hosts in one process: real agents, simulated data planes. Wiring only."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from alcor.adapters.certificates import FLEET_NAME
from alcor.adapters.nats.access import Access
from alcor.contracts.data_plane import HostFacts, facts_of
from alcor.data_plane.simulated.driver import SimulatedDataPlane
from alcor.data_plane.simulated.fabric import Fabric
from alcor.host_agent.agent import Agent
from alcor.host_agent.journal import FileJournal, NoJournal
from alcor.host_agent.settings import USUAL, AgentTiming
from alcor.model.ids import HostId
from alcor.processes import agent
from alcor.processes.fleet_faults import NO_FAULTS, FaultMaker, Faults
from alcor.processes.fleet_streams import FleetStreams
from alcor.runtime import open_files
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor


class EmulatedHosts:
    """Agents with simulated data planes in this process: hosts `host-0` ... with tunnel addresses in 10/8.

    Owner of its agents, from `start` to `stop`. `fabric` joins the data planes, so that packets pass. Without
    `controller_urls` the queue is the only path. `certificates`: of a fleet, for tcps:// controllers.
    """

    def __init__(
        self,
        count: int,
        controller_urls: Sequence[str],
        log: EventLog,
        *,
        first: int = 0,
        zone: str = "",
        state_dir: Path | None = None,
        timing: AgentTiming = USUAL,
        queue: Access | None = None,
        certificates: Path | None = None,
        faults: Faults = NO_FAULTS,
    ) -> None:
        self.fabric: Fabric = Fabric()
        self.data_planes: dict[HostId, SimulatedDataPlane] = {}
        self.failed = Failure()
        self._supervisor = Supervisor(log, failure=self.failed)
        self._log = log
        self._urls = tuple(controller_urls)
        self._zone = zone
        self._state_dir = state_dir
        self._timing = timing
        self._faults = faults
        self._fault_maker = FaultMaker(faults)
        self._streams = FleetStreams(certificates, None if faults == NO_FAULTS else self._fault_maker, log)
        self._facts: dict[HostId, HostFacts] = {}
        self._agents: dict[HostId, Agent] = {}
        self._running: dict[HostId, asyncio.Task[None]] = {}
        self._without_stream: set[HostId] = set()
        self.crashes = 0
        self.queue = agent.open_queue(queue, FLEET_NAME, log, self.failed)
        for number in range(first, first + count):
            facts = facts_of(emulated_name(number), synthetic_vtep(number))
            self._facts[facts.host] = facts
            self.data_planes[facts.host] = SimulatedDataPlane(facts, self.fabric)
            self._agents[facts.host] = self._new_agent(facts)

    def start(self) -> None:
        """Start all; they connect by themselves."""
        for host, one in self._agents.items():
            self._running[host] = self._supervisor.start(f"agent {host}", one.run())
        if self._faults.crash:
            self._supervisor.start("crashes", self._crash_for_ever())

    def _new_agent(self, facts: HostFacts) -> Agent:
        return Agent(
            facts,
            self._zone,
            self.data_planes[facts.host],
            FileJournal(self._state_dir / facts.host) if self._state_dir else NoJournal(),
            partial(self._streams.connect, facts.host),
            SystemClock(),
            self._log,
            urls=() if facts.host in self._without_stream else self._urls,
            timing=self._timing,
            agent_queue=self.queue,
        )

    async def _crash_for_ever(self) -> None:
        """End agents and start them anew at once, as what supervises processes does."""
        while True:
            await asyncio.sleep(1.0)
            await self.crash([host for host in self._agents if self._fault_maker.kills()])

    async def crash(self, hosts: Sequence[HostId]) -> None:
        """End the agents of these hosts, and start them anew."""
        self.crashes += len(hosts)
        await self._start_again(hosts)

    async def start_again(self, host: HostId, *, with_stream: bool) -> None:
        """End an agent and start it anew, with both its paths or with the queue alone."""
        if with_stream:
            self._without_stream.discard(host)
        else:
            self._without_stream.add(host)
        await self._start_again([host])

    async def _start_again(self, hosts: Sequence[HostId]) -> None:
        for host in hosts:
            self._running[host].cancel()
        await asyncio.gather(*(self._running[host] for host in hosts), return_exceptions=True)
        for host in hosts:
            self._agents[host] = self._new_agent(self._facts[host])
            self._running[host] = self._supervisor.start(f"agent {host}", self._agents[host].run())
        await asyncio.sleep(0)  # they have begun

    async def stop(self) -> None:
        """Stop all."""
        await self._supervisor.close()
        self._streams.close()
        if self.queue is not None:
            await self.queue.close()


async def run_many(
    count: int,
    controller_urls: Sequence[str],
    log: EventLog,
    *,
    first: int = 0,
    zone: str = "",
    state_dir: Path | None = None,
    queue: Access | None = None,
    certificates: Path | None = None,
    faults: Faults = NO_FAULTS,
) -> int:
    """Run emulated hosts until SIGTERM or SIGINT, and give the exit status."""
    open_files.raise_limit()
    open_files.warn_if_few(log, peers=count if controller_urls else 0)
    hosts = EmulatedHosts(
        count,
        controller_urls,
        log,
        first=first,
        zone=zone,
        state_dir=state_dir,
        queue=queue,
        certificates=certificates,
        faults=faults,
    )
    hosts.start()
    try:
        work, told = hosts.failed.wait(), log.about(hosts=count)
        return await agent.until_told(work, f"{count} emulated hosts", told, hosts.failed)
    finally:
        await hosts.stop()


def emulated_name(number: int) -> str:
    """Give the name of an emulated host."""
    return f"host-{number}"


def emulated_names(count: int, *, first: int = 0) -> list[str]:
    """Give the names of so many."""
    return [emulated_name(number) for number in range(first, first + count)]


def synthetic_vtep(number: int) -> bytes:
    """Give the tunnel address of an emulated host: 10.0.0.1 and up."""
    return (0x0A000001 + number).to_bytes(4, "big")
