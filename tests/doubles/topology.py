"""Small regions written down by hand or at random, what each host holds of them, and who reaches whom.

`states` follows the description of sections in `model.goal_state`; `reaches` is the oracle: it reads the
region's objects only and knows nothing of sections or flows.
"""

import random
import zlib
from dataclasses import dataclass, field

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline.numbers import StableNumbers
from alcor.model.addressing import Cidr, ip_from_text
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
    SectionUpdate,
    SubnetEntry,
    Tag,
    addresses_key,
    group_key,
    network_key,
    router_key,
)
from alcor.model.records import ExtraRoute, FixedIp
from alcor.model.version import Version

ICMP, TCP, UDP, GRE, SCTP = 1, 6, 17, 47, 132
ECHO_REPLY, ECHO_REQUEST = 0, 8
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
            gateway = cidr.network[:3] + bytes([cidr.network[3] + 1])
            self.subs[f"{net_id}-s{number}"] = Sub(f"{net_id}-s{number}", net_id, cidr, gateway)

    def add_port(self, port_id: str, sub: str, last: int, host: str, *groups: str, **more: bool) -> Port:
        cidr = self.subs[sub].cidr
        ip = cidr.network[:3] + bytes([cidr.network[3] + last])
        mac = 0xFA163E000000 + zlib.crc32(port_id.encode()) % 0xFFFFFF
        self.ports[port_id] = Port(port_id, sub, ip, mac, host, tuple(sorted(groups)), **more)
        return self.ports[port_id]

    def add_rule(self, group: str, rule_id: str, *, ingress: bool, protocol: int | None = None, **more) -> None:
        remote = more.get("prefix")
        self.rules.setdefault(group, {})[rule_id] = Rule(
            id=rule_id,
            is_ingress=ingress,
            ethertype=4,
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
            set_subnets=tuple(SubnetEntry(sub.id, tuple(sub.cidr), sub.gateway, True, (), ()) for sub in subs),
            set_ports=tuple(
                LocalPort(
                    p.id,
                    p.mac,
                    (FixedIp(p.sub, p.ip),),
                    p.groups,
                    p.security,
                    p.up,
                    tag=Tag(*p.tag) if p.tag is not None else None,
                )
                for p in ports
                if p.host == host
            ),
            set_placements=tuple(
                Placement(p.id, p.mac, (p.ip,), self.facts(p.host).vtep, p.groups) for p in ports
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
        receiver = self._addressee(sender, to_ip)
        if receiver is None or receiver is sender or self._addressee(receiver, sender.ip) is not sender:
            return None
        if not all(port.up and self.net_of(port).up for port in (sender, receiver)):
            return None
        asked = ECHO_REQUEST if protocol == ICMP else dport
        answered = ECHO_REPLY if protocol == ICMP else CLIENT_PORT
        is_allowed = (
            self._allows(sender, receiver, False, protocol, asked)
            and self._allows(receiver, sender, True, protocol, asked)
            and (self._is_tracked(receiver) or self._allows(receiver, sender, False, protocol, answered))
            and (self._is_tracked(sender) or self._allows(sender, receiver, True, protocol, answered))
        )
        return receiver.id if is_allowed else None

    def _is_tracked(self, port: Port) -> bool:
        """Do replies need no rule? One stateful group is enough."""
        return not port.security or not port.groups or not self.stateless.issuperset(port.groups)

    def _addressee(self, sender: Port, to_ip: bytes) -> Port | None:
        sub = self.subs[sender.sub]
        if sub.cidr.contains(to_ip):
            nets = {sub.net}
        else:
            routers = [r for r, subs in self.routers.items() if sub.id in subs and r not in self.down_routers]
            if not routers:
                return None
            scope = self.scopes.get(sub.id)
            joined = [self.subs[s] for s in self.routers[routers[0]] if self.scopes.get(s) == scope]
            nets = {far.net for far in joined if far.cidr.contains(to_ip)}
        found = [p for p in self.ports.values() if p.ip == to_ip and self.subs[p.sub].net in nets]
        return found[0] if found else None

    def _allows(self, own: Port, peer: Port, ingress: bool, protocol: int, value: int | None) -> bool:
        if not own.security:
            return True
        rules = [rule for group in own.groups for rule in self.rules.get(group, {}).values()]
        return any(self._permits(rule, own, peer, ingress, protocol, value) for rule in rules)

    def _permits(
        self, rule: Rule, own: Port, peer: Port, ingress: bool, protocol: int, value: int | None
    ) -> bool:
        """May a packet to this port, or of this type of ICMP, pass?"""
        if rule.is_ingress != ingress or rule.protocol not in (None, protocol):
            return False
        if rule.port_min is not None:
            high = rule.port_min if protocol == ICMP else rule.port_max
            if not rule.port_min <= value <= high:
                return False
        if rule.remote_group is not None:
            reachable = self.domain(self.subs[own.sub].net, only_up=True)
            return rule.remote_group in peer.groups and self.subs[peer.sub].net in reachable
        if rule.remote_addresses is not None:
            return any(each.contains(peer.ip) for each in self.address_groups.get(rule.remote_addresses, ()))
        return rule.remote_prefix is None or Cidr(*rule.remote_prefix).contains(peer.ip)


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


ADDRESS_GROUPS = ("a0", "a1")
PREFIXES = ("10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/8", "0.0.0.0/0", "10.0.0.10/32")


def random_region(chance: random.Random) -> Region:
    """Up to three networks with overlapping addresses, a router or none, and rules of all kinds."""
    region = Region()
    cidrs = ["10.0.0.0/25", "10.0.0.128/25", "10.0.1.0/24", "10.0.1.64/26"]
    for number in range(chance.randint(1, 3)):
        region.add_net(
            f"n{number}", 100 + number, *chance.choice([cidrs[:1], cidrs[:2], cidrs[2:3], cidrs[1:3]])
        )
    for number in range(chance.randint(0, 2)):
        region.routers[f"r{number}"] = set()
    for address_group in ADDRESS_GROUPS:
        region.set_addresses(address_group, *chance.sample(PREFIXES, chance.randint(0, 3)))
    for group in ("g0", "g1", "g2"):
        for number in range(chance.randint(0, 4)):
            random_rule(region, chance, group, f"{group}-rule{number}")
        if chance.random() < 0.7:
            region.add_rule(group, f"{group}-out", ingress=False)
    for _ in range(6 if region.routers else 0):
        _rejoin(region, chance)
    for _ in range(16):
        mutate(region, chance)
    return region


def random_rule(region: Region, chance: random.Random, group: str, rule_id: str) -> None:
    protocol = chance.choice([None, ICMP, TCP, TCP, UDP, SCTP])
    more: dict[str, object] = {}
    if protocol == ICMP and chance.random() < 0.5:
        more["low"] = chance.choice([0, 8])
    if protocol in (TCP, UDP, SCTP) and chance.random() < 0.7:
        more["low"] = chance.choice([1, 22, 79, 80, 81])
        more["high"] = more["low"] + chance.choice([0, 0, 1, 20, 1000])
    if chance.random() < 0.4:
        more["remote"] = chance.choice(["g0", "g1", "g2"])
    elif chance.random() < 0.4:
        more["addresses"] = chance.choice(ADDRESS_GROUPS)
    elif chance.random() < 0.5:
        more["prefix"] = chance.choice(PREFIXES)
    region.add_rule(group, rule_id, ingress=chance.random() < 0.5, protocol=protocol, **more)


def mutate(region: Region, chance: random.Random) -> None:
    """Make one random change that the API would allow."""
    kind = chance.randrange(14)
    if kind <= 4 or not region.ports:
        sub = chance.choice(sorted(region.subs))
        last = chance.randint(10, 14)
        port_id = f"{sub}-p{last}"
        groups = [group for group in ("g0", "g1", "g2") if chance.random() < 0.6]
        region.ports.pop(port_id, None)
        region.add_port(
            port_id,
            sub,
            last,
            chance.choice(region.hosts),
            *groups,
            security=chance.random() < 0.85,
            up=chance.random() < 0.9,
        )
    elif kind == 5:
        del region.ports[chance.choice(sorted(region.ports))]
    elif kind <= 7 and region.routers:
        _rejoin(region, chance)
    elif kind == 8:
        net = region.nets[chance.choice(sorted(region.nets))]
        net.up = not net.up or chance.random() < 0.7
    elif kind == 9 and region.routers:
        region.down_routers ^= {chance.choice(sorted(region.routers))} if chance.random() < 0.5 else set()
    elif kind == 12:
        address_group = chance.choice(ADDRESS_GROUPS)
        region.address_groups[address_group] ^= {Cidr.from_text(chance.choice(PREFIXES))}
    elif kind == 13:
        region.stateless ^= {chance.choice(["g0", "g1", "g2"])}
    else:
        group = chance.choice(["g0", "g1", "g2"])
        rule_id = f"{group}-rule{chance.randrange(4)}"
        if region.rules.get(group, {}).pop(rule_id, None) is None or chance.random() < 0.5:
            random_rule(region, chance, group, rule_id)


def reroute(region: Region, chance: random.Random) -> None:
    """Change a router's extra routes at random: towards where no port is, through ports that may be there."""
    if region.routers:
        routes = region.routes.setdefault(chance.choice(sorted(region.routers)), {})
        hops = {hop for hop in ("10.0.0.10", "10.0.0.140", "10.0.1.11") if chance.random() < 0.5}
        routes[chance.choice(["10.9.0.0/16", "10.9.9.0/24", "11.0.0.0/8"])] = hops


def rescope(region: Region, chance: random.Random) -> None:
    """Put a subnet into an address scope, or take it out."""
    sub = chance.choice(sorted(region.subs))
    scope = chance.choice(["scope-a", "scope-a", "scope-b", ""])
    if scope:
        region.scopes[sub] = scope
    else:
        region.scopes.pop(sub, None)


def retrunk(region: Region, chance: random.Random) -> None:
    """Make ports sub-ports of others on their hosts at random; who is neither may be anything."""
    for port in region.ports.values():
        port.tag = None
    for host in region.hosts:
        own = [port for _, port in sorted(region.ports.items()) if port.host == host]
        for vlan, port in enumerate(own[1:], 100):
            if chance.random() < 0.5:
                port.tag = (own[0].id, vlan)


def _rejoin(region: Region, chance: random.Random) -> None:
    """Join a subnet to a router or take it away. A network has one router, and a router no overlap."""
    router = chance.choice(sorted(region.routers))
    sub = region.subs[chance.choice(sorted(region.subs))]
    joined = region.routers[router]
    if sub.id in joined:
        joined.discard(sub.id)
        return
    for other, subs in region.routers.items():
        if other != router and any(region.subs[s].net == sub.net for s in subs):
            return
    nets = {region.subs[s].net for s in joined} | {sub.net}
    inside = [s for s in region.subs.values() if s.net in nets]
    if any(a.cidr.overlaps(b.cidr) for a in inside for b in inside if a.net != b.net):
        return
    joined.add(sub.id)


def updates_between(before: HostState, after: HostState, chance: random.Random) -> list[SectionUpdate]:
    """Give updates that lead from one state to the next: deltas mostly, full sections now and then."""
    found = []
    for key in sorted(before.sections.keys() | after.sections.keys()):
        if key not in after.sections:
            found.append(SectionUpdate(key, None, Version(1, 2), None))
            continue
        new = after.sections[key].full()
        old = before.sections[key].full() if key in before.sections else None
        if new == old and chance.random() < 0.9:
            continue
        if old is None or chance.random() < 0.2:
            found.append(SectionUpdate(key, None, Version(1, 2), new))
        else:
            found.append(SectionUpdate(key, Version(1, 1), Version(1, 2), _delta(old, new)))
    chance.shuffle(found)
    return found


def _delta(old, new):
    match new:
        case NetworkChange():
            ports = _differing(old.set_ports, new.set_ports, lambda e: e.id)
            placements = _differing(old.set_placements, new.set_placements, lambda e: e.port_id)
            subnets = _differing(old.set_subnets, new.set_subnets, lambda e: e.id)
            return NetworkChange(
                new.network if new.network != old.network else None, *subnets, *ports, *placements
            )
        case RouterChange():
            return RouterChange(
                new.admin_state_up,
                *_differing(old.set_interfaces, new.set_interfaces, lambda e: (e.port_id, e.cidr)),
                new.routes,
            )
        case GroupChange():
            rules = _differing(old.set_rules, new.set_rules, lambda e: e.id)
            return GroupChange(new.stateful, *rules)
        case AddressesChange():
            return AddressesChange(*_differing(old.set_addresses, new.set_addresses, lambda e: e))


def _differing(old, new, key_of):
    held = {key_of(entry): entry for entry in old}
    wanted = {key_of(entry): entry for entry in new}
    return (
        tuple(entry for key, entry in wanted.items() if held.get(key) != entry),
        tuple(key for key in held if key not in wanted),
    )
