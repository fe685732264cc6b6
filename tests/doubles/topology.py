"""Small regions written down by hand, what each host holds of them, and who reaches whom.

`states` follows the description of sections in `model.goal_state`; `reaches` is the oracle: it reads the
region's objects only and knows nothing of sections or flows.
"""

import zlib
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline.numbers import StableNumbers
from alcor.model.addressing import Cidr, derived_ip, ip_from_text
from alcor.model.goal_state import (
    AddressesChange,
    AddressesSection,
    GroupChange,
    GroupSection,
    HostState,
    LocalPort,
    NetworkChange,
    NetworkEntry,
    NetworkSection,
    Placement,
    RouterChange,
    RouterInterface,
    RouterSection,
    Rule,
    SubnetEntry,
    Tag,
    addresses_key,
    group_key,
    network_key,
    router_key,
)
from alcor.model.records import ExtraRoute, FixedIp
from alcor.model.version import Version

ICMP, TCP, UDP, GRE, ICMPV6, SCTP = 1, 6, 17, 47, 58, 132
ECHO = {ICMP: (8, 0), ICMPV6: (128, 129)}  # types of request and reply
CLIENT_PORT = 40_000  # replies go to a port as high


@dataclass
class Net:
    id: str
    vni: int
    up: bool = True


@dataclass
class Sub:
    id: str
    net: str
    cidr: Cidr
    gateway: bytes
    mode: str = ""  # of IPv6: how addresses come about, and what is advertised


@dataclass
class Port:
    id: str
    sub: str
    ip: bytes
    mac: int
    host: str
    groups: tuple[str, ...] = ()
    security: bool = True
    up: bool = True
    tag: tuple[str, int] | None = None  # of a sub-port: its parent, which is on the same host, and the VLAN
    also: tuple[tuple[str, bytes], ...] = ()  # further subnets, and its addresses there

    @property
    def addresses(self) -> tuple[tuple[str, bytes], ...]:
        """Give its subnets, and its address in each."""
        return ((self.sub, self.ip), *self.also)

    @property
    def ips(self) -> tuple[bytes, ...]:
        return tuple(ip for _, ip in self.addresses)

    def end(self, length: int) -> tuple[str, bytes] | None:
        """Give the subnet and address by which it speaks the IP version with addresses of this many bytes."""
        return next(((sub, ip) for sub, ip in self.addresses if len(ip) == length), None)


End: TypeAlias = tuple[bytes, Port]  # an address, and the port that has it


@dataclass
class Region:
    nets: dict[str, Net] = field(default_factory=dict)
    subs: dict[str, Sub] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    routers: dict[str, set[str]] = field(default_factory=dict)  # router -> subnets
    down_routers: set[str] = field(default_factory=set)
    routes: dict[str, dict[str, set[str]]] = field(default_factory=dict)  # router -> destination -> next hops
    scopes: dict[str, str] = field(default_factory=dict)  # subnet -> address scope
    rules: dict[str, dict[str, Rule]] = field(default_factory=dict)  # group -> rules
    stateless: set[str] = field(default_factory=set)  # groups
    address_groups: dict[str, set[Cidr]] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("h1", "h2", "h3")

    def add_net(self, net_id: str, vni: int, *cidrs: str) -> None:
        self.nets[net_id] = Net(net_id, vni)
        for number, text in enumerate(cidrs):
            cidr = Cidr.from_text(text)
            self.subs[f"{net_id}-s{number}"] = Sub(f"{net_id}-s{number}", net_id, cidr, numbered(cidr, 1))

    def add_port(self, port_id: str, sub: str, last: int, host: str, *groups: str, **more) -> Port:
        """Add a port with the address of this number. `also`: further subnets in which it has that number."""
        ip = numbered(self.subs[sub].cidr, last)
        further = tuple((each, numbered(self.subs[each].cidr, last)) for each in more.pop("also", ()))
        mac = 0xFA163E000000 + zlib.crc32(port_id.encode()) % 0xFFFFFF
        self.ports[port_id] = Port(port_id, sub, ip, mac, host, tuple(sorted(groups)), also=further, **more)
        return self.ports[port_id]

    def add_rule(self, group: str, rule_id: str, *, ingress: bool, protocol: int | None = None, **more) -> None:
        remote = more.get("prefix")
        self.rules.setdefault(group, {})[rule_id] = Rule(
            id=rule_id,
            is_ingress=ingress,
            ethertype=more.get("ethertype", 4),
            protocol=protocol,
            port_min=more.get("low"),
            port_max=more.get("high"),
            remote_group=more.get("remote"),
            remote_prefix=None if remote is None else tuple(Cidr.from_text(remote)),
            remote_addresses=more.get("addresses"),
        )

    def set_addresses(self, address_group: str, *texts: str) -> None:
        self.address_groups[address_group] = {Cidr.from_text(text) for text in texts}

    # What the control plane would make of it.

    def facts(self, host: str) -> HostFacts:
        number = int(host[1:])
        return HostFacts(host, bytes([172, 16, 0, number]), 0x02AC10000000 + number)

    def vni_of(self, port: Port) -> int:
        return self.nets[self.subs[port.sub].net].vni

    def net_of(self, port: Port) -> Net:
        return self.nets[self.subs[port.sub].net]

    def domain(self, net: str, *, only_up: bool = False) -> set[str]:
        found = {net}
        for router, subs in self.routers.items():
            joined = {self.subs[sub].net for sub in subs}
            if net in joined and not (only_up and router in self.down_routers):
                found |= joined
        return found

    def state(self, host: str) -> HostState:
        state = HostState()
        local = [port for port in self.ports.values() if port.host == host]
        held = {far for port in local for far in self.domain(self.subs[port.sub].net)}
        for net in held:
            section = NetworkSection()
            section.apply(self._network(net, host))
            state.sections[network_key(net)] = section
        for router, subs in self.routers.items():
            if held & {self.subs[sub].net for sub in subs}:
                router_section = RouterSection()
                router_section.apply(self._router(router))
                state.sections[router_key(router)] = router_section
        own = {group for port in local for group in port.groups}
        for group in own:
            section = GroupSection()
            rules = tuple(self.rules.get(group, {}).values())
            section.apply(GroupChange(stateful=group not in self.stateless, set_rules=rules))
            state.sections[group_key(group)] = section
            for about in {rule.remote_addresses for rule in rules} - {None}:
                addresses = AddressesSection()
                addresses.apply(AddressesChange(set_addresses=tuple(self.address_groups.get(about, ()))))
                state.sections[addresses_key(about)] = addresses
        state.versions = dict.fromkeys(state.sections, Version(1, 1))
        return state

    def states(self) -> dict[str, tuple[HostFacts, HostState]]:
        return {host: (self.facts(host), self.state(host)) for host in self.hosts}

    def _network(self, net: str, host: str) -> NetworkChange:
        subs = [sub for sub in self.subs.values() if sub.net == net]
        ports = [port for port in self.ports.values() if self.subs[port.sub].net == net]
        return NetworkChange(
            network=NetworkEntry(net, self.nets[net].vni, 1450, self.nets[net].up),
            set_subnets=tuple(
                SubnetEntry(sub.id, tuple(sub.cidr), sub.gateway, True, (), (), sub.mode, sub.mode)
                for sub in subs
            ),
            set_ports=tuple(
                LocalPort(
                    p.id,
                    p.mac,
                    tuple(FixedIp(sub, ip) for sub, ip in p.addresses),
                    p.groups,
                    p.security,
                    p.up,
                    tag=Tag(*p.tag) if p.tag is not None else None,
                )
                for p in ports
                if p.host == host
            ),
            set_placements=tuple(
                Placement(p.id, p.mac, p.ips, self.facts(p.host).vtep, p.groups) for p in ports
            ),
        )

    def _router(self, router: str) -> RouterChange:
        routes = self.routes.get(router, {})
        return RouterChange(
            admin_state_up=router not in self.down_routers,
            routes=tuple(
                sorted(
                    ExtraRoute(tuple(Cidr.from_text(cidr)), ip_from_text(hop))
                    for cidr, hops in routes.items()
                    for hop in hops
                )
            ),
            set_interfaces=tuple(
                RouterInterface(
                    f"{router}-{sub}",
                    self.subs[sub].net,
                    self.nets[self.subs[sub].net].vni,
                    tuple(self.subs[sub].cidr),
                    self.subs[sub].gateway,
                    0xFA163F000000 + zlib.crc32(f"{router}{sub}".encode()) % 0xFFFFFF,
                    self.scopes.get(sub, ""),
                )
                for sub in sorted(self.routers[router])
            ),
        )

    # The oracle.

    def reaches(self, source: str, to_ip: bytes, protocol: int, dport: int | None) -> str | None:
        """Name the port that a new packet gets to, replies included; None when it does not."""
        sender = self.ports[source]
        own = sender.end(len(to_ip))
        receiver = self._addressee(own[0], to_ip) if own is not None else None
        if own is None or receiver is None or receiver is sender:
            return None
        if self._addressee(self._sub_of(receiver, to_ip), own[1]) is not sender:
            return None
        if not all(port.up and self.net_of(port).up for port in (sender, receiver)):
            return None
        there = (to_ip, receiver)
        here = (own[1], sender)
        is_ping = protocol in (ICMP, ICMPV6)
        asked = ECHO[protocol][0] if is_ping else dport
        answered = ECHO[protocol][1] if is_ping else CLIENT_PORT
        is_allowed = (
            self._allows(here, there, False, protocol, asked)
            and self._allows(there, here, True, protocol, asked)
            and (self._is_tracked(receiver) or self._allows(there, here, False, protocol, answered))
            and (self._is_tracked(sender) or self._allows(here, there, True, protocol, answered))
        )
        return receiver.id if is_allowed else None

    def _is_tracked(self, port: Port) -> bool:
        """Do replies need no rule? One stateful group is enough."""
        return not port.security or not port.groups or not self.stateless.issuperset(port.groups)

    def _addressee(self, from_sub: str, to_ip: bytes) -> Port | None:
        sub = self.subs[from_sub]
        if sub.cidr.contains(to_ip):
            nets = {sub.net}
        else:
            routers = [r for r, subs in self.routers.items() if sub.id in subs and r not in self.down_routers]
            if not routers:
                return None
            scope = self.scopes.get(sub.id)
            joined = [self.subs[s] for s in self.routers[routers[0]] if self.scopes.get(s) == scope]
            nets = {far.net for far in joined if far.cidr.contains(to_ip)}
        found = [p for p in self.ports.values() if to_ip in p.ips and self.subs[p.sub].net in nets]
        return found[0] if found else None

    def _sub_of(self, port: Port, ip: bytes) -> str:
        return next(sub for sub, own in port.addresses if own == ip)

    def _allows(self, own: End, peer: End, ingress: bool, protocol: int, value: int | None) -> bool:
        if not own[1].security:
            return True
        rules = [rule for group in own[1].groups for rule in self.rules.get(group, {}).values()]
        return any(self._permits(rule, own, peer, ingress, protocol, value) for rule in rules)

    def _permits(
        self, rule: Rule, own: End, peer: End, ingress: bool, protocol: int, value: int | None
    ) -> bool:
        """May a packet to this port, or of this type of ICMP, pass?"""
        ip, port = peer
        if rule.ethertype != (4 if len(ip) == 4 else 6):
            return False
        if rule.is_ingress != ingress or rule.protocol not in (None, protocol):
            return False
        if rule.port_min is not None:
            high = rule.port_min if protocol in ECHO else rule.port_max
            if not rule.port_min <= value <= high:
                return False
        if rule.remote_group is not None:
            reachable = self.domain(self.subs[own[1].sub].net, only_up=True)
            return rule.remote_group in port.groups and self.subs[port.sub].net in reachable
        if rule.remote_addresses is not None:
            return any(each.contains(ip) for each in self.address_groups.get(rule.remote_addresses, ()))
        return rule.remote_prefix is None or Cidr(*rule.remote_prefix).contains(ip)


def numbered(cidr: Cidr, number: int) -> bytes:
    """Give the address of this number in a subnet."""
    return cidr.network[:-1] + bytes([cidr.network[-1] + number])


def address(text: str) -> int:
    return int.from_bytes(ip_from_text(text), "big")


def two_ports_of_one_key() -> tuple[str, str, int]:
    """Find two port ids to which the same port key belongs, and the key."""
    first_with: dict[int, str] = {}
    number = 0
    while True:
        port_id = f"port-{number}"
        key = StableNumbers(0xFFFF).take(port_id)
        if key in first_with:
            return first_with[key], port_id, key
        first_with[key] = port_id
        number += 1


def two_tenants() -> Region:
    """Two tenants with the same addresses: two subnets and a router each, a web group and a client group."""
    region = Region()
    for tenant, vni in (("red", 100), ("blue", 200)):
        region.add_net(f"{tenant}-a", vni, "10.0.0.0/24")
        region.add_net(f"{tenant}-b", vni + 1, "10.0.1.0/24")
        region.routers[f"{tenant}-r"] = {f"{tenant}-a-s0", f"{tenant}-b-s0"}
        web, client = f"{tenant}-web", f"{tenant}-client"
        for group in (web, client):
            region.add_rule(group, f"{group}-out", ingress=False)
        region.add_rule(web, f"{web}-80", ingress=True, protocol=TCP, low=80, high=90, remote=client)
        region.add_rule(web, f"{web}-ping", ingress=True, protocol=ICMP, prefix="10.0.0.0/24")
        region.add_rule(
            client, f"{client}-ssh", ingress=True, protocol=TCP, low=22, high=22, prefix="10.0.1.0/24"
        )
        for number, host in enumerate(region.hosts):
            region.add_port(f"{tenant}-w{number}", f"{tenant}-b-s0", 10 + number, host, web)
            region.add_port(f"{tenant}-c{number}", f"{tenant}-a-s0", 10 + number, host, client)
    return region


def dual_stacked(region: Region) -> Region:
    """Give every IPv4 subnet a twin of IPv6, to routers and ports alike, and every rule one about it."""
    twins: dict[str, str] = {}
    prefixes = {"0.0.0.0/0": (bytes(16), 0)}
    for sub in list(region.subs.values()):
        cidr = Cidr.from_text(f"2001:db8:{sub.cidr.network[3]:x}:{sub.cidr.network[2]:x}::/64")
        twins[sub.id], prefixes[str(sub.cidr)] = f"{sub.id}-v6", tuple(cidr)
        region.subs[f"{sub.id}-v6"] = Sub(f"{sub.id}-v6", sub.net, cidr, numbered(cidr, 1), "slaac")
    for subs in region.routers.values():
        subs |= {twins[sub] for sub in subs}
    for port in region.ports.values():
        twin = region.subs[twins[port.sub]]
        port.also = ((twin.id, derived_ip(twin.cidr.network, port.mac)),)
    for cidrs in region.address_groups.values():
        inside = [port for port in region.ports.values() if any(cidr.contains(port.ip) for cidr in cidrs)]
        cidrs |= {Cidr(ip, 128) for port in inside for _, ip in port.also}
    types = dict(zip(ECHO[ICMP], ECHO[ICMPV6], strict=True))
    for rules in region.rules.values():
        for rule in list(rules.values()):
            is_ping = rule.protocol == ICMP
            rules[f"{rule.id}-v6"] = msgspec.structs.replace(
                rule,
                id=f"{rule.id}-v6",
                ethertype=6,
                protocol=ICMPV6 if is_ping else rule.protocol,
                port_min=types[rule.port_min] if is_ping and rule.port_min is not None else rule.port_min,
                remote_prefix=rule.remote_prefix and prefixes[str(Cidr(*rule.remote_prefix))],
            )
    return region
