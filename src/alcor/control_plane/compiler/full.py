"""What a host must hold, compiled from nothing: the specification of the compiler (law 5). Simple and slow.

A host has *local ports*: those bound to it that are no router interfaces. From them follows everything:

- a network section for every network in the domain of a network with a local port, where the domain is the
  network and those one router away (whether that router is up or not, so that flags alone change nothing else).
  It lists the local ports, and the placement of every port of the network that is up, on a host with a tunnel
  endpoint, and no router interface; of an on-demand network only those of local ports and those learned.
  A placement names the port's security groups: so a host knows the members of any group among all addresses
  that it can exchange packets with, and learns of no others;
- a router section for every router with an interface in a network *with a local port*: packets are routed on
  the sender's host, so a router further away decides nothing here. It lists the interfaces that are up,
  each with the address scope of its subnet,
  and the extra routes;
- a group section for every group of a local port with port security;
- an addresses section for every address group that a rule of these groups names.

Flags (admin_state_up) travel; the pipeline does not forward for what is down.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from alcor.control_plane.compiler import entries
from alcor.control_plane.nodes import scope_of
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import (
    AddressesChange,
    GroupChange,
    NetworkChange,
    RouterChange,
    RouterInterface,
    SectionChange,
    SectionKey,
)
from alcor.model.ids import AddressGroupId, GroupId, HostId, NetworkId, PortId, RouterId

_NOTHING: Mapping[NetworkId, Iterable[PortId]] = MappingProxyType({})


def compile_full(
    region: Region, host_id: HostId, learned: Mapping[NetworkId, Iterable[PortId]] = _NOTHING
) -> dict[SectionKey, SectionChange]:
    """Give every section of the host as the change from nothing, entries sorted. O(ports in the region).

    `learned`: the ports that the host asked for, by network.
    It reads the rows alone and none of the region's indexes of ports, so that it catches their mistakes.
    """
    local = [row for row in region.ports.values() if row.is_local and row.host == host_id]
    own_networks = {row.network_id for row in local}
    routers = {row.router for row in region.ports.values() if row.router and row.network_id in own_networks}
    domain = own_networks | {row.network_id for row in region.ports.values() if row.router in routers}
    groups = {group_id for row in local if row.port_security for group_id in row.groups}
    sections: dict[SectionKey, SectionChange] = {}
    for network_id in domain:
        sections[goal_state.network_key(network_id)] = _network(
            region, network_id, host_id, frozenset(learned.get(network_id, ()))
        )
    for router_id in routers:
        sections[goal_state.router_key(router_id)] = _router(region, router_id)
    for group_id in groups:
        sections[goal_state.group_key(group_id)] = _group(region, group_id)
        for rule in region.groups[group_id].rules.values():
            if rule.remote_addresses is not None:
                key = goal_state.addresses_key(rule.remote_addresses)
                sections[key] = _addresses(region, rule.remote_addresses)
    return sections


def _network(
    region: Region, network_id: NetworkId, host_id: HostId, learned: frozenset[PortId]
) -> NetworkChange:
    node = region.networks[network_id]
    rows = sorted(
        (row for row in region.ports.values() if row.network_id == network_id), key=lambda row: row.id
    )
    placements = [
        entries.placement(row, region.vtep(row.host))
        for row in rows
        if not node.on_demand or row.host == host_id or row.id in learned
    ]
    return NetworkChange(
        network=node.entry,
        set_subnets=tuple(subnet for _, subnet in sorted(node.subnets.items())),
        set_ports=tuple(entries.local_port(row) for row in rows if row.is_local and row.host == host_id),
        set_placements=tuple(placement for placement in placements if placement is not None),
    )


def _router(region: Region, router_id: RouterId) -> RouterChange:
    interfaces: list[RouterInterface] = []
    for row in region.ports.values():
        if row.router != router_id or not row.admin_state_up:
            continue
        network = region.networks[row.network_id]
        for fixed in row.fixed_ips:
            subnet = network.subnets[fixed.subnet_id]
            scope = scope_of(subnet.id, network, region.pool_scopes)
            interfaces.append(
                RouterInterface(row.id, row.network_id, network.vni, subnet.cidr, fixed.ip, row.mac, scope)
            )
    interfaces.sort(key=lambda interface: (interface.port_id, interface.cidr))
    node = region.routers[router_id]
    return RouterChange(node.admin_state_up, tuple(interfaces), routes=node.routes)


def _group(region: Region, group_id: GroupId) -> GroupChange:
    node = region.groups[group_id]
    return GroupChange(stateful=node.stateful, set_rules=tuple(rule for _, rule in sorted(node.rules.items())))


def _addresses(region: Region, address_group_id: AddressGroupId) -> AddressesChange:
    return AddressesChange(set_addresses=tuple(sorted(region.address_groups[address_group_id].addresses)))
