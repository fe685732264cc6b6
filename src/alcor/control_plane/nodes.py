"""What the region keeps in memory: a lean row for each port, and nodes for what ports touch.

Rows hold only what hosts must know, and share their ids with the nodes, so that a million ports fit in about a
gigabyte. A row is immutable: whoever keeps one while a change is folded has the state before it.
"""

from collections.abc import Mapping

import msgspec

from alcor.model import addressing, goal_state
from alcor.model.goal_state import NetworkEntry, Prefix, RouterInterface, Rule, SectionKey, SubnetEntry, Tag
from alcor.model.ids import (
    AddressGroupId,
    AddressScopeId,
    GroupId,
    HostId,
    NetworkId,
    PortId,
    ProjectId,
    RouterId,
    RuleId,
    SubnetId,
    SubnetPoolId,
    Vni,
)
from alcor.model.records import (
    ROUTER_INTERFACE,
    AddressPair,
    ExtraRoute,
    FixedIp,
    Host,
    Port,
    SecurityGroupRule,
    Subnet,
)

NO_ROUTER = RouterId("")
NO_HOST = HostId("")


class PortRow(msgspec.Struct, frozen=True, gc=False):
    """What hosts must know of a port. `router` is set when it is a router's interface, which has no host.

    `goal`: the revision that last changed what its own host must hold for it.
    """

    id: PortId
    network_id: NetworkId
    mac: int
    fixed_ips: tuple[FixedIp, ...]
    groups: tuple[GroupId, ...]
    host: HostId
    router: RouterId
    admin_state_up: bool
    port_security: bool
    goal: int
    pairs: tuple[AddressPair, ...] = ()
    announced: tuple[bytes, ...] = ()
    dhcp_options: tuple[tuple[int, bytes], ...] = ()
    tag: Tag | None = None

    @property
    def is_local(self) -> bool:
        """Does a host hold it as its own?"""
        return self.host != NO_HOST

    @property
    def ips(self) -> tuple[bytes, ...]:
        return tuple([fixed.ip for fixed in self.fixed_ips])  # of a list: half the time of a generator

    def describes(self, port: Port) -> bool:
        """Does the row say of the port what its record says?"""
        is_interface = port.device_owner == ROUTER_INTERFACE
        return (
            self.mac == port.mac
            and self.host == (NO_HOST if is_interface else port.host)
            and self.router == (port.device_id if is_interface else NO_ROUTER)
            and self.fixed_ips == port.fixed_ips
            and self.groups == port.security_groups
            and self.admin_state_up is port.admin_state_up
            and self.port_security is port.port_security_enabled
            and self.pairs == port.address_pairs
            and self.announced == port.announced
            and self.dhcp_options == options_of(port)
            and self.tag == tag_of(port)
        )


class HostNode:
    """A host that has ports or a record."""

    __slots__ = ("groups", "id", "networks", "record")

    def __init__(self, id: HostId) -> None:
        self.id = id
        self.record: Host | None = None
        self.networks: dict[NetworkId, dict[PortId, PortRow]] = {}  # its own ports
        self.groups: dict[GroupId, int] = {}  # how many of its secured ports are in the group

    @property
    def vtep(self) -> bytes:
        return self.record.vtep if self.record is not None else b""


class NetworkNode:
    """A network with its ports and the routers and hosts it touches."""

    __slots__ = (
        "addresses",
        "announced",
        "bound",
        "entry",
        "hosts",
        "id",
        "key",
        "on_demand",
        "pools",
        "project",
        "routers",
        "subnets",
    )

    def __init__(self, id: NetworkId) -> None:
        self.id = id
        self.key: SectionKey = goal_state.network_key(id)
        self.entry: NetworkEntry | None = None
        self.project = ProjectId("")
        self.subnets: dict[SubnetId, SubnetEntry] = {}
        self.pools: dict[SubnetId, SubnetPoolId] = {}  # of the subnets that are from one
        self.bound: dict[PortId, PortRow] = {}  # ports of workloads that have a host
        self.addresses: dict[bytes, PortRow] = {}  # the same ports by address
        self.announced: dict[bytes, PortRow] = {}  # and by addresses of their pairs that they announced
        self.on_demand = False  # hosts are told only the placements that they ask for
        self.hosts: dict[HostId, HostNode] = {}  # hosts that have a port in it
        self.routers: dict[RouterId, int] = {}  # how many interface ports of the router are in it

    @property
    def vni(self) -> Vni:
        return self.entry.vni if self.entry is not None else Vni(0)


class RouterNode:
    """A router with its legs."""

    __slots__ = ("admin_state_up", "hosts", "id", "interfaces", "key", "networks", "routes")

    def __init__(self, id: RouterId) -> None:
        self.id = id
        self.key: SectionKey = goal_state.router_key(id)
        self.admin_state_up = False  # until its record is known
        self.routes: tuple[ExtraRoute, ...] = ()
        self.interfaces: dict[PortId, tuple[RouterInterface, ...]] = {}
        self.networks: dict[NetworkId, int] = {}  # how many of its interface ports are in the network
        self.hosts: dict[HostId, int] = {}  # in how many of its networks the host has a port


class GroupNode:
    """A security group: its rules and whom it filters. Its members are told with their placements."""

    __slots__ = ("address_groups", "hosts", "id", "key", "rules", "stateful")

    def __init__(self, id: GroupId) -> None:
        self.id = id
        self.key: SectionKey = goal_state.group_key(id)
        self.stateful = True
        self.rules: dict[RuleId, Rule] = {}
        self.hosts: dict[HostId, int] = {}  # how many secured ports of the host are in it
        self.address_groups: dict[AddressGroupId, int] = {}  # how many of its rules are about the address group


class AddressGroupNode:
    """An address group: what is in it, and which groups have rules about it."""

    __slots__ = ("addresses", "groups", "id", "key")

    def __init__(self, id: AddressGroupId) -> None:
        self.id = id
        self.key: SectionKey = goal_state.addresses_key(id)
        self.addresses: set[Prefix] = set()
        self.groups: dict[GroupId, int] = {}  # how many rules of the group are about it


def options_of(port: Port) -> tuple[tuple[int, bytes], ...]:
    """Give what hosts must know of a port's DHCP options."""
    if not port.dhcp_options:
        return ()
    return tuple(
        (each.code | goal_state.DHCPV6 if each.ip_version == 6 else each.code, each.data)
        for each in port.dhcp_options
    )


def tag_of(port: Port) -> Tag | None:
    """Give what hosts must know of a port's trunk: of a sub-port only."""
    link = port.trunk
    return None if link is None or link.is_parent else Tag(link.parent_id, link.vlan)


def subnet_entry(subnet: Subnet) -> SubnetEntry:
    """Give what hosts must know of a subnet."""
    return SubnetEntry(
        subnet.id,
        subnet.cidr,
        subnet.gateway_ip,
        subnet.enable_dhcp,
        tuple(addressing.ip_from_text(text) for text in subnet.dns_nameservers),
        tuple(_route(destination, next_hop) for destination, next_hop in subnet.host_routes),
        subnet.ra_mode,
        subnet.address_mode,
    )


def rule_entry(rule: SecurityGroupRule) -> Rule:
    """Give what hosts must know of a rule."""
    return Rule(
        rule.id,
        rule.direction == "ingress",
        6 if rule.ethertype == "IPv6" else 4,
        rule.protocol,
        rule.port_min,
        rule.port_max,
        rule.remote_group_id,
        rule.remote_prefix,
        rule.remote_address_group_id,
    )


def interfaces_of(
    row: PortRow, network: NetworkNode, scopes: Mapping[SubnetPoolId, AddressScopeId]
) -> tuple[RouterInterface, ...]:
    """Give the legs that an interface port makes: one for each of its addresses, none while it is down.

    `scopes`: of pools that are in one. A subnet's CIDR and a network's VNI never change, so that legs need not
    follow them; but subnets become another pool's, and pools another scope's.
    """
    return tuple(
        RouterInterface(
            row.id,
            row.network_id,
            network.vni,
            network.subnets[fixed.subnet_id].cidr,
            fixed.ip,
            row.mac,
            scope_of(fixed.subnet_id, network, scopes),
        )
        for fixed in row.fixed_ips
        if row.admin_state_up and fixed.subnet_id in network.subnets
    )


def scope_of(subnet_id: SubnetId, network: NetworkNode, scopes: Mapping[SubnetPoolId, AddressScopeId]) -> str:
    """Name the address scope that a subnet is in; empty: in none."""
    pool_id = network.pools.get(subnet_id)
    return "" if pool_id is None else scopes.get(pool_id, "")


def _route(destination: str, next_hop: str) -> tuple[bytes, int, bytes]:
    cidr = addressing.Cidr.from_text(destination)
    return cidr.network, cidr.prefix_len, addressing.ip_from_text(next_hop)
