"""Which placements of on-demand networks each host holds because it asked for them. Pure.

A subscription exists exactly as long as the port is placed on another host, in a network that is on-demand and
that the host wants. So a move is pushed to those who asked, and whatever ends it is pushed once and forgotten.
"""

from collections.abc import Collection, Iterable, Mapping

from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId, NetworkId, PortId

LEARNED_MAX = 10_000  # placements of one network on one host; the oldest goes for the next


class Learned:
    """Owner of the subscriptions, by host and by port, and of the steps of their sections."""

    def __init__(self) -> None:
        # Dictionaries as ordered sets: the oldest subscription of a network comes first.
        self._of_host: dict[HostId, dict[NetworkId, dict[PortId, None]]] = {}
        self._of_port: dict[PortId, dict[HostId, None]] = {}
        self._steps: dict[HostId, dict[SectionKey, int]] = {}

    def of(self, host_id: HostId, network_id: NetworkId) -> Collection[PortId]:
        """Name the ports that a host learned in a network, oldest first."""
        return self._of_host.get(host_id, _NOTHING).get(network_id, ())

    def of_host(self, host_id: HostId) -> Mapping[NetworkId, Iterable[PortId]]:
        """Name all ports that a host learned, by network."""
        return self._of_host.get(host_id, _NOTHING)

    def subscribers(self, port_id: PortId) -> list[HostId]:
        """Name the hosts that learned the port. O(those hosts)."""
        return list(self._of_port.get(port_id, ()))

    def has(self, host_id: HostId, port_id: PortId) -> bool:
        """Did the host learn the port?"""
        return host_id in self._of_port.get(port_id, ())

    def add(self, host_id: HostId, network_id: NetworkId, port_id: PortId) -> PortId | None:
        """Subscribe a host; give the port that had to go for it. O(1)."""
        ports = self._of_host.setdefault(host_id, {}).setdefault(network_id, {})
        ports[port_id] = None
        self._of_port.setdefault(port_id, {})[host_id] = None
        if len(ports) <= LEARNED_MAX:
            return None
        oldest = next(iter(ports))
        self.drop(host_id, network_id, oldest)
        return oldest

    def drop(self, host_id: HostId, network_id: NetworkId, port_id: PortId) -> bool:
        """End a subscription. Was there one?"""
        networks = self._of_host.get(host_id, _NOTHING)
        ports = networks.get(network_id, {})
        if port_id not in ports:
            return False
        del ports[port_id]
        hosts = self._of_port[port_id]
        del hosts[host_id]
        if not hosts:
            del self._of_port[port_id]
        if not ports:
            del networks[network_id]
            if not networks:
                del self._of_host[host_id]
        return True

    def drop_port(self, network_id: NetworkId, port_id: PortId) -> list[HostId]:
        """End all subscriptions of a port; name the hosts that had one."""
        hosts = self.subscribers(port_id)
        for host_id in hosts:
            self.drop(host_id, network_id, port_id)
        return hosts

    def drop_network(self, host_id: HostId, network_id: NetworkId) -> None:
        """End what a host learned in a network. O(that)."""
        for port_id in list(self.of(host_id, network_id)):
            self.drop(host_id, network_id, port_id)

    def step(self, host_id: HostId, key: SectionKey) -> int:
        """Give the step of a section on a host: how often it changed since its revision."""
        return self._steps.get(host_id, _NO_STEPS).get(key, 0)

    def advance(self, host_id: HostId, key: SectionKey) -> int:
        """Count one change of a section on a host without a commit."""
        steps = self._steps.setdefault(host_id, {})
        steps[key] = step = steps.get(key, 0) + 1
        return step

    def restart(self, host_id: HostId, key: SectionKey) -> None:
        """Count from zero again: the section has a new revision."""
        steps = self._steps.get(host_id)
        if steps is not None and steps.pop(key, None) is not None and not steps:
            del self._steps[host_id]


_NOTHING: dict[NetworkId, dict[PortId, None]] = {}
_NO_STEPS: dict[SectionKey, int] = {}
