"""The region under simulation: store, services, the controllers of the moment, and the hosts. Wiring only."""

import asyncio
import hashlib
import random

from alcor.contracts.agent_channel import Channel
from alcor.contracts.data_plane import HostFacts
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.data_plane.simulated.fabric import Fabric
from alcor.model import errors
from alcor.model.goal_state import SectionKey, SectionUpdate
from alcor.model.ids import HostId
from alcor.model.version import Version
from alcor.runtime.event_log import EventLog
from alcor.simulation import witness
from alcor.simulation.api_process import ApiProcess
from alcor.simulation.compute_host import ComputeHost, Surroundings
from alcor.simulation.heard_log import HeardLog
from alcor.simulation.lossy_queue import LossyQueue
from alcor.simulation.store_server import StoreServer
from alcor.simulation.term import SimulatedTerm
from alcor.simulation.virtual_time import VirtualClock
from alcor.simulation.wire import Network
from alcor.simulation.witness import Witness

GHOST = "host-without-agent"  # ports may be bound to a host that no agent ever introduces
APIS = 2  # processes
PLACES = ("controller-a", "controller-b")  # addresses of controllers; each takes over at the other one


class Cloud:
    """Owner of everything that runs. `violations`: sentences on what must not be and was."""

    def __init__(
        self,
        clock: VirtualClock,
        log: EventLog,
        chance: random.Random,
        *,
        hosts: int,
        on_demand: OnDemandBounds,
    ) -> None:
        self.clock = clock
        self.on_demand = on_demand
        self.violations: list[str] = []
        self.store_server = StoreServer(clock)
        self.store = self.store_server.store  # as none of the region's processes sees it: always there
        self.witness = Witness(self.violations.append)
        self.store.listen(self.witness.committed)
        self.network = Network(random.Random(chance.random()))
        self.queue = LossyQueue(random.Random(chance.random()))
        self.terms: list[SimulatedTerm] = []  # that are alive, the newest last
        self.terms_begun = 0
        self.apis_crashed = 0
        self._newest = 0  # epoch of the newest term that ever served
        self.unreachable: set[HostId] = set()  # machines off the network
        self.partitions: set[tuple[HostId, str]] = set()  # machines and places of controllers that do not meet
        self._log = HeardLog(log, self.violations.append)
        self._chance = random.Random(chance.random())
        self._faulty = True
        self.fabric = Fabric()
        self.apis = [self._new_api() for _ in range(APIS)]
        self._next_vtep = 0
        self.hosts: dict[HostId, ComputeHost] = {}
        around = self._surroundings()
        for number in range(hosts):
            facts = _facts(HostId(f"host-{number}"), self.new_vtep())
            self.hosts[facts.host] = ComputeHost(facts, around, random.Random(chance.random()))

    @property
    def controller(self) -> Controller | None:
        """The newest controller."""
        return self.terms[-1].controller if self.terms else None

    @property
    def newest_is_alive(self) -> bool:
        """Is the controller alive that took over last? One that it took over from serves nobody any more."""
        return bool(self.terms) and self.terms[-1].controller.epoch == self._newest

    def new_vtep(self) -> bytes:
        """Give a tunnel endpoint that no host had yet."""
        self._next_vtep += 1
        return (0xC0A80000 + self._next_vtep).to_bytes(4, "big")

    async def start_controller(self) -> None:
        """Begin a controller's term, whether another is alive or not. Raises Unavailable if the store does."""
        self.terms_begun += 1
        term = SimulatedTerm(
            self.store_server,
            self.queue,
            self.clock,
            self._log,
            self._chance,
            number=self.terms_begun,
            place=PLACES[self.terms_begun % len(PLACES)],
            on_demand=self.on_demand,
            faulty=self._faulty,
        )
        await term.start()
        for former in [former for former in self.terms if former.place == term.place]:
            await self.stop_controller(former, crash=False)  # one address, one process
        self.terms.append(term)
        self.terms.sort(
            key=lambda each: each.controller.epoch
        )  # of two that began at once, not the one begun last
        self._newest = max(self._newest, term.controller.epoch)

    async def stop_controller(self, term: SimulatedTerm, *, crash: bool) -> None:
        """End a term: in order, or as a kill does."""
        if term not in self.terms:
            return
        self.terms.remove(term)
        if term.controller.failed.is_set():
            self.violations.append("a task of the controller failed")
        await (term.crash(self._chance) if crash else term.stop())

    def crash_api(self, api: ApiProcess) -> None:
        """End an API process in the midst of what it does, and start another."""
        self.apis_crashed += 1
        api.crash()
        self.apis[self.apis.index(api)] = self._new_api()

    def reaches(self, one: HostId, other: HostId) -> bool:
        """Do two machines reach each other?"""
        return one not in self.unreachable and other not in self.unreachable

    def isolate(self, host_id: HostId) -> None:
        """Take a machine off the network; what it does to other switches, and others to its own, ends."""
        self.unreachable.add(host_id)
        self.network.silence(host_id)

    async def heal(self) -> None:
        """End all faults of network, store, queue and hosts, and controllers that were taken over from.

        An old controller does not find out by itself; whatever supervises the region's processes ends it.
        """
        for former in self.terms[:-1]:
            await self.stop_controller(former, crash=False)
        self._faulty = self.network.faulty = self.queue.faulty = False
        self.store_server.come_back()
        self.queue.come_back()
        for api in self.apis:
            api.heal()
        for term in self.terms:
            term.session.faulty = term.session.is_cut = False
            term.queue_end.join()
            term.part.resume()
        self.unreachable.clear()
        self.partitions.clear()
        for host in self.hosts.values():
            host.faulty = host.disk.faulty = False
            host.refuses.clear()
            host.part.resume()
            host.fence.is_down = False

    async def stop(self) -> None:
        """End everything."""
        for host in self.hosts.values():
            await host.stop_agent()
        for term in list(self.terms):
            await self.stop_controller(term, crash=False)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            fabric=self.fabric,
            dial=self._dial,
            forget_old=self.network.forget_old,
            reaches=self.reaches,
            hosts=self.hosts,
            urls=_urls,
            agent_queue=self.queue,
            clock=self.clock,
            log=self._log,
            violation=self.violations.append,
            witness=self._given,
        )

    def _new_api(self) -> ApiProcess:
        return ApiProcess(self.store_server, self.clock.loop, self._chance, faulty=self._faulty)

    async def _dial(self, machine: HostId, speaker: str, url: str) -> Channel:
        await asyncio.sleep(self.network.delay_s())
        term = next((term for term in self.terms if term.place == url), None)
        if term is None or machine in self.unreachable or (machine, url) in self.partitions:
            raise errors.Unavailable("nobody listens", retry_after_s=1)
        wire = self.network.open(machine, speaker, url)
        term.serve(wire, self.violations)
        return wire.agent_end

    def _given(self, host: HostId, key: SectionKey, version: Version, update: SectionUpdate | None) -> None:
        self.witness.given(host, key, version, witness.content(self.hosts[host].state, key, update))


def _urls(host: HostId) -> tuple[str, ...]:
    """Give the controllers' addresses in an order that is not the same on all hosts."""
    return PLACES if int(host.partition("-")[2]) % 2 else PLACES[::-1]


def _facts(host: HostId, vtep: bytes) -> HostFacts:
    mac = int.from_bytes(hashlib.blake2b(host.encode(), digest_size=5).digest(), "big") | 0x02 << 40
    return HostFacts(host, vtep, mac)
