"""How sections changed between the state before a change and the region after it. Pure.

The same for all hosts but for own ports, which are given per host and network.
"""

from functools import cached_property

from alcor.control_plane.compiler import entries, touched
from alcor.control_plane.compiler.touched import Touched
from alcor.control_plane.nodes import PortRow
from alcor.control_plane.region import Region
from alcor.model.goal_state import (
    AddressesChange,
    GroupChange,
    LocalPort,
    NetworkChange,
    NetworkEntry,
    Placement,
    Prefix,
    RouterChange,
    RouterInterface,
    Rule,
    SubnetEntry,
)
from alcor.model.ids import AddressGroupId, GroupId, HostId, NetworkId, PortId, RouterId, RuleId, SubnetId

OwnPorts = dict[tuple[HostId, NetworkId], tuple[list[LocalPort], list[PortId]]]


class _NetworkParts:
    """A network's change while it is collected."""

    __slots__ = ("entry", "gone_placements", "gone_subnets", "set_placements", "set_subnets")

    def __init__(self) -> None:
        self.entry: NetworkEntry | None = None
        self.set_subnets: list[SubnetEntry] = []
        self.gone_subnets: list[SubnetId] = []
        self.set_placements: list[Placement] = []
        self.gone_placements: list[PortId] = []


class _GroupParts:
    """A group's change while it is collected."""

    __slots__ = ("gone_rules", "set_rules")

    def __init__(self) -> None:
        self.set_rules: list[Rule] = []
        self.gone_rules: list[RuleId] = []


class Changes:
    """Reads the region after the change, against what was noted before it."""

    def __init__(self, region: Region, before: Touched) -> None:
        self._region = region
        self._before = before
        self._own: OwnPorts = {}
        self._networks: dict[NetworkId, _NetworkParts] = {}
        self._groups: dict[GroupId, _GroupParts] = {}
        self.entries_built = 0
        self._compare_networks()
        self._compare_ports()
        self._compare_rules()

    def own_ports(self) -> OwnPorts:
        """Give what changed of hosts' own ports: (host, network) -> (set, gone)."""
        return self._own

    def networks(self) -> dict[NetworkId, NetworkChange]:
        """Give the networks whose shared part changed."""
        return self._network_changes

    def routers(self) -> dict[RouterId, RouterChange]:
        """Give the routers that changed."""
        return self._router_changes

    @cached_property
    def _network_changes(self) -> dict[NetworkId, NetworkChange]:
        found = {}
        for network_id, parts in self._networks.items():
            found[network_id] = NetworkChange(
                parts.entry,
                tuple(parts.set_subnets),
                tuple(parts.gone_subnets),
                (),
                (),
                tuple(parts.set_placements),
                tuple(parts.gone_placements),
            )
        return found

    @cached_property
    def _router_changes(self) -> dict[RouterId, RouterChange]:
        changed: dict[RouterId, tuple[list[RouterInterface], list[RouterInterface]]] = {}
        for (router_id, port_id), legs_before in self._before.interfaces.items():
            node = self._region.routers.get(router_id)
            legs = node.interfaces.get(port_id, ()) if node is not None else ()
            if legs == legs_before:
                continue
            set_legs, gone_legs = changed.setdefault(router_id, ([], []))
            kept = {leg.cidr for leg in legs}
            set_legs.extend(leg for leg in legs if leg not in legs_before)
            gone_legs.extend(leg for leg in legs_before if leg.cidr not in kept)
        found = {}
        for router_id, state_before in self._before.router_states.items():
            is_up, routes = state = touched.state_of(self._region.routers.get(router_id))
            if router_id in changed or state != state_before:
                set_legs, gone_legs = changed.get(router_id, ([], []))
                gone = tuple((leg.port_id, leg.cidr) for leg in gone_legs)
                found[router_id] = RouterChange(is_up, tuple(set_legs), gone, routes)
                self.entries_built += len(set_legs) + len(gone)
        return found

    def groups(self) -> dict[GroupId, GroupChange]:
        """Give the groups that changed."""
        return self._group_changes

    def is_stateful_changed(self, group_id: GroupId) -> bool:
        """Did the group become stateful or stateless?"""
        node = self._region.groups.get(group_id)
        return node is not None and self._before.stateful.get(group_id, node.stateful) != node.stateful

    @cached_property
    def _group_changes(self) -> dict[GroupId, GroupChange]:
        found = {}
        for group_id in {*self._groups, *self._before.stateful}:
            node = self._region.groups.get(group_id)
            parts = self._groups.get(group_id) or _GroupParts()
            change = GroupChange(
                node.stateful if node is not None else True,
                tuple(parts.set_rules),
                tuple(parts.gone_rules),
            )
            if self.is_stateful_changed(group_id) or change != GroupChange(change.stateful):
                found[group_id] = change
                self.entries_built += len(change.set_rules) + len(change.gone_rules)
        return found

    @cached_property
    def addresses(self) -> dict[AddressGroupId, AddressesChange]:
        """The address groups that changed."""
        changed: dict[AddressGroupId, tuple[list[Prefix], list[Prefix]]] = {}
        for (address_group_id, prefix), was_in in self._before.addresses.items():
            node = self._region.address_groups.get(address_group_id)
            is_in = node is not None and prefix in node.addresses
            if is_in != was_in:
                changed.setdefault(address_group_id, ([], []))[0 if is_in else 1].append(prefix)
                self.entries_built += 1
        return {id_: AddressesChange(tuple(came), tuple(gone)) for id_, (came, gone) in changed.items()}

    def _compare_networks(self) -> None:
        for network_id, entry_before in self._before.networks.items():
            node = self._region.networks.get(network_id)
            if node is not None and node.entry != entry_before:
                self._network(network_id).entry = node.entry
                self.entries_built += 1
        for (network_id, subnet_id), subnet_before in self._before.subnets.items():
            node = self._region.networks.get(network_id)
            subnet = node.subnets.get(subnet_id) if node is not None else None
            if subnet == subnet_before:
                continue
            self.entries_built += 1
            if subnet is not None:
                self._network(network_id).set_subnets.append(subnet)
            else:
                self._network(network_id).gone_subnets.append(subnet_id)

    def _compare_ports(self) -> None:
        ports, vteps = self._region.ports, self._before.vteps
        for port_id, old in self._before.ports.items():
            new = ports.get(port_id)
            if old is new:
                if old is not None and old.host in vteps:
                    self._compare_placements(old, old)
                continue
            self._compare_own(old, new)
            self._compare_placements(old, new)

    def _compare_own(self, old: PortRow | None, new: PortRow | None) -> None:
        if old is not None and old.is_local:
            stays = new is not None and new.host == old.host and new.network_id == old.network_id
            if not stays:
                self._own_of(old)[1].append(old.id)
                self.entries_built += 1
        if new is None or not new.is_local:
            return
        entry = entries.local_port(new)
        if (
            old is None
            or old.host != new.host
            or old.network_id != new.network_id
            or entry != entries.local_port(old)
        ):
            self._own_of(new)[0].append(entry)
            self.entries_built += 1

    def _compare_placements(self, old: PortRow | None, new: PortRow | None) -> None:
        before = entries.placement(old, self._vtep_before(old.host)) if old is not None else None
        after = entries.placement(new, self._region.vtep(new.host)) if new is not None else None
        if before is not None and (
            after is None or (new is not None and old is not None and new.network_id != old.network_id)
        ):
            assert old is not None
            self._network(old.network_id).gone_placements.append(old.id)
            self.entries_built += 1
        if (
            after is not None
            and new is not None
            and (after != before or old is None or old.network_id != new.network_id)
        ):
            self._network(new.network_id).set_placements.append(after)
            self.entries_built += 1

    def _compare_rules(self) -> None:
        for rule_id, before in self._before.rules.items():
            group_id = self._region.rule_groups.get(rule_id)
            rule = self._region.groups[group_id].rules[rule_id] if group_id is not None else None
            if before is not None and before[0] != group_id:
                self._group(before[0]).gone_rules.append(rule_id)
            if group_id is not None and rule is not None and before != (group_id, rule):
                self._group(group_id).set_rules.append(rule)

    def _vtep_before(self, host_id: HostId) -> bytes:
        vtep = self._before.vteps.get(host_id)
        return self._region.vtep(host_id) if vtep is None else vtep

    def _own_of(self, row: PortRow) -> tuple[list[LocalPort], list[PortId]]:
        pair = (row.host, row.network_id)
        own = self._own.get(pair)
        if own is None:
            own = self._own[pair] = ([], [])
        return own

    def _network(self, network_id: NetworkId) -> _NetworkParts:
        parts = self._networks.get(network_id)
        if parts is None:
            parts = self._networks[network_id] = _NetworkParts()
        return parts

    def _group(self, group_id: GroupId) -> _GroupParts:
        parts = self._groups.get(group_id)
        if parts is None:
            parts = self._groups[group_id] = _GroupParts()
        return parts
