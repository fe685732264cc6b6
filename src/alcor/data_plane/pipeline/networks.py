"""Networks of a host: its ports and placements, and what a change of one touches."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from alcor.data_plane.pipeline.sections import merge
from alcor.data_plane.sub_ports import SubPorts
from alcor.model.goal_state import (
    LocalPort,
    NetworkChange,
    NetworkEntry,
    NetworkSection,
    Placement,
    SubnetEntry,
)
from alcor.model.ids import NetworkId, PortId, SubnetId


class PortScope(NamedTuple):
    """A local port with what its host must say about it. `subnets` in the order of the port's fixed IPs."""

    port: LocalPort
    network: NetworkEntry
    subnets: tuple[SubnetEntry, ...]
    beside: tuple[SubnetEntry, ...]  # all of the network's, in the order of their ids


class NetworkOutcome(NamedTuple):
    """What a change of a network touches."""

    ports: Iterable[PortId]  # of this host; some may be named twice
    placements: Iterable[PortId]
    subnets: Iterable[SubnetId]
    entry: bool  # is the network itself another?


class Networks:
    """Owns the network sections as far as flows need them, and the tags of sub-ports."""

    def __init__(self) -> None:
        self.sub_ports = SubPorts()
        self.on_demand: set[int] = set()  # VNIs of the networks on demand
        self._sections: dict[NetworkId, NetworkSection] = {}
        self._at: dict[int, set[NetworkId]] = {}  # by VNI
        self._home: dict[PortId, NetworkId] = {}  # of each local port

    def change(self, network_id: NetworkId, change: NetworkChange, *, is_full: bool) -> NetworkOutcome:
        """Apply a change of the network's section. O(entries), or O(held) for a full one or another VNI."""
        section = self._sections.setdefault(network_id, NetworkSection())
        subnets = merge(
            section.subnets,
            ((entry.id, entry) for entry in change.set_subnets),
            change.gone_subnets,
            is_full=is_full,
        )
        ports = merge(
            section.ports, ((entry.id, entry) for entry in change.set_ports), change.gone_ports, is_full=is_full
        )
        placements = merge(
            section.placements,
            ((entry.port_id, entry) for entry in change.set_placements),
            change.gone_placements,
            is_full=is_full,
        )
        parents = self._settle(network_id, section, ports)
        held = section.network
        section.network = change.network if change.network is not None or is_full else held
        is_other = self._stand(network_id, held, section.network)
        is_asked_else = is_other or _is_on_demand(held) != _is_on_demand(section.network)
        if is_asked_else:
            self._note_on_demand({entry.vni for entry in (held, section.network) if entry is not None})
        if section.network is None and not (section.ports or section.placements or section.subnets):
            del self._sections[network_id]
        return NetworkOutcome(
            ports=[*parents, *(section.ports if is_other else ()), *ports],
            placements=[*placements, *section.placements] if is_asked_else else placements,
            subnets=[*subnets, *section.subnets] if is_asked_else else subnets,
            entry=held != section.network,
        )

    def section(self, network_id: NetworkId) -> NetworkSection | None:
        """Give what is held of a network."""
        return self._sections.get(network_id)

    def entry(self, network_id: NetworkId) -> NetworkEntry | None:
        """Give the network itself."""
        section = self._sections.get(network_id)
        return None if section is None else section.network

    def placement(self, network_id: NetworkId, port_id: PortId) -> Placement | None:
        """Give where a port of a network is."""
        section = self._sections.get(network_id)
        return None if section is None else section.placements.get(port_id)

    def at(self, vni: int) -> Iterable[NetworkId]:
        """Name the networks that have a VNI: one, but for moments."""
        return self._at.get(vni, ())

    def home(self, port_id: PortId) -> NetworkId | None:
        """Name the network of a local port."""
        return self._home.get(port_id)

    def home_section(self, port_id: PortId) -> NetworkSection | None:
        """Give what is held of the network of a local port."""
        home = self._home.get(port_id)
        return None if home is None else self._sections.get(home)

    def local_port(self, port_id: PortId) -> LocalPort | None:
        """Give a port of this host."""
        section = self.home_section(port_id)
        return None if section is None else section.ports.get(port_id)

    def port_scope(self, port_id: PortId) -> PortScope | None:
        """Give a port of this host with its network and subnets."""
        section = self.home_section(port_id)
        if section is None or section.network is None:
            return None
        port = section.ports[port_id]
        found = (section.subnets.get(fixed.subnet_id) for fixed in port.fixed_ips)
        own = tuple(subnet for subnet in found if subnet is not None)
        beside = tuple(subnet for _, subnet in sorted(section.subnets.items()))
        return PortScope(port, section.network, own, beside)

    def _settle(self, network_id: NetworkId, section: NetworkSection, ports: Sequence[PortId]) -> list[PortId]:
        """Note where changed ports are at home; name the parents whose sub-ports are others now."""
        parents: list[PortId] = []
        for port_id in ports:
            if port_id in section.ports:
                self._home[port_id] = network_id
            elif self._home.get(port_id) == network_id:
                del self._home[port_id]
            if self._home.get(port_id, network_id) == network_id:
                parents.extend(self.sub_ports.put(port_id, section.ports.get(port_id)))
        return parents

    def _stand(self, network_id: NetworkId, held: NetworkEntry | None, entry: NetworkEntry | None) -> bool:
        """Note which VNI a network has now. Is it another than before, or up or down as it was not?"""
        before = None if held is None else (held.vni, held.admin_state_up)
        after = None if entry is None else (entry.vni, entry.admin_state_up)
        if before == after:
            return False
        if held is not None:
            self._at[held.vni].discard(network_id)
            if not self._at[held.vni]:
                del self._at[held.vni]
        if entry is not None:
            self._at.setdefault(entry.vni, set()).add(network_id)
        return True

    def _note_on_demand(self, vnis: Iterable[int]) -> None:
        for vni in vnis:
            if any(_is_on_demand(self.entry(network_id)) for network_id in self.at(vni)):
                self.on_demand.add(vni)
            else:
                self.on_demand.discard(vni)


def _is_on_demand(entry: NetworkEntry | None) -> bool:
    return entry is not None and entry.on_demand
