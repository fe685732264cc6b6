"""One API process under simulation: the services over its own session with the store, by a clock of its own."""

import random

from alcor.management_plane.address_group.service import AddressGroupService
from alcor.management_plane.address_scope.service import AddressScopeService
from alcor.management_plane.addressing.allocator import LeasedAllocator
from alcor.management_plane.network.service import NetworkService
from alcor.management_plane.port.service import PortService
from alcor.management_plane.port_group.service import PortGroupService
from alcor.management_plane.router.service import RouterService
from alcor.management_plane.security_group.service import SecurityGroupService
from alcor.management_plane.subnet.service import SubnetService
from alcor.management_plane.subnet_pool.service import SubnetPoolService
from alcor.management_plane.trunk.service import TrunkService
from alcor.simulation.compute_host import AHEAD_MAX_S
from alcor.simulation.faulty_leases import SessionLeases
from alcor.simulation.faulty_store import StoreSession
from alcor.simulation.store_server import StoreServer
from alcor.simulation.virtual_time import VirtualClock, VirtualLoop


class ApiProcess:
    """Owner of a process's session, of its leases on addresses and of what its services keep in memory."""

    def __init__(self, server: StoreServer, loop: VirtualLoop, chance: random.Random, *, faulty: bool) -> None:
        self._session = StoreSession(server, chance, commits_here=True)
        self._heard = StoreSession(
            server, chance, commits_here=False
        )  # what controllers say of others' commits
        session, clock = self._session, _WrongClock(loop, chance.uniform(-AHEAD_MAX_S, AHEAD_MAX_S))
        allocator = LeasedAllocator(SessionLeases(server.leases, session), clock)
        session.listen(allocator.on_commit)
        self.networks = NetworkService(session, clock)
        self.subnets = SubnetService(session, clock)
        self.ports = PortService(session, allocator, clock)
        self._heard.listen(self.ports.on_change)
        self.port_groups = PortGroupService(session, self.ports, clock)
        self.security_groups = SecurityGroupService(session, clock)
        self.address_groups = AddressGroupService(session, clock)
        self.routers = RouterService(session, allocator, clock)
        self.trunks = TrunkService(session, clock)
        self.subnet_pools = SubnetPoolService(session, clock)
        self.address_scopes = AddressScopeService(session, clock)
        if not faulty:
            self.heal()

    def crash(self) -> None:
        """End as a kill does: nobody learns what became of requests under way, and leases end by time alone."""
        self._session.close()
        self._heard.close()

    def heal(self) -> None:
        """Reach the store at once from now on, and hear of every commit."""
        self._session.faulty = self._heard.faulty = False


class _WrongClock(VirtualClock):
    """The world's clock, but for the time of day: requests are carried out in the world."""

    def __init__(self, loop: VirtualLoop, ahead_s: float) -> None:
        super().__init__(loop)
        self._ahead_us = int(ahead_s * 1_000_000)

    def now_us(self) -> int:
        return super().now_us() + self._ahead_us
