"""DHCPv6 answers for one host's own ports (RFC 8415, 3646). Pure: bytes in, bytes out.

As with DHCPv4 there is no pool and no lease to keep: a port has its addresses as long as it exists. Those in
subnets with address mode `dhcpv6-stateful` are given; `dhcpv6-stateless` answers who only asks for information.
Every host of a network says that it is the same server, so a workload that moves renews at its new host.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from alcor.data_plane import frames
from alcor.model.addressing import Cidr, ip_from_text, link_local_ip
from alcor.model.goal_state import DHCPV6, LocalPort, NetworkEntry, SubnetEntry
from alcor.model.records import DHCPV6_STATEFUL, DHCPV6_STATELESS

# What was given must last while nobody here answers (law 6): as long as what advertisements say of addresses
# (`advertisements`), though clients ask twice a day, and sooner when their interface comes up again.
RENEW_S = 43_200
REBIND_S = 483_840  # 0.8 of the preferred lifetime (RFC 8415, section 21.4)
PREFERRED_S = 604_800
VALID_S = 2_592_000

SERVERS = bytes(ip_from_text("ff02::1:2"))  # All_DHCP_Relay_Agents_and_Servers
CLIENT_PORT, SERVER_PORT = 546, 547

_UDP = 17
_SOLICIT, _ADVERTISE, _REQUEST, _CONFIRM, _RENEW, _REBIND, _REPLY, _RELEASE, _DECLINE = range(1, 10)
_INFORMATION = 11

_CLIENT_ID, _SERVER_ID, _IA_NA, _IA_TA, _IA_ADDRESS, _ASKED, _PREFERENCE = range(1, 8)
_STATUS, _RAPID, _DNS, _IA_PD = 13, 14, 23, 25
_SUCCESS, _NO_ADDRESSES, _NO_BINDING, _NOT_ON_LINK, _NO_PREFIX = 0, 2, 3, 4, 6

_DUID_OPAQUE = b"\x00\x04"  # DUID-UUID (RFC 6355): 16 bytes that say nothing
_DUID_LEN = range(3, 131)
_IAS_MAX, _ADDRESSES_MAX = 8, 16  # of one message: an answer must fit a frame
_HEADERS_LEN = 40 + 8


class _Association(NamedTuple):
    """What a client calls one set of addresses, or of prefixes, and those in it that it names."""

    kind: int
    id: bytes  # 4 bytes
    named: tuple[bytes, ...]


class Request(NamedTuple):
    """A client's message, as far as it matters. `asked` None: it does not say which options it wants."""

    type: int
    transaction: bytes  # 3 bytes
    client: bytes | None
    server: bytes | None
    associations: tuple[_Association, ...]
    asked: frozenset[int] | None
    is_rapid: bool


class _Given(NamedTuple):
    """What is said of one association."""

    association: _Association
    addresses: tuple[bytes, ...]
    withdrawn: tuple[bytes, ...] = ()
    status: int = _SUCCESS


class _Place(NamedTuple):
    """What a port is told: its addresses, and the options of its subnets and itself."""

    server: bytes
    addresses: tuple[bytes, ...]
    links: tuple[Cidr, ...]  # that the addresses are in
    options: dict[int, bytes]


def is_request(packet: frames.Ipv6Frame) -> bool:
    """Is the packet for DHCPv6 servers?"""
    return packet.protocol == _UDP and packet.payload[0:4] == b"\x02\x22\x02\x23"


def parse(packet: frames.Ipv6Frame) -> Request | None:
    """Read a client's message; None when it is none, damaged, relayed, too large, or not for all servers."""
    message = packet.payload[8:]
    if not is_request(packet) or len(message) < 4 or packet.destination != SERVERS:
        return None
    options = _options(message[4:])
    if options is None:
        return None
    first = dict(reversed(options))
    associations = [_association(code, value) for code, value in options if code in _ASSOCIATIONS]
    whole = [each for each in associations if each is not None]
    if len(whole) < len(associations) or len(whole) > _IAS_MAX:
        return None
    if sum(len(each.named) for each in whole) > _ADDRESSES_MAX:
        return None
    if any(len(first[code]) not in _DUID_LEN for code in (_CLIENT_ID, _SERVER_ID) if code in first):
        return None
    asked = first.get(_ASKED)
    return Request(
        type=message[0],
        transaction=message[1:4],
        client=first.get(_CLIENT_ID),
        server=first.get(_SERVER_ID),
        associations=tuple(whole),
        asked=None if asked is None else frozenset(_numbers(asked)),
        is_rapid=_RAPID in first,
    )


def reply(
    frame: bytes, port: LocalPort, network: NetworkEntry, subnets: Sequence[SubnetEntry], *, server_mac: int
) -> bytes | None:
    """Answer a frame that came from the port; None when there is nothing to say. Never raises."""
    packet = frames.parse_ipv6(frame)
    if packet is None or packet.eth_src != port.mac or packet.source[:2] != b"\xfe\x80":
        return None
    request, place = parse(packet), _place(port, network, subnets)
    if request is None or place is None or not _is_valid(request, place):
        return None
    said = _said(request, place)
    if said is None or len(said) > network.mtu - _HEADERS_LEN:
        return None
    return frames.udp6_frame(
        eth_dst=packet.eth_src,
        eth_src=server_mac,
        source=link_local_ip(server_mac),
        destination=packet.source,
        source_port=SERVER_PORT,
        destination_port=CLIENT_PORT,
        payload=said,
    )


def server_of(network: NetworkEntry) -> bytes:
    """Give the server's DUID: the same on every host, and for as long as the network exists."""
    return _DUID_OPAQUE + hashlib.blake2b(network.id.encode(), digest_size=16).digest()


def _is_valid(request: Request, place: _Place) -> bool:
    """Does the message say who it is from and to, as it must? (RFC 8415, section 16)"""
    if request.type == _INFORMATION:
        return request.server in (None, place.server) and not request.associations
    if request.client is None or not place.addresses:
        return False  # no address to give or to speak of: stateless at most
    if request.type in (_SOLICIT, _CONFIRM, _REBIND):
        return request.server is None
    return request.server == place.server


def _said(request: Request, place: _Place) -> bytes | None:
    """Decide by the message (RFC 8415, section 18.3)."""
    match request.type:
        case kind if kind == _SOLICIT:
            given = _spread(request, place, surplus=_NO_ADDRESSES)
            if request.is_rapid:
                return _message(_REPLY, request, place, given, (_option(_RAPID, b""),))
            # The best there is: the client need not wait for others (section 18.2.1).
            return _message(_ADVERTISE, request, place, given, (_option(_PREFERENCE, b"\xff"),))
        case kind if kind == _REQUEST:
            given = _spread(request, place, surplus=_NO_ADDRESSES)
            return _message(_REPLY, request, place, [_unless_elsewhere(each, place) for each in given])
        case kind if kind in (_RENEW, _REBIND):
            given = _spread(request, place, surplus=_NO_BINDING)
            return _message(_REPLY, request, place, [_withdrawing(each, place) for each in given])
        case kind if kind == _CONFIRM:
            return _confirmed(request, place)
        case kind if kind in (_RELEASE, _DECLINE):
            return _let_go(request, place)
        case kind if kind == _INFORMATION:
            return _message(_REPLY, request, place, ())
        case _:
            return None


def _confirmed(request: Request, place: _Place) -> bytes | None:
    """Say whether the client may keep what it has; one that has another address must ask anew."""
    named = [ip for each in request.associations if each.kind != _IA_PD for ip in each.named]
    if not named:
        return None
    status = _SUCCESS if all(ip in place.addresses for ip in named) else _NOT_ON_LINK
    return _head(_REPLY, request, place) + _option(_STATUS, status.to_bytes(2, "big"))


def _let_go(request: Request, place: _Place) -> bytes:
    """Thank for what is given back, or said to be in use elsewhere: it stays the port's all the same."""
    strange = [
        _Given(each, (), status=_NO_BINDING)
        for each in request.associations
        if not any(ip in place.addresses for ip in each.named)
    ]
    status = _option(_STATUS, _SUCCESS.to_bytes(2, "big"))
    return _head(_REPLY, request, place) + b"".join((status, *map(_association_option, strange)))


def _spread(request: Request, place: _Place, *, surplus: int) -> list[_Given]:
    """Share the port's addresses out: who names one keeps it, who names none gets the next, the first the rest.

    So a client with one association gets every address, and the same message the same answer.
    `surplus`: status of an association for which there is none.
    """
    wanting = [each for each in request.associations if each.kind == _IA_NA]
    held: list[list[bytes]] = [[] for _ in wanting]
    free = list(place.addresses)
    for each, mine in zip(wanting, held, strict=True):
        mine += [ip for ip in free if ip in each.named]
        free = [ip for ip in free if ip not in mine]
    for mine in held:
        if free and not mine:
            mine.append(free.pop(0))
    if held:
        held[0] += free
    given = [
        _Given(each, tuple(mine), status=_SUCCESS if mine else surplus)
        for each, mine in zip(wanting, held, strict=True)
    ]
    for each in request.associations:
        if each.kind != _IA_NA:
            given.append(_Given(each, (), status=_NO_PREFIX if each.kind == _IA_PD else surplus))
    return given


def _unless_elsewhere(given: _Given, place: _Place) -> _Given:
    """Refuse a request for addresses of another link (RFC 8415, section 18.3.2)."""
    is_elsewhere = any(not any(link.contains(ip) for link in place.links) for ip in given.association.named)
    if not is_elsewhere or given.association.kind == _IA_PD:
        return given
    return _Given(given.association, (), status=_NOT_ON_LINK)


def _withdrawing(given: _Given, place: _Place) -> _Given:
    """Take back what the client has and the port has not (RFC 8415, section 18.3.4)."""
    if given.association.kind == _IA_PD:
        return given
    gone = tuple(ip for ip in given.association.named if ip not in place.addresses)
    return given._replace(withdrawn=gone, status=_SUCCESS if gone else given.status)


def _message(
    kind: int, request: Request, place: _Place, given: Iterable[_Given], more: Iterable[bytes] = ()
) -> bytes:
    asked = request.asked
    wanted = (_option(code, value) for code, value in place.options.items() if asked is None or code in asked)
    return b"".join((_head(kind, request, place), *map(_association_option, given), *more, *wanted))


def _head(kind: int, request: Request, place: _Place) -> bytes:
    client = b"" if request.client is None else _option(_CLIENT_ID, request.client)
    return bytes([kind]) + request.transaction + client + _option(_SERVER_ID, place.server)


def _association_option(given: _Given) -> bytes:
    kind, number, _ = given.association
    inside = [_address_option(ip, PREFERRED_S, VALID_S) for ip in given.addresses]
    inside += [_address_option(ip, 0, 0) for ip in given.withdrawn]
    if given.status != _SUCCESS:
        inside.append(_option(_STATUS, given.status.to_bytes(2, "big")))
    times = (RENEW_S, REBIND_S) if given.addresses else (0, 0)
    timed = b"" if kind == _IA_TA else struct.pack("!II", *times)
    return _option(kind, number + timed + b"".join(inside))


def _address_option(ip: bytes, preferred_s: int, valid_s: int) -> bytes:
    return _option(_IA_ADDRESS, ip + struct.pack("!II", preferred_s, valid_s))


def _place(port: LocalPort, network: NetworkEntry, subnets: Sequence[SubnetEntry]) -> _Place | None:
    """Gather what the port is told; None when DHCPv6 has nothing to do with it."""
    told = {
        subnet.id: subnet
        for subnet in subnets
        if subnet.enable_dhcp and subnet.address_mode in (DHCPV6_STATEFUL, DHCPV6_STATELESS)
    }
    if not told:
        return None
    stateful = [
        (fixed.ip, told[fixed.subnet_id])
        for fixed in port.fixed_ips
        if fixed.subnet_id in told
        and told[fixed.subnet_id].address_mode == DHCPV6_STATEFUL
        and len(fixed.ip) == 16
    ]
    servers = dict.fromkeys(ip for subnet in told.values() for ip in subnet.dns_nameservers if len(ip) == 16)
    options = {_DNS: b"".join(servers)} if servers else {}
    options.update((code - DHCPV6, value) for code, value in port.dhcp_options if code >= DHCPV6)
    return _Place(
        server=server_of(network),
        addresses=tuple(ip for ip, _ in stateful),
        links=tuple(Cidr(*subnet.cidr) for _, subnet in stateful),
        options=options,
    )


def _association(kind: int, value: bytes) -> _Association | None:
    """Read an IA option; None when it is damaged."""
    start = _ASSOCIATIONS[kind]
    options = _options(value[start:]) if len(value) >= start else None
    if options is None:
        return None
    named = dict.fromkeys(inner[:16] for code, inner in options if code == _IA_ADDRESS and len(inner) >= 24)
    return _Association(kind, value[:4], tuple(named))


_ASSOCIATIONS = {_IA_NA: 12, _IA_TA: 4, _IA_PD: 12}  # kind -> where its own options begin


def _options(data: bytes) -> list[tuple[int, bytes]] | None:
    """Read options, in order; None when one does not end where it says."""
    found = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            return None
        code, length = struct.unpack_from("!HH", data, at)
        if at + 4 + length > len(data):
            return None
        found.append((code, data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def _numbers(data: bytes) -> Iterator[int]:
    return (number for (number,) in struct.iter_unpack("!H", data[: len(data) // 2 * 2]))
