"""Router advertisements: what a host says of the network of one of its ports, and that as bytes. Pure.

RFC 4861, section 4.2: the message; 8106: DNS servers; 4191: routes and preference; 8319: how long it may last.

Each leg of a router on the network speaks in its own name, link-local address and all; it is a default router
if its subnet has a gateway, and the preferred one if that is itself. Without any leg the host speaks, and is no
router: so addresses come about in networks without one. What is no longer so is taken back (`retracting`) and
not left to lapse, since all that is said lasts long: an agent may be away while its host forwards on (law 6).
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from alcor.data_plane import frames, icmp6
from alcor.model.addressing import Cidr, derived_ip, ip_from_text, link_local_ip
from alcor.model.goal_state import LocalPort, NetworkEntry, Prefix, RouterInterface, SubnetEntry
from alcor.model.records import DERIVED_MODES, DHCPV6_STATEFUL, DHCPV6_STATELESS

ROUTER_LIFETIME_S = 65_535  # the longest that its field holds, 18 hours; hosts take it (RFC 8319, section 4)
LIFETIME_S = (
    604_800  # of routes, DNS servers and preferred addresses: a week, as RFC 4861, section 6.2.1 proposes
)
VALID_S = 2_592_000  # of addresses: thirty days, from there too
EVERYBODY = bytes(ip_from_text("ff02::1"))

_SOLICITATION, _ADVERTISEMENT = 133, 134
_HOP_LIMIT = 255  # no router has forwarded it
_SOURCE_ADDRESS, _PREFIX, _MTU, _ROUTE, _DNS = 1, 3, 5, 24, 25
_ANYWHERE: Prefix = (bytes(16), 0)
_NOBODY = bytes(16)
_MEDIUM, _LOW = 0b00, 0b11  # preference (RFC 4191, section 2.1)
_DERIVED_PREFIX_LEN = 64
_DNS_AT_ONCE = 16  # in one option
_MTU_MIN = 1280  # of every link with IPv6 (RFC 8200, section 5)
_IPV6_LEN = 40


class PrefixInformation(NamedTuple):
    """A prefix: are its addresses on the link, does the host make itself one, and for how long in seconds."""

    prefix: Prefix
    on_link: bool
    autonomous: bool
    preferred_s: int = LIFETIME_S
    valid_s: int = VALID_S


class Advertisement(NamedTuple):
    """All that one sender says. `routes`: prefixes; `dns`: addresses."""

    mac: int
    router_lifetime_s: int
    preference: int
    managed: bool
    other: bool
    mtu: int
    prefixes: tuple[PrefixInformation, ...]
    routes: tuple[tuple[Prefix, int], ...]  # prefix, seconds
    dns: tuple[tuple[bytes, int], ...]  # address, seconds


def is_solicitation(packet: frames.Ipv6Frame) -> bool:
    """Does the packet ask for routers, in a way that may be answered? (RFC 4861, section 6.1.1)"""
    message = icmp6.message(packet)
    if message is None or message[0:2] != bytes([_SOLICITATION, 0]) or packet.hop_limit != _HOP_LIMIT:
        return False
    at, kinds = 8, set()
    while at < len(message):
        length = message[at + 1] * 8 if at + 1 < len(message) else 0
        if length == 0 or at + length > len(message):
            return False
        kinds.add(message[at])
        at += length
    return packet.source != _NOBODY or _SOURCE_ADDRESS not in kinds


def told(
    port: LocalPort,
    network: NetworkEntry,
    subnets: Iterable[SubnetEntry],
    legs: Iterable[RouterInterface],
    *,
    host_mac: int,
) -> tuple[Advertisement, ...]:
    """Give what a port is told, by sender; nothing if none of its addresses is in a subnet that is advertised.

    `subnets` and `legs`: those of the network; of IPv4 or in networks of other VNIs, they do not count.
    `host_mac`: who speaks if there is no leg.
    """
    advertised = [subnet for subnet in subnets if subnet.ra_mode and len(subnet.cidr[0]) == 16]
    fixed = {each.subnet_id: each.ip for each in port.fixed_ips}
    own = [subnet for subnet in advertised if subnet.id in fixed]
    if not own:
        return ()
    by_mac: dict[int, list[RouterInterface]] = {}
    for leg in legs:
        if len(leg.ip) == 16:
            by_mac.setdefault(leg.mac, []).append(leg)
    common = Advertisement(
        mac=host_mac,
        router_lifetime_s=0,
        preference=_MEDIUM,
        managed=any(subnet.ra_mode == DHCPV6_STATEFUL for subnet in own),
        other=any(subnet.ra_mode == DHCPV6_STATELESS for subnet in own),
        mtu=network.mtu,
        prefixes=tuple(
            PrefixInformation(subnet.cidr, True, _is_derived(subnet, fixed.get(subnet.id), port.mac))
            for subnet in advertised
        ),
        routes=(),
        dns=tuple(
            (ip, LIFETIME_S)
            for ip in dict.fromkeys(ip for subnet in own for ip in subnet.dns_nameservers if len(ip) == 16)
        ),
    )
    if not by_mac:
        return (common,)
    return tuple(_of_leg(common, mac, by_mac[mac], advertised) for mac in sorted(by_mac))


def of_former_router(mac: int) -> Advertisement:
    """Give what a router must have said of which no more is known than that there was one."""
    routes = ((_ANYWHERE, LIFETIME_S),)
    return Advertisement(mac, ROUTER_LIFETIME_S, _MEDIUM, False, False, 0, (), routes, ())


def retracting(before: Sequence[Advertisement], now: Sequence[Advertisement]) -> tuple[Advertisement, ...]:
    """Give what is to be said when `before` was said and `now` is true: that, and that the rest is over.

    A prefix holds whoever announces it; routes and DNS servers are each sender's own, and since not every host
    takes servers that way, who is new says them after who takes them back.
    """
    said_now = {each.mac: each for each in now}
    prefixes = {info.prefix: info for each in now for info in each.prefixes}
    changed = []
    for old in before:
        new = said_now.pop(old.mac, None)
        gone = tuple(
            info for each in old.prefixes if (info := _left(each, prefixes.get(each.prefix))) is not None
        )
        base = new if new is not None else _silent(now[0] if now else old, old.mac)
        routes, servers = ({what for what, _ in some} for some in (base.routes, base.dns))
        changed.append(
            base._replace(
                prefixes=base.prefixes + gone,
                routes=base.routes + tuple((prefix, 0) for prefix, _ in old.routes if prefix not in routes),
                dns=base.dns + tuple((ip, 0) for ip, _ in old.dns if ip not in servers),
            )
        )
    return (*changed, *said_now.values())


def to_everybody(said: Advertisement) -> list[bytes]:
    """Make the frames that nobody has asked for."""
    return _frames(said, eth_dst=frames.multicast_mac(EVERYBODY), destination=EVERYBODY)


def in_answer(said: Advertisement, asked: frames.Ipv6Frame) -> list[bytes]:
    """Make the frames for who asked: to itself, or to all nodes while it has no address."""
    destination = EVERYBODY if asked.source == _NOBODY else asked.source
    return _frames(said, eth_dst=asked.eth_src, destination=destination)


def _frames(said: Advertisement, *, eth_dst: int, destination: bytes) -> list[bytes]:
    """Say it in as many frames as the MTU asks for (RFC 4861, section 6.2.3)."""
    flags = (0x80 if said.managed else 0) | (0x40 if said.other else 0) | said.preference << 3
    head = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 64, flags, said.router_lifetime_s, 0, 0)
    head += bytes([_SOURCE_ADDRESS, 1]) + said.mac.to_bytes(6, "big")
    if said.mtu >= _MTU_MIN:
        head += struct.pack("!BBHI", _MTU, 1, 0, said.mtu)
    bodies = [head]
    for option in _options(said):
        if len(bodies[-1]) + len(option) > max(said.mtu, _MTU_MIN) - _IPV6_LEN:
            bodies.append(head)
        bodies[-1] += option
    return [
        icmp6.frame(
            body,
            eth_dst=eth_dst,
            eth_src=said.mac,
            source=link_local_ip(said.mac),
            destination=destination,
            hop_limit=_HOP_LIMIT,
        )
        for body in bodies
    ]


def _of_leg(
    common: Advertisement, mac: int, legs: Sequence[RouterInterface], advertised: Sequence[SubnetEntry]
) -> Advertisement:
    """Let a router speak. Hosts that know route information keep the default route for a week by it."""
    ips = {leg.ip for leg in legs}
    beside = [subnet for subnet in advertised if any(Cidr(*leg.cidr) == Cidr(*subnet.cidr) for leg in legs)]
    gateways = {subnet.gateway_ip for subnet in beside if subnet.gateway_ip is not None}
    routes = dict.fromkeys(
        (network, prefix_len)
        for subnet in beside
        for network, prefix_len, hop in subnet.host_routes
        if hop in ips and len(network) == 16
    )
    if gateways:
        routes[_ANYWHERE] = None
    return common._replace(
        mac=mac,
        router_lifetime_s=ROUTER_LIFETIME_S if gateways else 0,
        preference=_MEDIUM if gateways & ips or not gateways else _LOW,
        routes=tuple((prefix, LIFETIME_S) for prefix in sorted(routes)),
    )


def _is_derived(subnet: SubnetEntry, ip: bytes | None, mac: int) -> bool:
    """May the workload make itself an address there? Only if it is the port's, or what it sends is dropped."""
    network, prefix_len = subnet.cidr
    return (
        subnet.ra_mode in DERIVED_MODES and prefix_len == _DERIVED_PREFIX_LEN and ip == derived_ip(network, mac)
    )


def _silent(like: Advertisement, mac: int) -> Advertisement:
    """Let a sender that is gone say what is so of the link, and that it is no router."""
    return like._replace(mac=mac, router_lifetime_s=0, preference=_MEDIUM, prefixes=(), routes=(), dns=())


def _left(old: PrefixInformation, new: PrefixInformation | None) -> PrefixInformation | None:
    """Give what must be taken back of a prefix."""
    on_link = old.on_link and not (new is not None and new.on_link)
    autonomous = old.autonomous and not (new is not None and new.autonomous)
    return PrefixInformation(old.prefix, on_link, autonomous, 0, 0) if on_link or autonomous else None


def _options(said: Advertisement) -> Iterator[bytes]:
    for info in said.prefixes:
        yield _prefix_option(info)
    for prefix, seconds in said.routes:
        yield _route_option(prefix, seconds, said.preference)
    for lasts in sorted({seconds for _, seconds in said.dns}):
        servers = [ip for ip, seconds in said.dns if seconds == lasts]
        for start in range(0, len(servers), _DNS_AT_ONCE):
            yield _dns_option(servers[start : start + _DNS_AT_ONCE], lasts)


def _prefix_option(info: PrefixInformation) -> bytes:
    (network, prefix_len), on_link, autonomous, preferred_s, valid_s = info
    flags = (0x80 if on_link else 0) | (0x40 if autonomous else 0)
    return struct.pack("!BBBBIII16s", _PREFIX, 4, prefix_len, flags, valid_s, preferred_s, 0, network)


def _route_option(prefix: Prefix, seconds: int, preference: int) -> bytes:
    network, prefix_len = prefix
    octets = (prefix_len + 63) // 64 * 8
    head = struct.pack("!BBBBI", _ROUTE, 1 + octets // 8, prefix_len, preference << 3, seconds)
    return head + network[:octets]


def _dns_option(servers: Sequence[bytes], seconds: int) -> bytes:
    return struct.pack("!BBHI", _DNS, 1 + 2 * len(servers), 0, seconds) + b"".join(servers)
