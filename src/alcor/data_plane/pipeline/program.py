"""A host's flows, kept in step with its goal state: O(what an update says), whatever the host holds."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import assert_never

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline import local_port, pairs, placement, routing
from alcor.data_plane.pipeline.flow import Action, AnyFlow, Flow, FlowChange, FlowKey, Output
from alcor.data_plane.pipeline.groups import ActivePort, Member, SecurityGroups
from alcor.data_plane.pipeline.networks import Networks, PortScope
from alcor.data_plane.pipeline.numbers import StableNumbers
from alcor.data_plane.pipeline.retold import Retold
from alcor.data_plane.pipeline.routers import InterfaceKey, Routers
from alcor.data_plane.pipeline.static import static_flows
from alcor.data_plane.pipeline.units import FlowUnits, Unit
from alcor.data_plane.pipeline.unknown import unknown_flows
from alcor.data_plane.pipeline.viewers import Viewers
from alcor.model import goal_state
from alcor.model.goal_state import (
    AddressesChange,
    AddressesKey,
    GroupChange,
    GroupKey,
    HostState,
    LocalPort,
    NetworkChange,
    NetworkKey,
    ParsedKey,
    Placement,
    RouterChange,
    RouterInterface,
    RouterKey,
    SectionChange,
    SectionKey,
    SectionUpdate,
)
from alcor.model.ids import NetworkId, PortId, SubnetId

_PORT_KEY_MAX = 0xFFFF  # conntrack zones have 16 bits

_NOTHING: dict[type[ParsedKey], SectionChange] = {
    NetworkKey: NetworkChange(),
    RouterKey: RouterChange(),
    GroupKey: GroupChange(),
    AddressesKey: AddressesChange(),
}


class FlowProgram:
    """Owns the wanted flows of one host, and small indexes of the state that they were made from.

    `retold`: who wants to know when ports may have to be told something else, see `advertising`.
    """

    def __init__(self, facts: HostFacts, tunnel_port: int, retold: Retold | None = None) -> None:
        self._facts = facts
        self._retold = retold
        self._tunnel_port = tunnel_port
        self._units = FlowUnits()
        self._keys: StableNumbers[PortId] = StableNumbers(_PORT_KEY_MAX)
        self._networks = Networks()
        self._ofports: dict[PortId, int] = {}  # of workloads, by the port that they are plugged as
        self._routers = Routers()
        self._viewers = Viewers(self._routers.domain, self._networks.on_demand)
        self._groups = SecurityGroups(self._routers.domain)
        self._held: set[SectionKey] = set()
        self._views: dict[NetworkId, placement.View] = {}  # as last rendered with: shared by all placements
        self._paired: set[tuple[NetworkId, PortId]] = set()  # placements with address pairs
        self._dirty_ports: set[PortId] = set()
        self._dirty_placements: set[tuple[NetworkId, PortId]] = set()
        self._dirty_subnets: set[tuple[NetworkId, SubnetId]] = set()
        self._dirty_interfaces: set[tuple[str, InterfaceKey]] = set()
        self._dirty_routes: set[str] = set()  # routers
        self._units.replace({("static",): static_flows(tunnel_port)})

    def wanted(self) -> Iterator[AnyFlow]:
        """Give everything wanted now, static flows included, in no order. O(flows), which are made anew."""
        return iter(self._units)

    def wanted_instead(self, flow: AnyFlow) -> AnyFlow | None:
        """Give the flow that is wanted now under the key of this one; None: there is none."""
        return self._units.instead(flow)

    @property
    def flows(self) -> Mapping[FlowKey, Flow]:
        """The same, whole, by key."""
        return {flow.key: Flow(flow.key, flow.actions, flow.origin) for flow in self._units}

    def base(self) -> FlowChange:
        """Give the flows that every host has."""
        return FlowChange([*static_flows(self._tunnel_port)], [], [])

    def change(self, state: HostState, updates: Sequence[SectionUpdate]) -> FlowChange:
        """Follow updates that `state` has already. O(entries in the updates), O(section) for a full one."""
        for update in updates:
            self._follow(state, update)
        return self._render()

    def replace(self, state: HostState) -> FlowChange:
        """Follow the whole state, whatever was followed before."""
        gone = sorted(self._held - state.sections.keys())
        for key in gone:
            self._apply(key, None, is_full=True)
        for key in sorted(state.sections):
            self._apply(key, state.sections[key].full(), is_full=True)
        return self._render()

    def attach(self, port_id: PortId, ofport: int) -> FlowChange:
        """Join a workload's OpenFlow port; remembered when the port is not known yet."""
        self._ofports[port_id] = ofport
        return self._replug(port_id)

    def detach(self, port_id: PortId) -> FlowChange:
        """Take the workload's OpenFlow port away."""
        self._ofports.pop(port_id, None)
        return self._replug(port_id)

    def seed_port_keys(self, keys: Mapping[PortId, int]) -> None:
        """Bring back keys recorded earlier. Before the first change."""
        self._keys.seed(keys)

    def port_key(self, port_id: PortId) -> int:
        """Give the key of a local port. Raises KeyError when it is not known here."""
        return self._keys.number_of(port_id)

    @property
    def port_keys(self) -> Mapping[PortId, int]:
        """All keys given, for the record that `seed_port_keys` takes."""
        return self._keys.numbers

    @property
    def resting_port_keys(self) -> Collection[int]:
        """Keys of ports that are gone, the longest gone first; a view, which follows what is done.

        No other port gets them until `wake_port_keys`: their conntrack zones still know the
        connections of those ports, which must not speak for another.
        """
        return self._keys.resting

    def wake_port_keys(self, keys: Iterable[int]) -> None:
        """Let keys be given again: their zones are empty."""
        self._keys.wake(keys)

    def port_of_key(self, key: int) -> PortId | None:
        """Name the local port that has the key."""
        return self._keys.name_of(key)

    def holds(self, key: SectionKey) -> bool:
        """Is the section followed here?"""
        return key in self._held

    def local_port(self, port_id: PortId) -> LocalPort | None:
        """Give a port of this host."""
        return self._networks.local_port(port_id)

    def port_scope(self, port_id: PortId) -> PortScope | None:
        """Give a port of this host with its network and subnets."""
        return self._networks.port_scope(port_id)

    def ports_of(self, network_id: NetworkId) -> Iterable[PortId]:
        """Name the ports that the host has in a network."""
        section = self._networks.section(network_id)
        return () if section is None else section.ports.keys()

    def mac_of(self, vni: int, ip: bytes) -> int | None:
        """Give the MAC address that questions for an address are answered with; None when it is not held."""
        for leg in self._routers.legs(vni):
            if ip in routing.own_addresses(leg):
                return leg.mac
        pattern, where = placement.neighbour_at(ip, vni)
        flow = self._units.find(pattern, *where)
        return flow.what[0] if flow is not None else None

    def announcer(self, key: int, mac: int, ip: bytes) -> PortId | None:
        """Name the port with this key if it may say in ARP that it has an address, and that is news."""
        port_id = self.port_of_key(key)
        port = self.local_port(port_id) if port_id is not None else None
        if port is None or not pairs.may_announce(port.pairs, mac, ip):
            return None
        home = self._networks.home_section(port.id)
        placed = home.placements.get(port.id) if home is not None else None
        return None if placed is None or ip in placed.announced else port.id

    def legs(self, vni: int) -> Iterable[RouterInterface]:
        """Give the interfaces that routers have in a network. One MAC address may have several."""
        return self._routers.legs(vni)

    def attached(self) -> Mapping[PortId, int]:
        """OpenFlow port of every workload that is attached, its port known here or not."""
        return self._ofports

    def is_attached(self, port_id: PortId) -> bool:
        """Is the workload there that the port is reached through: its own, or of a sub-port its parent's?"""
        return self._networks.sub_ports.carrier(port_id) in self._ofports

    def reached_through(self, port_ids: Iterable[PortId]) -> set[PortId]:
        """Name the ports, and their sub-ports."""
        return self._networks.sub_ports.reached_through(port_ids)

    def tagging(self, key: int) -> tuple[Action, ...]:
        """Give what is done to a frame before it goes to the workload of the port with this key."""
        port_id = self.port_of_key(key)
        port = self.local_port(port_id) if port_id is not None else None
        return local_port.tagging_of(port) if port is not None else ()

    def way_to(self, port_id: PortId) -> tuple[Action, ...]:
        """Give what brings a frame to the workload of a local port; nothing when it is not attached."""
        port, ofport = self.local_port(port_id), self._ofports.get(self._networks.sub_ports.carrier(port_id))
        return () if port is None or ofport is None else (*local_port.tagging_of(port), Output(ofport))

    def _follow(self, state: HostState, update: SectionUpdate) -> None:
        if update.change is None or update.base is None:
            self._apply(update.key, update.change, is_full=True)
        elif update.key in self._held:
            self._apply(update.key, update.change, is_full=False)
        elif update.key in state.sections:  # a change of what was never shown here
            self._apply(update.key, state.sections[update.key].full(), is_full=True)

    def _apply(self, key: SectionKey, change: SectionChange | None, *, is_full: bool) -> None:
        parsed = goal_state.parse_key(key)
        if change is None:
            self._held.discard(key)
            change = _NOTHING[type(parsed)]
        else:
            self._held.add(key)
        match change:
            case NetworkChange():
                self._change_network(NetworkId(parsed.id), change, is_full=is_full)
            case RouterChange():
                self._change_router(parsed.id, change, is_full=is_full)
            case GroupChange():
                self._groups.change_group(parsed.id, change, is_full=is_full)
            case AddressesChange():
                self._groups.change_addresses(parsed.id, change, is_full=is_full)
            case _:
                assert_never(change)

    def _change_network(self, network_id: NetworkId, change: NetworkChange, *, is_full: bool) -> None:
        outcome = self._networks.change(network_id, change, is_full=is_full)
        self._dirty_ports.update(outcome.ports)
        self._dirty_placements.update((network_id, port_id) for port_id in outcome.placements)
        self._dirty_subnets.update((network_id, subnet_id) for subnet_id in outcome.subnets)
        if outcome.entry and self._retold is not None:
            self._retold.note((), (network_id,))

    def _change_router(self, router_id: str, change: RouterChange, *, is_full: bool) -> None:
        outcome = self._routers.change(router_id, change, is_full=is_full)
        self._dirty_interfaces.update((router_id, key) for key in outcome.interfaces)
        if outcome.routes:
            self._dirty_routes.add(router_id)
        if self._retold is not None:
            for vni in outcome.vnis:
                self._retold.note((), self._networks.at(vni))
        if outcome.joined.moved:
            self._groups.domains_changed(outcome.joined)
            self._viewers_changed(self._viewers.concerned(outcome.joined))

    def _render(self) -> FlowChange:
        rendered: dict[Unit, Iterable[AnyFlow]] = {}
        actives = {port_id: self._active(port_id) for port_id in sorted(self._dirty_ports)}
        self._viewers_changed(self._viewers.count(actives))
        self._render_pairs(rendered, self._render_placements(rendered))
        for port_id, active in actives.items():
            self._groups.set_port(port_id, active)
            rendered["port", port_id] = (
                [] if active is None else local_port.port_flows(active.port, active.vni, active.key)
            )
            rendered["plug", port_id] = self._plug_flows(port_id, active)
        for router_id, key in self._dirty_interfaces:
            rendered["interface", router_id, *key] = self._interface_flows(router_id, key)
        for router_id in self._dirty_routes:
            rendered["routes", router_id] = self._route_flows(router_id)
        for network_id, subnet_id in self._dirty_subnets:
            rendered["unknown", network_id, subnet_id] = self._unknown_flows(network_id, subnet_id)
        rendered.update(self._groups.render())
        if self._retold is not None:
            self._retold.note(self._dirty_ports, (network_id for network_id, _ in self._dirty_subnets))
        self._dirty_placements.clear()
        self._dirty_ports.clear()
        self._dirty_interfaces.clear()
        self._dirty_routes.clear()
        self._dirty_subnets.clear()
        return self._units.replace(rendered)

    def _render_placements(self, rendered: dict[Unit, Iterable[AnyFlow]]) -> set[tuple[NetworkId, PortId]]:
        """Render dirty placements, members of groups too; name those with address pairs, now or before."""
        views = {network_id: self._view(network_id) for network_id in {at[0] for at in self._dirty_placements}}
        with_pairs = set()
        for placed in self._dirty_placements:
            network_id, port_id = placed
            view, entry = views[network_id], self._networks.placement(network_id, port_id)
            self._groups.set_member(("member", network_id, port_id), self._member(network_id, entry))
            flows = () if entry is None or view is None else placement.PlacementFlows(entry, view)
            rendered["placement", network_id, port_id] = flows
            if (entry is not None and entry.pairs) or placed in self._paired:
                with_pairs.add(placed)
        return with_pairs

    def _view(self, network_id: NetworkId) -> placement.View | None:
        """Give what flows of the network's placements depend on, one object while it is equal; None: down."""
        network = self._networks.entry(network_id)
        if network is None or not network.admin_state_up:
            self._views.pop(network_id, None)
            return None
        view = placement.View(
            network.vni,
            self._facts.vtep,
            self._tunnel_port,
            viewers=tuple(self._viewers.of(network.vni)) if network.on_demand else (),
        )
        if self._views.get(network_id) != view:
            self._views[network_id] = view
        return self._views[network_id]

    def _render_pairs(
        self, rendered: dict[Unit, Iterable[AnyFlow]], changed: set[tuple[NetworkId, PortId]]
    ) -> None:
        """Render address pairs of placements that changed, and of ports that did. O(changes)."""
        of_ports = (
            {(self._networks.home(port_id), port_id) for port_id in self._dirty_ports} if self._paired else ()
        )
        for placed in changed | self._paired.intersection(of_ports):
            network_id, port_id = placed
            entry = self._networks.placement(network_id, port_id)
            if entry is not None and entry.pairs:
                self._paired.add(placed)
            else:
                self._paired.discard(placed)
            for rank in (pairs.ANNOUNCED, pairs.ASSUMED):
                rendered["shared", network_id, rank, port_id] = self._pair_flows(network_id, port_id, rank)

    def _pair_flows(self, network_id: NetworkId, port_id: PortId, rank: int) -> list[AnyFlow]:
        entry, view = self._networks.placement(network_id, port_id), self._view(network_id)
        if entry is None or view is None:
            return []
        network = self._networks.entry(network_id)
        if rank == pairs.ASSUMED and network is not None and network.on_demand:
            return []
        active = self._active(port_id) if self._networks.home(port_id) == network_id else None
        holder = pairs.Holder(entry, view, active.key if active is not None else None)
        return (pairs.announced_flows if rank == pairs.ANNOUNCED else pairs.assumed_flows)(holder)

    def _member(self, network_id: NetworkId, entry: Placement | None) -> Member | None:
        if entry is None or not entry.groups:
            return None
        network = self._networks.entry(network_id)
        return Member(entry, network.vni) if network is not None else None

    def _unknown_flows(self, network_id: NetworkId, subnet_id: SubnetId) -> list[Flow]:
        section = self._networks.section(network_id)
        subnet = section.subnets.get(subnet_id) if section is not None else None
        network = section.network if section is not None else None
        if subnet is None or network is None or not (network.on_demand and network.admin_state_up):
            return []
        return unknown_flows(subnet, network.vni, self._viewers.of(network.vni))

    def _viewers_changed(self, vnis: Iterable[int]) -> None:
        """Render again what asks for groups in these networks. O(what was learned of them)."""
        for vni in vnis:
            for network_id in self._networks.at(vni):
                section = self._networks.section(network_id)
                if section is not None and section.network is not None and section.network.on_demand:
                    self._dirty_subnets.update((network_id, subnet_id) for subnet_id in section.subnets)
                    self._dirty_placements.update((network_id, port_id) for port_id in section.placements)

    def _active(self, port_id: PortId) -> ActivePort | None:
        """Give the port as it is rendered, and its key; the key of a port that is gone rests."""
        section = self._networks.home_section(port_id)
        if section is None:
            self._keys.rest(port_id)
            return None
        key = self._keys.take(port_id)
        port = section.ports[port_id]
        network = section.network
        if network is None or not (port.admin_state_up and network.admin_state_up):
            return None
        return ActivePort(port, network.vni, key)

    def _replug(self, port_id: PortId) -> FlowChange:
        rendered: dict[Unit, Iterable[AnyFlow]] = {}
        reached = self._networks.sub_ports.reached_through((port_id,))
        if self._retold is not None:
            self._retold.note(reached, ())
        for each in reached:
            active = self._active(each) if self._networks.home(each) is not None else None
            rendered["plug", each] = self._plug_flows(each, active)
        return self._units.replace(rendered)

    def _plug_flows(self, port_id: PortId, active: ActivePort | None) -> list[Flow]:
        ofport = self._ofports.get(self._networks.sub_ports.carrier(port_id))
        if active is None or ofport is None:
            return []
        is_parent = self._networks.sub_ports.has_any(port_id)
        return local_port.plug_flows(active.port, active.vni, active.key, ofport, is_parent=is_parent)

    def _interface_flows(self, router_id: str, key: InterfaceKey) -> list[AnyFlow]:
        interface = self._routers.active_interface(router_id, key)
        if interface is None:
            return []
        number = self._routers.number(router_id, interface.scope)
        return routing.interface_flows(interface, router_id, number, self._facts.router_mac)

    def _route_flows(self, router_id: str) -> list[Flow]:
        router = self._routers.active(router_id)
        if router is None:
            return []
        legs = [leg for _, leg in sorted(router.interfaces.items())]
        numbers = {leg.scope: self._routers.number(router_id, leg.scope) for leg in legs}
        return routing.extra_route_flows(router.routes, legs, router_id, numbers, self._facts.router_mac)
