"""What one host must hold: numbered sections, and the changes between two versions of one.

    section key     a host holds it when                   it holds
    network:<id>    it has a port in a network of the      the network, its subnets, this host's own ports,
                    network's domain                       and who is where, in which security groups
                                                           (placements); of an on-demand network only its
                                                           own ports and those that it asked for
    router:<id>     it has a port in a network of it       the router's interfaces and extra routes
    group:<id>      one of its ports is in the group       the rules
    addresses:<id>  it has a group with a rule about it    the addresses of an address group

The *domain* of a network is the network itself and those one router away from it.
A change and a full section have one form: a full section is the change from nothing. `set_*` entries replace
those with the same key, `gone_*` name the keys to forget. Keys are unique in a section. All structs travel as
msgpack arrays: fields are only ever appended, with a default.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, NewType, TypeAlias, TypeVar

import msgspec

from alcor.model import errors
from alcor.model.ids import AddressGroupId, GroupId, NetworkId, PortId, RouterId, RuleId, SubnetId, Vni
from alcor.model.records import AddressPair, ExtraRoute, FixedIp
from alcor.model.version import Version

SectionKey = NewType("SectionKey", str)
Prefix: TypeAlias = tuple[bytes, int]  # network address, prefix length

_K = TypeVar("_K", bound=Any)  # keys are sortable; Python 3.11 has no way to say so shortly
_V = TypeVar("_V")


def network_key(network_id: str) -> SectionKey:
    return SectionKey(f"network:{network_id}")


def router_key(router_id: str) -> SectionKey:
    return SectionKey(f"router:{router_id}")


def group_key(group_id: str) -> SectionKey:
    return SectionKey(f"group:{group_id}")


def addresses_key(address_group_id: str) -> SectionKey:
    return SectionKey(f"addresses:{address_group_id}")


class NetworkKey(msgspec.Struct, frozen=True, gc=False):
    """Names a network's section."""

    id: NetworkId


class RouterKey(msgspec.Struct, frozen=True, gc=False):
    """Names a router's section."""

    id: RouterId


class GroupKey(msgspec.Struct, frozen=True, gc=False):
    """Names a security group's section."""

    id: GroupId


class AddressesKey(msgspec.Struct, frozen=True, gc=False):
    """Names an address group's section."""

    id: AddressGroupId


ParsedKey: TypeAlias = NetworkKey | RouterKey | GroupKey | AddressesKey


def parse_key(key: SectionKey) -> ParsedKey:
    """Tell what a section is of. Raises Invalid for what names none."""
    match key.split(":", 1):
        case ["network", id_]:
            return NetworkKey(NetworkId(id_))
        case ["router", id_]:
            return RouterKey(RouterId(id_))
        case ["group", id_]:
            return GroupKey(GroupId(id_))
        case ["addresses", id_]:
            return AddressesKey(AddressGroupId(id_))
        case _:
            raise errors.Invalid(f"'{key}' names no section")


def is_of_network(key: SectionKey) -> bool:
    """Is it a network's section? As `parse_key` says, at a fraction of its cost."""
    return key.startswith(_NETWORK)


_NETWORK = network_key("")


class _Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of what sections hold. Not tracked by the collector: it cannot be part of a cycle, and is many."""


class NetworkEntry(_Entry, frozen=True, array_like=True):
    """The network itself; one in each network section.

    `on_demand`: the network is too large to be told whole; a host asks for the placements that it needs.
    """

    id: NetworkId
    vni: Vni
    mtu: int
    admin_state_up: bool
    on_demand: bool = False


DHCPV6 = 1 << 16  # in the code of a port's DHCP option: it is one of DHCPv6


class SubnetEntry(_Entry, frozen=True, array_like=True):
    """What DHCP and router advertisements must say of a subnet. Key: id. Modes as in `records.Subnet`."""

    id: SubnetId
    cidr: tuple[bytes, int]
    gateway_ip: bytes | None
    enable_dhcp: bool
    dns_nameservers: tuple[bytes, ...]
    host_routes: tuple[tuple[bytes, int, bytes], ...]  # destination network, prefix length, next hop
    ra_mode: str = ""
    address_mode: str = ""


class Tag(_Entry, frozen=True, array_like=True):
    """Where a sub-port's frames are: in those of another port's workload on the host, under a VLAN."""

    parent: PortId
    vlan: int  # 1 .. 4094


class LocalPort(_Entry, frozen=True, array_like=True):
    """A port of this host. Key: id."""

    id: PortId
    mac: int
    fixed_ips: tuple[FixedIp, ...]
    groups: tuple[GroupId, ...]
    port_security: bool
    admin_state_up: bool
    pairs: tuple[AddressPair, ...] = ()
    dhcp_options: tuple[tuple[int, bytes], ...] = ()  # code (DHCPV6), value; before DHCP's own
    tag: Tag | None = None  # of a sub-port: it is plugged when its parent is


class Placement(_Entry, frozen=True, array_like=True):
    """Where a port of the network is, this host's own included. Key: port_id.

    `groups`: the security groups that its addresses are members of, for rules that name those remote.
    `pairs`: what else it may send from. `announced`: addresses of these that it holds, as its workload said.
    """

    port_id: PortId
    mac: int
    ips: tuple[bytes, ...]
    vtep: bytes
    groups: tuple[GroupId, ...] = ()
    pairs: tuple[AddressPair, ...] = ()
    announced: tuple[bytes, ...] = ()


class RouterInterface(_Entry, frozen=True, array_like=True):
    """One leg of a router: its address in one subnet. Key: (port_id, subnet cidr).

    `scope`: the subnet's address scope, empty for none; packets go between legs of the same only.
    """

    port_id: PortId
    network_id: NetworkId
    vni: Vni
    cidr: tuple[bytes, int]
    ip: bytes
    mac: int
    scope: str = ""


class Rule(_Entry, frozen=True, array_like=True):
    """A security group rule. Key: id. Meaning of the fields as in `records.SecurityGroupRule`."""

    id: RuleId
    is_ingress: bool
    ethertype: int  # 4 | 6
    protocol: int | None
    port_min: int | None
    port_max: int | None
    remote_group: GroupId | None
    remote_prefix: Prefix | None
    remote_addresses: AddressGroupId | None = None


class NetworkChange(msgspec.Struct, frozen=True, array_like=True, tag="network"):
    """Change of a network section; full when applied to nothing."""

    network: NetworkEntry | None = None
    set_subnets: tuple[SubnetEntry, ...] = ()
    gone_subnets: tuple[SubnetId, ...] = ()
    set_ports: tuple[LocalPort, ...] = ()
    gone_ports: tuple[PortId, ...] = ()
    set_placements: tuple[Placement, ...] = ()
    gone_placements: tuple[PortId, ...] = ()


class RouterChange(msgspec.Struct, frozen=True, array_like=True, tag="router"):
    """Change of a router section. `admin_state_up` and `routes`, of which there are few, are told whole."""

    admin_state_up: bool = True
    set_interfaces: tuple[RouterInterface, ...] = ()
    gone_interfaces: tuple[tuple[PortId, tuple[bytes, int]], ...] = ()
    routes: tuple[ExtraRoute, ...] = ()


class GroupChange(msgspec.Struct, frozen=True, array_like=True, tag="group"):
    """Change of a security group section."""

    stateful: bool = True
    set_rules: tuple[Rule, ...] = ()
    gone_rules: tuple[RuleId, ...] = ()


class AddressesChange(msgspec.Struct, frozen=True, array_like=True, tag="addresses"):
    """Change of an address group's section. The addresses are their own keys."""

    set_addresses: tuple[Prefix, ...] = ()
    gone_addresses: tuple[Prefix, ...] = ()


SectionChange: TypeAlias = NetworkChange | RouterChange | GroupChange | AddressesChange


class SectionUpdate(msgspec.Struct, frozen=True, array_like=True):
    """One numbered piece of goal state, as every path carries it.

    `base` None: the section is exactly `change` applied to nothing (accepted if newer than what is held).
    `base` given: `change` leads from that version to `version`; any other base is answered "send all".
    `change` None: the host holds the section no longer (with base None). A delta that changes nothing
    confirms that the content at `base` is the content at `version`.
    """

    key: SectionKey
    base: Version | None
    version: Version
    change: SectionChange | None


class NetworkSection:
    """A network section as it is held. Owner: the host state that contains it."""

    __slots__ = ("network", "placements", "ports", "subnets")

    def __init__(self) -> None:
        self.network: NetworkEntry | None = None
        self.subnets: dict[SubnetId, SubnetEntry] = {}
        self.ports: dict[PortId, LocalPort] = {}
        self.placements: dict[PortId, Placement] = {}

    def apply(self, change: NetworkChange) -> None:
        """Make the change. O(entries in the change)."""
        if change.network is not None:
            self.network = change.network
        _merge(self.subnets, ((entry.id, entry) for entry in change.set_subnets), change.gone_subnets)
        _merge(self.ports, ((entry.id, entry) for entry in change.set_ports), change.gone_ports)
        _merge(
            self.placements,
            ((entry.port_id, entry) for entry in change.set_placements),
            change.gone_placements,
        )

    def full(self) -> NetworkChange:
        """Give the change from nothing that makes this section; entries sorted by key."""
        return NetworkChange(
            network=self.network,
            set_subnets=_sorted_values(self.subnets),
            set_ports=_sorted_values(self.ports),
            set_placements=_sorted_values(self.placements),
        )


class RouterSection:
    """A router section as it is held."""

    __slots__ = ("admin_state_up", "interfaces", "routes")

    def __init__(self) -> None:
        self.admin_state_up = True
        self.routes: tuple[ExtraRoute, ...] = ()
        self.interfaces: dict[tuple[PortId, tuple[bytes, int]], RouterInterface] = {}

    def apply(self, change: RouterChange) -> None:
        """Make the change."""
        self.admin_state_up = change.admin_state_up
        self.routes = change.routes
        _merge(
            self.interfaces,
            (((entry.port_id, entry.cidr), entry) for entry in change.set_interfaces),
            change.gone_interfaces,
        )

    def full(self) -> RouterChange:
        """Give the change from nothing that makes this section."""
        return RouterChange(
            admin_state_up=self.admin_state_up,
            set_interfaces=_sorted_values(self.interfaces),
            routes=self.routes,
        )


class GroupSection:
    """A security group section as it is held."""

    __slots__ = ("rules", "stateful")

    def __init__(self) -> None:
        self.stateful = True
        self.rules: dict[RuleId, Rule] = {}

    def apply(self, change: GroupChange) -> None:
        """Make the change."""
        self.stateful = change.stateful
        _merge(self.rules, ((entry.id, entry) for entry in change.set_rules), change.gone_rules)

    def full(self) -> GroupChange:
        """Give the change from nothing that makes this section."""
        return GroupChange(stateful=self.stateful, set_rules=_sorted_values(self.rules))


class AddressesSection:
    """An address group's section as it is held."""

    __slots__ = ("addresses",)

    def __init__(self) -> None:
        self.addresses: set[Prefix] = set()

    def apply(self, change: AddressesChange) -> None:
        """Make the change."""
        self.addresses.difference_update(change.gone_addresses)
        self.addresses.update(change.set_addresses)

    def full(self) -> AddressesChange:
        """Give the change from nothing that makes this section."""
        return AddressesChange(set_addresses=tuple(sorted(self.addresses)))


Section: TypeAlias = NetworkSection | RouterSection | GroupSection | AddressesSection


def empty_section_for(change: SectionChange) -> Section:
    """Give an empty section of the kind that the change is for."""
    match change:
        case NetworkChange():
            return NetworkSection()
        case RouterChange():
            return RouterSection()
        case GroupChange():
            return GroupSection()
        case AddressesChange():
            return AddressesSection()


def apply_change(section: Section, change: SectionChange) -> None:
    """Apply a change to a section of its own kind. Raises TypeError when the kinds differ."""
    match section, change:
        case NetworkSection(), NetworkChange():
            section.apply(change)
        case RouterSection(), RouterChange():
            section.apply(change)
        case GroupSection(), GroupChange():
            section.apply(change)
        case AddressesSection(), AddressesChange():
            section.apply(change)
        case _:
            raise TypeError(f"a {type(change).__name__} does not fit a {type(section).__name__}")


class HostState:
    """All sections that a host holds, with their versions: wanted by the controller, or held by an agent.

    `versions` also keeps removed sections as tombstones (version without section), so that a late full
    section cannot bring one back.
    """

    __slots__ = ("sections", "versions")

    def __init__(self) -> None:
        self.sections: dict[SectionKey, Section] = {}
        self.versions: dict[SectionKey, Version] = {}

    def full_updates(self) -> list[SectionUpdate]:
        """Give a full update for every section, in key order."""
        return [
            SectionUpdate(key, None, self.versions[key], self.sections[key].full())
            for key in sorted(self.sections)
        ]


def digest(change: SectionChange) -> bytes:
    """Give 8 bytes that are equal when two full sections have the same content. O(entries).

    Give it `section.full()`: entries are in key order there, so that the encoding is canonical.
    """
    if not isinstance(change, NetworkChange):
        return digest_of(_encoder.encode(change))
    own = msgspec.structs.replace(change, set_placements=())
    return network_digest(digest_of(_encoder.encode(change.set_placements)), _encoder.encode(own))


def network_digest(placements: bytes, others: bytes) -> bytes:
    """Give the digest of a network section from that of its placements and the bytes of the section without.

    Placements are many, and the same on all hosts of the network: so their digest is made once for all.
    """
    return digest_of(placements + others)


def digest_of(encoded: bytes) -> bytes:
    """Give 8 bytes for an encoding."""
    return hashlib.blake2b(encoded, digest_size=8).digest()


_encoder = msgspec.msgpack.Encoder()


def _merge(held: dict[_K, _V], entries: Iterable[tuple[_K, _V]], gone: Iterable[_K]) -> None:
    for key in gone:
        held.pop(key, None)
    held.update(entries)


def _sorted_values(held: dict[_K, _V]) -> tuple[_V, ...]:
    return tuple(held[key] for key in sorted(held))
