"""The stored nouns: one frozen record per row, as the store keeps it and the change log carries it.

Records are encoded as msgpack arrays, so a stored body is read by position: fields are only ever appended,
with a default, and never reordered or removed (docs/decisions/0002-records.md). Times are microseconds since
1970 UTC. `revision_number` is Neutron's per-object counter; it grows with every change of the object and of
its children (a rule bumps its group, an interface its router).
"""

from typing import TypeAlias

import msgspec

from alcor.model.addressing import Cidr
from alcor.model.ids import (
    AddressGroupEntryId,
    AddressGroupId,
    AddressScopeId,
    DefaultRuleId,
    GroupId,
    HostId,
    NetworkId,
    PolicyId,
    PortGroupId,
    PortId,
    ProjectId,
    RouterId,
    RuleId,
    SubnetId,
    SubnetPoolId,
    TrunkId,
    Vni,
)

PARENT = "PARENT"  # as remote group of a default rule: the group that gets it
ROUTER_INTERFACE = "network:router_interface"  # device_owner of a router's ports
ACCESS_AS_SHARED = "access_as_shared"  # action of an RBAC policy
EVERYBODY = "*"  # target of an RBAC policy: every project
SUB_PORT = "trunk:subport"  # device_owner of a trunk's sub-ports; their device_id is the trunk's id
SLAAC, DHCPV6_STATEFUL, DHCPV6_STATELESS = "slaac", "dhcpv6-stateful", "dhcpv6-stateless"
IPV6_MODES = (DHCPV6_STATEFUL, DHCPV6_STATELESS, SLAAC)
DERIVED_MODES = (SLAAC, DHCPV6_STATELESS)  # a host makes its address itself (RFC 4862)
PRIORITY_DEFAULT = 50
PRIORITY_MAX = 100


class Record(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """What every record has. Closed: a field added here would shift those of every kind."""

    id: str
    project_id: ProjectId
    name: str = ""
    description: str = ""
    created_at: int = 0
    updated_at: int = 0
    revision_number: int = 0
    tags: tuple[str, ...] = ()


class Network(Record, frozen=True, array_like=True, kw_only=True):
    """A VPC: a layer-2 domain of its own, named on the wire by its VNI."""

    id: NetworkId
    vni: Vni
    mtu: int = 1450
    admin_state_up: bool = True
    shared: bool = False  # no longer used: RBAC policies say it
    port_security_enabled: bool = True
    zone_hints: tuple[str, ...] = ()


class Subnet(Record, frozen=True, array_like=True, kw_only=True):
    """A range of addresses of one network."""

    id: SubnetId
    network_id: NetworkId
    cidr: tuple[bytes, int]  # a Cidr: packed network address, prefix length
    gateway_ip: bytes | None = None
    pools: tuple[tuple[bytes, bytes], ...] = ()  # inclusive ends, ascending, disjoint
    dns_nameservers: tuple[str, ...] = ()
    host_routes: tuple[tuple[str, str], ...] = ()  # (destination CIDR, next hop)
    enable_dhcp: bool = True
    subnetpool_id: SubnetPoolId | None = None
    service_types: tuple[str, ...] = ()  # device owners that get addresses here; none: all
    ra_mode: str = ""  # what router advertisements say: a word of IPV6_MODES; empty: none are sent
    address_mode: str = ""  # how ports get their addresses: a word of IPV6_MODES; empty: they are told outside

    @property
    def is_derived(self) -> bool:
        """Does a port's address here follow from its MAC address, and belong to every port of a workload?

        Also when only advertisements say so: a host that hears them makes its address.
        """
        return self.address_mode in DERIVED_MODES or self.ra_mode in DERIVED_MODES

    @property
    def ip_version(self) -> int:
        """4 or 6."""
        return 4 if len(self.cidr[0]) == 4 else 6


class FixedIp(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """An address that a port holds."""

    subnet_id: SubnetId
    ip: bytes


class AddressPair(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """Further addresses that a port may send from and receive for, under this MAC address."""

    mac: int
    network: bytes
    prefix_len: int

    def covers(self, ip: bytes) -> bool:
        """Is the address one of the pair's?"""
        return Cidr(self.network, self.prefix_len).contains(ip)


class DhcpOption(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What DHCP tells a port beside the rest, or instead: as the client wrote it, and as it is on the wire."""

    name: str
    value: str
    code: int
    data: bytes
    ip_version: int = 4  # 6: it is DHCPv6's


class PortBinding(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A host that a port is prepared for, and is not bound to."""

    host: HostId
    vnic_type: str = "normal"
    profile: msgspec.Raw = msgspec.Raw(b"\x80")  # msgpack map, kept as the client sent it


class TrunkLink(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a port is of a trunk: the parent, or a sub-port in the frames of a parent under a VLAN."""

    trunk_id: TrunkId
    parent_id: PortId = PortId("")  # empty: it is the parent
    vlan: int = 0

    @property
    def is_parent(self) -> bool:
        return self.parent_id == ""


class Port(Record, frozen=True, array_like=True, kw_only=True):
    """An endpoint: of a workload when it has a host, of a router when its owner says so."""

    id: PortId
    network_id: NetworkId
    mac: int
    fixed_ips: tuple[FixedIp, ...] = ()
    security_groups: tuple[GroupId, ...] = ()  # ascending
    host: HostId = HostId("")  # binding:host_id; empty is unbound
    device_id: str = ""
    device_owner: str = ""
    admin_state_up: bool = True
    port_security_enabled: bool = True
    vnic_type: str = "normal"
    binding_profile: msgspec.Raw = msgspec.Raw(b"\x80")  # msgpack map, kept as the client sent it
    port_group_id: PortGroupId = PortGroupId("")
    fast_path: bool = False  # its changes go before those of others
    address_pairs: tuple[AddressPair, ...] = ()  # ascending
    announced: tuple[
        bytes, ...
    ] = ()  # ascending; addresses of its pairs of which its workload said: they are mine
    dhcp_options: tuple[DhcpOption, ...] = ()  # ascending by IP version and name
    inactive_bindings: tuple[PortBinding, ...] = ()  # ascending by host; never that of `host`
    data_plane_status: str = ""  # ACTIVE | DOWN, as somebody outside of Alcor says; empty: nobody does
    network_owner: ProjectId = ProjectId("")  # of a guest: the project whose network it is on; else empty
    borrowed_groups: tuple[GroupId, ...] = ()  # ascending; those of its groups that are other projects'
    trunk: TrunkLink | None = None

    @property
    def borrowed(self) -> tuple[str, ...]:
        """Other projects' objects that it uses."""
        return (self.network_id, *self.borrowed_groups) if self.network_owner else self.borrowed_groups


class SecurityGroup(Record, frozen=True, array_like=True, kw_only=True):
    """A set of ports and what they may send and receive."""

    id: GroupId
    is_default: bool = False
    stateful: bool = True


class SecurityGroupRule(Record, frozen=True, array_like=True, kw_only=True):
    """One permission. Everything that no rule permits is dropped.

    `protocol` is an IP protocol number, or None for any. `port_min`/`port_max` are ports for tcp, udp and sctp
    (inclusive), type and code for ICMP; None for any.
    """

    id: RuleId
    security_group_id: GroupId
    direction: str  # ingress | egress
    ethertype: str = "IPv4"  # IPv4 | IPv6
    protocol: int | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_group_id: GroupId | None = None
    remote_prefix: tuple[bytes, int] | None = None
    protocol_text: str | None = None  # as the client wrote it: 'tcp' and '6' are shown as given
    remote_address_group_id: AddressGroupId | None = None
    prefix_text: str | None = None  # `remote_prefix` as the client wrote it; None in rules of earlier releases


class ExtraRoute(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """Where a router sends packets for a destination that is none of its subnets: to a port on one of them."""

    destination: tuple[bytes, int]  # a Cidr
    next_hop: bytes


class Router(Record, frozen=True, array_like=True, kw_only=True):
    """Joins subnets. Its interfaces are ports with device_owner ROUTER_INTERFACE and device_id its id."""

    id: RouterId
    admin_state_up: bool = True
    routes: tuple[ExtraRoute, ...] = ()  # ascending
    zone_hints: tuple[str, ...] = ()


class PortGroup(Record, frozen=True, array_like=True, kw_only=True):
    """Many ports made in one call from one template."""

    id: PortGroupId
    network_id: NetworkId
    size: int
    template: msgspec.Raw = msgspec.Raw(b"\x80")  # msgpack map of the request's template
    fast_path: bool = False  # its ports ask for the fast path


class Host(Record, frozen=True, array_like=True, kw_only=True):
    """A compute host, as its agent introduced it. `id` is the host name; project_id is empty."""

    id: HostId
    vtep: bytes  # tunnel endpoint, packed
    zone: str = ""
    data_plane: str = ""
    configurations: msgspec.Raw = msgspec.Raw(b"\x80")


class Project(Record, frozen=True, array_like=True, kw_only=True):
    """What the operator says of a tenant. `id` and `project_id` are its name; most tenants have no record."""

    id: ProjectId
    priority: int = PRIORITY_DEFAULT  # 0 .. PRIORITY_MAX: hosts of higher ones are synchronised first
    quotas: tuple[tuple[str, int], ...] = ()  # (kind, limit), ascending; of other kinds the default


class RbacPolicy(Record, frozen=True, array_like=True, kw_only=True):
    """Lets a project see and use an object of another one. Its `name` is empty."""

    id: PolicyId
    object_type: str  # as clients name it
    object_id: str
    target: str  # a project, or EVERYBODY
    action: str = ACCESS_AS_SHARED


class AddressScope(Record, frozen=True, array_like=True, kw_only=True):
    """Where addresses are unique, and within which routers forward."""

    id: AddressScopeId
    ip_version: int = 4


class SubnetPool(Record, frozen=True, array_like=True, kw_only=True):
    """Prefixes of which subnets are cut. Every subnet cut or given back revises its pool."""

    id: SubnetPoolId
    ip_version: int = 4
    prefixes: tuple[tuple[bytes, int], ...] = ()  # ascending, the fewest there can be
    free: tuple[tuple[bytes, int], ...] = ()  # what of them no subnet has; in the same form
    min_prefixlen: int
    max_prefixlen: int
    default_prefixlen: int
    default_quota: int | None = None  # addresses that a project may have of it
    address_scope_id: AddressScopeId | None = None
    is_default: bool = False

    @property
    def default_version(self) -> int | None:
        """The IP version for which it is the region's default, if it is."""
        return self.ip_version if self.is_default else None


class AddressGroup(Record, frozen=True, array_like=True, kw_only=True):
    """A set of addresses that rules may name. What is in it are its entries, `size` in number."""

    id: AddressGroupId
    size: int = 0


class AddressGroupEntry(Record, frozen=True, array_like=True, kw_only=True):
    """Addresses of an address group. A record of its own: one more costs one, however many there are."""

    id: AddressGroupEntryId  # made from group and prefix: nothing is in a group twice
    address_group_id: AddressGroupId
    prefix: tuple[bytes, int]


class DefaultRule(Record, frozen=True, array_like=True, kw_only=True):
    """A rule that new security groups get; the operator's. Fields as in `SecurityGroupRule`.

    `remote_group_id` may be PARENT: the new group itself.
    """

    id: DefaultRuleId
    direction: str
    ethertype: str = "IPv4"
    protocol: int | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_group_id: str | None = None
    remote_prefix: tuple[bytes, int] | None = None
    protocol_text: str | None = None
    remote_address_group_id: AddressGroupId | None = None
    prefix_text: str | None = None
    used_in_default_sg: bool = False
    used_in_non_default_sg: bool = True


class SubPort(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A port whose frames its trunk's parent carries under a VLAN."""

    vlan: int
    port_id: PortId


class Trunk(Record, frozen=True, array_like=True, kw_only=True):
    """Lets a parent port's workload have sub-ports. Each port of it says the same (`Port.trunk`)."""

    id: TrunkId
    port_id: PortId
    admin_state_up: bool = True
    sub_ports: tuple[SubPort, ...] = ()  # ascending


AnyRecord: TypeAlias = (
    Network
    | Subnet
    | Port
    | SecurityGroup
    | SecurityGroupRule
    | Router
    | PortGroup
    | Host
    | Project
    | RbacPolicy
    | AddressScope
    | SubnetPool
    | AddressGroup
    | AddressGroupEntry
    | DefaultRule
    | Trunk
)

KINDS: dict[str, type[AnyRecord]] = {
    "network": Network,
    "subnet": Subnet,
    "port": Port,
    "security_group": SecurityGroup,
    "security_group_rule": SecurityGroupRule,
    "router": Router,
    "port_group": PortGroup,
    "host": Host,
    "project": Project,
    "rbac_policy": RbacPolicy,
    "address_scope": AddressScope,
    "subnetpool": SubnetPool,
    "address_group": AddressGroup,
    "address_group_entry": AddressGroupEntry,
    "default_security_group_rule": DefaultRule,
    "trunk": Trunk,
}
KIND_OF: dict[type[AnyRecord], str] = {record_type: kind for kind, record_type in KINDS.items()}


class RecordSet(msgspec.Struct, frozen=True, array_like=True):
    """Records of all kinds, as a transaction writes them and the change log carries them."""

    networks: tuple[Network, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    ports: tuple[Port, ...] = ()
    security_groups: tuple[SecurityGroup, ...] = ()
    security_group_rules: tuple[SecurityGroupRule, ...] = ()
    routers: tuple[Router, ...] = ()
    port_groups: tuple[PortGroup, ...] = ()
    hosts: tuple[Host, ...] = ()
    projects: tuple[Project, ...] = ()
    rbac_policies: tuple[RbacPolicy, ...] = ()
    address_scopes: tuple[AddressScope, ...] = ()
    subnetpools: tuple[SubnetPool, ...] = ()
    address_groups: tuple[AddressGroup, ...] = ()
    address_group_entries: tuple[AddressGroupEntry, ...] = ()
    default_rules: tuple[DefaultRule, ...] = ()
    trunks: tuple[Trunk, ...] = ()


_PLACE_OF = dict(zip(KINDS.values(), RecordSet.__struct_fields__, strict=True))


def set_of(record: AnyRecord) -> RecordSet:
    """Give the set with one record."""
    return RecordSet(**{_PLACE_OF[type(record)]: (record,)})  # type: ignore[arg-type]  # by its kind
