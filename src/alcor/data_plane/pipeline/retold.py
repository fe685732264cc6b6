"""Notes which ports may have to be told something else by their host: of subnets, routers, or themselves."""

from collections.abc import Iterable

from alcor.model.ids import NetworkId, PortId


class Retold:
    """Owner of the notes, which stay until they are taken. Costs O(what an update says)."""

    def __init__(self) -> None:
        self.ports: set[PortId] = set()
        self.networks: set[NetworkId] = set()  # all their ports

    def note(self, ports: Iterable[PortId], networks: Iterable[NetworkId]) -> None:
        """Something changed about ports, and about networks."""
        self.ports.update(ports)
        self.networks.update(networks)

    def take(self) -> tuple[set[PortId], set[NetworkId]]:
        """Give what was noted, and forget it."""
        taken = (self.ports, self.networks)
        self.ports, self.networks = set(), set()
        return taken
