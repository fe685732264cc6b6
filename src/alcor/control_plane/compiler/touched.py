"""What a change is about to touch, noted before it is folded: the state before, for comparison after. Pure."""

from collections.abc import Iterable
from typing import TypeAlias

from alcor.contracts.store import Change
from alcor.control_plane.nodes import NO_HOST, NO_ROUTER, PortRow, RouterNode
from alcor.control_plane.region import Region
from alcor.model.goal_state import NetworkEntry, Prefix, RouterInterface, Rule, SubnetEntry
from alcor.model.ids import AddressGroupId, GroupId, HostId, NetworkId, PortId, RouterId, RuleId, SubnetId
from alcor.model.records import (
    ROUTER_INTERFACE,
    AddressGroupEntry,
    ExtraRoute,
    Host,
    Port,
    SecurityGroupRule,
)

RouterState: TypeAlias = tuple[bool, tuple[ExtraRoute, ...]]


def state_of(router: RouterNode | None) -> RouterState:
    """Give what is told of a router whole: is it up, and its extra routes."""
    return (router.admin_state_up, router.routes) if router is not None else (False, ())


class Touched:
    """The state before a change of everything that the change names. O(records in the change).

    Ports of a host whose tunnel endpoint may change count as named: O(ports on that host). So do the legs in
    subnets that come into another address scope.
    """

    def __init__(self, region: Region, change: Change) -> None:
        self._region = region
        self.ports: dict[PortId, PortRow | None] = {}
        self.vteps: dict[HostId, bytes] = {}
        self.networks: dict[NetworkId, NetworkEntry | None] = {}
        self.subnets: dict[tuple[NetworkId, SubnetId], SubnetEntry | None] = {}
        self.router_states: dict[RouterId, RouterState] = {}
        self.interfaces: dict[tuple[RouterId, PortId], tuple[RouterInterface, ...]] = {}
        self.stateful: dict[GroupId, bool] = {}
        self.rules: dict[RuleId, tuple[GroupId, Rule] | None] = {}
        # Of groups whose rules are named: the address groups that their rules were about.
        self.rules_about: dict[GroupId, frozenset[AddressGroupId]] = {}
        self.addresses: dict[tuple[AddressGroupId, Prefix], bool] = {}  # was it in the address group?
        self.on_host: dict[tuple[HostId, NetworkId], bool] = {}  # had the host a port in it?
        self.in_group: dict[tuple[HostId, GroupId], bool] = {}  # had the host a secured port in it?
        puts, deletes = change.puts, change.deletes
        for network in (*puts.networks, *deletes.networks):
            self._note_network(network.id)
        for pool in puts.subnetpools:
            if region.pool_scopes.get(pool.id) != pool.address_scope_id:
                for network_id in region.pool_networks.get(pool.id, ()):
                    self._note_legs(network_id)
        for subnet in puts.subnets:
            node = region.networks.get(subnet.network_id)
            if node is not None and node.pools.get(subnet.id) != subnet.subnetpool_id:
                self._note_legs(subnet.network_id)
        for subnet in (*puts.subnets, *deletes.subnets):
            node = region.networks.get(subnet.network_id)
            before = node.subnets.get(subnet.id) if node is not None else None
            self.subnets[subnet.network_id, subnet.id] = before
        for router in (*puts.routers, *deletes.routers):
            self._note_router(router.id)
        for group in (*puts.security_groups, *deletes.security_groups):
            self._note_group(group.id)
        self._note_rules(puts.security_group_rules)
        self._note_rules(deletes.security_group_rules)
        self._note_addresses(puts.address_group_entries)
        self._note_addresses(deletes.address_group_entries)
        self._note_ports(puts.ports, are_put=True)
        self._note_ports(deletes.ports, are_put=False)
        self._note_hosts((*puts.hosts, *deletes.hosts))

    def _note_network(self, network_id: NetworkId) -> None:
        """Ports that come and go may make a network on-demand, which its entry tells."""
        if network_id not in self.networks:
            node = self._region.networks.get(network_id)
            self.networks[network_id] = node.entry if node is not None else None

    def _note_router(self, router_id: RouterId) -> None:
        if router_id not in self.router_states:
            self.router_states[router_id] = state_of(self._region.routers.get(router_id))

    def _note_group(self, group_id: GroupId) -> None:
        node = self._region.groups.get(group_id)
        self.stateful.setdefault(group_id, node.stateful if node is not None else True)

    def _note_rules(self, rules: Iterable[SecurityGroupRule]) -> None:
        for rule in rules:
            group_id = self._region.rule_groups.get(rule.id)
            before: tuple[GroupId, Rule] | None = None
            if group_id is not None:
                before = (group_id, self._region.groups[group_id].rules[rule.id])
                self._note_rules_about(group_id)
            self.rules[rule.id] = before
            self._note_rules_about(rule.security_group_id)

    def _note_rules_about(self, group_id: GroupId) -> None:
        if group_id not in self.rules_about:
            node = self._region.groups.get(group_id)
            self.rules_about[group_id] = frozenset(node.address_groups if node is not None else ())

    def _note_addresses(self, entries: Iterable[AddressGroupEntry]) -> None:
        for entry in entries:
            node = self._region.address_groups.get(entry.address_group_id)
            named = (entry.address_group_id, entry.prefix)
            self.addresses.setdefault(named, node is not None and entry.prefix in node.addresses)

    def _note_ports(self, ports: Iterable[Port], *, are_put: bool) -> None:
        for port in ports:
            row = self._region.ports.get(port.id)
            self.ports[port.id] = row
            self._note_network(port.network_id)
            if row is not None:
                self._note_network(row.network_id)
                if row.router != NO_ROUTER:
                    self._note_interface(row.router, port.id)
                elif row.host != NO_HOST:
                    self._note_local(row.host, row.network_id, row.groups)
            if not are_put:
                continue
            if port.device_owner == ROUTER_INTERFACE:
                self._note_interface(RouterId(port.device_id), port.id)
            elif port.host:
                self._note_local(port.host, port.network_id, port.security_groups)

    def _note_interface(self, router_id: RouterId, port_id: PortId) -> None:
        self._note_router(router_id)
        node = self._region.routers.get(router_id)
        legs = node.interfaces.get(port_id, ()) if node is not None else ()
        self.interfaces.setdefault((router_id, port_id), legs)

    def _note_legs(self, network_id: NetworkId) -> None:
        """The subnets of a network come into another address scope: O(legs of its routers)."""
        for router_id in self._region.networks[network_id].routers:
            for port_id in self._region.routers[router_id].interfaces:
                if self._region.ports[port_id].network_id == network_id:
                    self._note_interface(router_id, port_id)

    def _note_local(self, host_id: HostId, network_id: NetworkId, groups: tuple[GroupId, ...]) -> None:
        if (host_id, network_id) not in self.on_host:
            network = self._region.networks.get(network_id)
            self.on_host[host_id, network_id] = network is not None and host_id in network.hosts
        for group_id in groups:
            if (host_id, group_id) not in self.in_group:
                group = self._region.groups.get(group_id)
                self.in_group[host_id, group_id] = group is not None and host_id in group.hosts

    def _note_hosts(self, hosts: Iterable[Host]) -> None:
        for host in hosts:
            if host.id in self.vteps:
                continue
            self.vteps[host.id] = self._region.vtep(host.id)
            node = self._region.hosts.get(host.id)
            for rows in node.networks.values() if node is not None else ():
                for port_id, row in rows.items():
                    self.ports.setdefault(port_id, row)
