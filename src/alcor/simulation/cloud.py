"""The region under simulation: store, services, the controller of the moment, and the hosts. Wiring only."""

import asyncio
import hashlib
import random

from alcor.contracts.agent_channel import Channel
from alcor.contracts.data_plane import HostFacts
from alcor.contracts.memory_leases import MemoryBlockLeases
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.data_plane.simulated.fabric import Fabric
from alcor.management_plane.addressing.allocator import LeasedAllocator
from alcor.management_plane.network.service import NetworkService
from alcor.management_plane.port.service import PortService
from alcor.management_plane.port_group.service import PortGroupService
from alcor.management_plane.router.service import RouterService
from alcor.management_plane.security_group.service import SecurityGroupService
from alcor.management_plane.subnet.service import SubnetService
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.simulation.compute_host import ComputeHost
from alcor.simulation.faulty_store import StoreSession
from alcor.simulation.lossy_queue import LossyQueue
from alcor.simulation.wire import Network, Wire

GHOST = "host-without-agent"  # ports may be bound to a host that no agent ever introduces


class Cloud:
    """Owner of everything that runs. `violations`: sentences on what must not be and was."""

    def __init__(
        self, clock: Clock, log: EventLog, chance: random.Random, *, hosts: int, on_demand: OnDemandBounds
    ) -> None:
        self.clock = clock
        self.on_demand = on_demand
        self.violations: list[str] = []
        self.store = MemoryStore(clock)
        self.network = Network(random.Random(chance.random()))
        self.queue = LossyQueue(random.Random(chance.random()))
        self.controller: Controller | None = None
        self.unreachable: set[HostId] = set()
        self._log = log
        self._chance = random.Random(chance.random())
        self._faulty = True
        self.fabric = Fabric()
        self._term: StoreSession | None = None  # the controller's session with the store
        self._served: set[asyncio.Task[None]] = set()
        self._session = StoreSession(self.store, self._chance, commits_here=True)
        allocator = LeasedAllocator(MemoryBlockLeases(self.store), clock)
        self.networks = NetworkService(self._session, clock)
        self.subnets = SubnetService(self._session, clock)
        self.ports = PortService(self._session, allocator, clock)
        self.port_groups = PortGroupService(self._session, self.ports, clock)
        self.security_groups = SecurityGroupService(self._session, clock)
        self.routers = RouterService(self._session, allocator, clock)
        self._next_vtep = 0
        self.hosts: dict[HostId, ComputeHost] = {}
        for number in range(hosts):
            facts = _facts(HostId(f"host-{number}"), self.new_vtep())
            self.hosts[facts.host] = ComputeHost(
                facts,
                self.fabric,
                self._connect,
                self.queue,
                clock,
                log,
                random.Random(chance.random()),
                self.violations.append,
            )

    def new_vtep(self) -> bytes:
        """Give a tunnel endpoint that no host had yet."""
        self._next_vtep += 1
        return (0xC0A80000 + self._next_vtep).to_bytes(4, "big")

    async def start_controller(self) -> None:
        """Begin a controller's term. Raises Unavailable when the store did not let it."""
        assert self.controller is None, "one controller at a time"
        self._term = StoreSession(self.store, self._chance, commits_here=False)
        self._term.faulty = self._faulty
        controller = Controller(
            self._term,
            self.clock,
            self._log,
            queue=self.queue.controller_end(),
            on_demand=self.on_demand,
        )
        try:
            await controller.start()
        except errors.Unavailable:
            await controller.stop()
            raise
        self.controller = controller

    async def stop_controller(self, *, crash: bool) -> None:
        """End the term: in order, or as a kill does. A crashed machine is not even heard to go."""
        controller, self.controller = self.controller, None
        if controller is None:
            return
        assert self._term is not None, "a controller has a session"
        self._term.close()
        if crash:
            self.queue.controller_end()  # what it would say no longer leaves
            for host in self.network.all_hosts():
                (self.network.silence if self._chance.random() < 0.3 else self.network.cut)(host)
        if controller.failed.is_set():
            self.violations.append("a task of the controller failed")
        await controller.stop()
        served = list(self._served)
        for task in served:
            task.cancel()
        if served:
            await asyncio.wait(served)

    def heal(self) -> None:
        """End all faults of network, store and hosts."""
        self._faulty = self.network.faulty = self.queue.faulty = self._session.faulty = False
        self.queue.come_back()
        if self._term is not None:
            self._term.faulty = False
        self.unreachable.clear()
        for host in self.hosts.values():
            host.faulty = False
            host.refuses.clear()
            if host.is_running and host.data_plane.is_lost:
                host.data_plane.come_back()

    async def stop(self) -> None:
        """End everything."""
        for host in self.hosts.values():
            await host.stop_agent()
        await self.stop_controller(crash=False)

    async def _connect(self, host_id: str) -> Channel:
        await asyncio.sleep(self.network.delay_s())
        host = HostId(host_id)
        if self.controller is None or host in self.unreachable:
            raise errors.Unavailable("nobody listens", retry_after_s=1)
        wire = self.network.open(host)
        task = asyncio.create_task(self._serve(self.controller, wire), name=f"stream {host_id}")
        self._served.add(task)
        task.add_done_callback(self._served.discard)
        return wire.agent_end

    async def _serve(self, controller: Controller, wire: Wire) -> None:
        try:
            await controller.serve_channel(wire.controller_end)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be
            self.violations.append(f"serving an agent failed: {error!r}")
            self._log.error("stream_failed", error=repr(error))


def _facts(host: HostId, vtep: bytes) -> HostFacts:
    mac = int.from_bytes(hashlib.blake2b(host.encode(), digest_size=5).digest(), "big") | 0x02 << 40
    return HostFacts(host, vtep, mac)
