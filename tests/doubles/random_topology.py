"""Small regions at random, what may become of them, and what hosts are told of it."""

import random

from alcor.model.addressing import Cidr, derived_ip
from alcor.model.goal_state import (
    AddressesChange,
    GroupChange,
    HostState,
    NetworkChange,
    RouterChange,
    SectionUpdate,
)
from alcor.model.records import DERIVED_MODES, IPV6_MODES
from alcor.model.version import Version
from doubles.topology import ICMP, ICMPV6, SCTP, TCP, UDP, Port, Region, Sub, numbered

ADDRESS_GROUPS = ("a0", "a1")
PREFIXES = {
    4: ("10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/8", "0.0.0.0/0", "10.0.0.10/32"),
    6: ("2001:db8:0:1::/64", "2001:db8::/32", "::/0", "2001:db8:0:1::a/128"),
}
ANY_PREFIXES = (*PREFIXES[4], *PREFIXES[6])
V6_CIDRS = ("2001:db8:0:1::/64", "2001:db8:0:2::/64")
HOPS = {
    4: ("10.0.0.10", "10.0.0.140", "10.0.1.11"),
    6: ("2001:db8:0:1::a", "2001:db8:0:2::b"),
}
DESTINATIONS = {4: ("10.9.0.0/16", "10.9.9.0/24", "11.0.0.0/8"), 6: ("2001:db8:9::/48", "2001:db8:9:9::/64")}


def random_region(chance: random.Random, *, dual_stack: bool = True) -> Region:
    """Up to three networks with overlapping addresses, a router or none, and rules of all kinds.

    Networks have subnets of IPv4, and `dual_stack` mostly of IPv6 too; ports then have addresses of either
    version or of both.
    """
    region = Region()
    cidrs = ["10.0.0.0/25", "10.0.0.128/25", "10.0.1.0/24", "10.0.1.64/26"]
    for number in range(chance.randint(1, 3)):
        region.add_net(
            f"n{number}", 100 + number, *chance.choice([cidrs[:1], cidrs[:2], cidrs[2:3], cidrs[1:3]])
        )
        for text in chance.sample(V6_CIDRS, chance.choice([0, 1, 1, 2]) if dual_stack else 0):
            mode = chance.choice(["", *IPV6_MODES])
            sub, cidr = f"n{number}-v6-{text[-5]}", Cidr.from_text(text)
            region.subs[sub] = Sub(sub, f"n{number}", cidr, numbered(cidr, 1), mode)
    for number in range(chance.randint(0, 2)):
        region.routers[f"r{number}"] = set()
    for address_group in ADDRESS_GROUPS:
        region.set_addresses(address_group, *chance.sample(ANY_PREFIXES, chance.randint(0, 4)))
    for group in ("g0", "g1", "g2"):
        for number in range(chance.randint(0, 4)):
            random_rule(region, chance, group, f"{group}-rule{number}")
        for version in (4, 6):
            if chance.random() < 0.7:
                region.add_rule(group, f"{group}-out{version}", ingress=False, ethertype=version)
    for _ in range(9 if region.routers else 0):
        _rejoin(region, chance)
    for _ in range(16):
        mutate(region, chance)
    return region


def random_rule(region: Region, chance: random.Random, group: str, rule_id: str) -> None:
    version = chance.choice([4, 6])
    ping = ICMP if version == 4 else ICMPV6
    protocol = chance.choice([None, ping, TCP, TCP, UDP, SCTP])
    more: dict[str, object] = {"ethertype": version}
    if protocol == ping and chance.random() < 0.5:
        more["low"] = chance.choice([0, 8] if version == 4 else [128, 129])
    if protocol in (TCP, UDP, SCTP) and chance.random() < 0.7:
        more["low"] = chance.choice([1, 22, 79, 80, 81])
        more["high"] = more["low"] + chance.choice([0, 0, 1, 20, 1000])
    if chance.random() < 0.4:
        more["remote"] = chance.choice(["g0", "g1", "g2"])
    elif chance.random() < 0.4:
        more["addresses"] = chance.choice(ADDRESS_GROUPS)
    elif chance.random() < 0.5:
        more["prefix"] = chance.choice(PREFIXES[version])
    region.add_rule(group, rule_id, ingress=chance.random() < 0.5, protocol=protocol, **more)


def mutate(region: Region, chance: random.Random) -> None:
    """Make one random change that the API would allow."""
    kind = chance.randrange(14)
    if kind <= 4 or not region.ports:
        sub = chance.choice(sorted(region.subs))
        last = chance.randint(10, 17)
        port_id = f"{region.subs[sub].net}-p{last}"
        groups = [group for group in ("g0", "g1", "g2") if chance.random() < 0.6]
        region.ports.pop(port_id, None)
        others = [each for each in sorted(region.subs) if _may_be_also(region, sub, each)]
        port = region.add_port(
            port_id,
            sub,
            last,
            chance.choice(region.hosts),
            *groups,
            security=chance.random() < 0.85,
            up=chance.random() < 0.9,
            also=[chance.choice(others)] if others and chance.random() < 0.7 else [],
        )
        _derive(region, port)
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
        region.address_groups[address_group] ^= {Cidr.from_text(chance.choice(ANY_PREFIXES))}
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
        version = chance.choice([4, 6])
        hops = {hop for hop in HOPS[version] if chance.random() < 0.5}
        routes[chance.choice(DESTINATIONS[version])] = hops


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


def _may_be_also(region: Region, sub: str, other: str) -> bool:
    """May a port of one subnet have an address of the other too: of its network, and the other IP version?"""
    one, two = region.subs[sub], region.subs[other]
    return one.net == two.net and len(one.cidr.network) != len(two.cidr.network)


def _derive(region: Region, port: Port) -> None:
    """Let the port's addresses follow from its MAC address where its subnets say so."""
    made = [
        (sub, derived_ip(region.subs[sub].cidr.network, port.mac))
        if region.subs[sub].mode in DERIVED_MODES
        else (sub, ip)
        for sub, ip in port.addresses
    ]
    port.ip, port.also = made[0][1], tuple(made[1:])


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
