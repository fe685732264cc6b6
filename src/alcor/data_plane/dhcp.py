"""DHCPv4 answers for one host's own ports (RFC 2131, 2132, 3442, 6842). Pure: bytes in, bytes out.

The port is known by where the frame came in, so there is no pool and no lease to keep: a port has its address
as long as it exists. The server identifier is the subnet's gateway, or without one the first address of the
subnet that is not the client's own; the host takes renewals from its ports wherever they are sent.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from alcor.data_plane import frames
from alcor.model.addressing import BROADCAST_MAC
from alcor.model.goal_state import DHCPV6, LocalPort, NetworkEntry, SubnetEntry

LEASE_S = 86_400  # a day: a renewal is cheap, and an address changes only with its port

_DISCOVER, _OFFER, _REQUEST, _DECLINE, _ACK, _NAK, _RELEASE, _INFORM = range(1, 9)
_MAGIC = b"\x63\x82\x53\x63"
_FIXED_LEN = 236
_BROADCAST_FLAG = 0x8000
_ANY = bytes(4)
_EVERYBODY = b"\xff\xff\xff\xff"
_PAYLOAD_MIN = 300  # BOOTP's length: some clients drop shorter ones (RFC 1542, section 2.1)

_SUBNET_MASK, _ROUTER, _DNS, _MTU = 1, 3, 6, 26
_REQUESTED, _LEASE, _TYPE, _SERVER, _T1, _T2, _CLIENT_ID = 50, 51, 53, 54, 58, 59, 61
_CLASSLESS_ROUTES, _PAD, _END = 121, 0, 255


class Request(NamedTuple):
    """A client's message, as far as it matters."""

    type: int
    transaction: bytes  # 4 bytes
    flags: int
    client_ip: bytes
    hardware: bytes  # 6 bytes
    requested: bytes | None
    server: bytes | None
    client_id: bytes | None


class _Lease(NamedTuple):
    ip: bytes
    subnet: SubnetEntry
    server: bytes
    more: tuple[tuple[int, bytes], ...]  # of the port itself


def is_request(packet: frames.Ipv4Frame) -> bool:
    """Is the packet for a DHCP server?"""
    return packet.protocol == 17 and packet.fragment == 0 and packet.payload[0:4] == b"\x00\x44\x00\x43"


def parse(packet: frames.Ipv4Frame) -> Request | None:
    """Read a client's message; None when it is none, damaged, or relayed."""
    message = packet.payload[8:]
    if not is_request(packet) or len(message) < _FIXED_LEN + 4:
        return None
    if message[0:3] != b"\x01\x01\x06" or message[24:28] != _ANY or message[236:240] != _MAGIC:
        return None
    options = _parse_options(message[240:])
    kind = options.get(_TYPE, b"")
    if len(kind) != 1:
        return None
    return Request(
        type=kind[0],
        transaction=message[4:8],
        flags=int.from_bytes(message[10:12], "big"),
        client_ip=message[12:16],
        hardware=message[28:34],
        requested=_address(options.get(_REQUESTED)),
        server=_address(options.get(_SERVER)),
        client_id=options.get(_CLIENT_ID),
    )


def reply(
    frame: bytes, port: LocalPort, network: NetworkEntry, subnets: Sequence[SubnetEntry], *, server_mac: int
) -> bytes | None:
    """Answer a frame that came from the port; None when there is nothing to say. Never raises."""
    packet = frames.parse_ipv4(frame)
    request = None if packet is None else parse(packet)
    if request is None or request.hardware != port.mac.to_bytes(6, "big"):
        return None
    leases = _leases(port, subnets)
    if not leases:
        return None
    lease = _fitting(request, leases)
    if request.type == _DISCOVER:
        return _frame(request, lease or leases[0], _OFFER, network, server_mac)
    if request.type == _REQUEST:
        return _answer_request(request, lease, leases, network, server_mac)
    if request.type == _INFORM and request.client_ip != _ANY:  # it has its address, and wants the rest
        return _frame(request, lease or leases[0], _ACK, network, server_mac)
    return None  # DECLINE and RELEASE ask for no answer, and what is given here stays given


def _answer_request(
    request: Request, lease: _Lease | None, leases: list[_Lease], network: NetworkEntry, server_mac: int
) -> bytes | None:
    """Decide by the client's state (RFC 2131, section 4.3.2)."""
    is_renewal = request.client_ip != _ANY
    if request.server is not None:  # SELECTING
        if all(request.server != held.server for held in leases):
            return None  # it chose another server
        if request.requested is None and not is_renewal:
            return None
    elif request.requested is None and not is_renewal:
        return None  # neither INIT-REBOOT nor RENEWING nor REBINDING
    if lease is None:
        return _frame(request, leases[0], _NAK, network, server_mac)
    return _frame(request, lease, _ACK, network, server_mac)


def _leases(port: LocalPort, subnets: Sequence[SubnetEntry]) -> list[_Lease]:
    by_id = {subnet.id: subnet for subnet in subnets if subnet.enable_dhcp and len(subnet.cidr[0]) == 4}
    more = tuple(option for option in port.dhcp_options if option[0] < DHCPV6)
    return [
        _Lease(fixed.ip, by_id[fixed.subnet_id], _server_of(by_id[fixed.subnet_id], fixed.ip), more)
        for fixed in port.fixed_ips
        if fixed.subnet_id in by_id and len(fixed.ip) == 4
    ]


def _server_of(subnet: SubnetEntry, own: bytes) -> bytes:
    if subnet.gateway_ip is not None and len(subnet.gateway_ip) == 4:
        return subnet.gateway_ip
    first = int.from_bytes(subnet.cidr[0], "big") + 1 & 0xFFFFFFFF
    if first.to_bytes(4, "big") == own:
        first = first + 1 & 0xFFFFFFFF
    return first.to_bytes(4, "big")


def _fitting(request: Request, leases: list[_Lease]) -> _Lease | None:
    """Find the address that the client names; one that names none may have the first."""
    named = request.client_ip if request.client_ip != _ANY else request.requested
    if named is None:
        return leases[0]
    return next((lease for lease in leases if lease.ip == named), None)


def _frame(request: Request, lease: _Lease, kind: int, network: NetworkEntry, server_mac: int) -> bytes:
    gives_address = kind != _NAK and request.type != _INFORM
    options = _options(request, lease, kind, network)
    message = struct.pack(
        "!BBBB4sHH4s4s4s4s16s192s",
        2,
        1,
        6,
        0,
        request.transaction,
        0,
        request.flags,
        _ANY if kind == _NAK else request.client_ip,
        lease.ip if gives_address else _ANY,
        _ANY,
        _ANY,
        request.hardware,
        b"",
    )
    payload = (message + _MAGIC + options).ljust(_PAYLOAD_MIN, b"\x00")
    destination, mac = _destination(request, lease, kind)
    return frames.udp_frame(
        eth_dst=mac,
        eth_src=server_mac,
        source=lease.server,
        destination=destination,
        source_port=67,
        destination_port=68,
        payload=payload,
    )


def _destination(request: Request, lease: _Lease, kind: int) -> tuple[bytes, int]:
    """Choose where the answer goes (RFC 2131, section 4.1)."""
    hardware = int.from_bytes(request.hardware, "big")
    if kind == _NAK:
        return _EVERYBODY, BROADCAST_MAC
    if request.client_ip != _ANY:
        return request.client_ip, hardware
    if request.flags & _BROADCAST_FLAG:
        return _EVERYBODY, BROADCAST_MAC
    return lease.ip, hardware


def _options(request: Request, lease: _Lease, kind: int, network: NetworkEntry) -> bytes:
    subnet = lease.subnet
    made = [_option(_TYPE, bytes([kind])), _option(_SERVER, lease.server)]
    if request.client_id is not None:
        made.append(_option(_CLIENT_ID, request.client_id))
    if kind == _NAK:
        return b"".join((*made, b"\xff"))
    found: dict[int, bytes] = {}
    if request.type != _INFORM:
        times = ((_LEASE, LEASE_S), (_T1, LEASE_S // 2), (_T2, LEASE_S * 7 // 8))
        found.update((code, seconds.to_bytes(4, "big")) for code, seconds in times)
    mask = (0xFFFFFFFF << (32 - subnet.cidr[1])) & 0xFFFFFFFF
    found[_SUBNET_MASK] = mask.to_bytes(4, "big")
    if subnet.host_routes:
        found[_CLASSLESS_ROUTES] = _classless_routes(subnet)
    if subnet.gateway_ip is not None:
        found[_ROUTER] = subnet.gateway_ip
    servers = b"".join(server for server in subnet.dns_nameservers if len(server) == 4)
    if servers:
        found[_DNS] = servers
    found[_MTU] = (network.mtu & 0xFFFF).to_bytes(2, "big")
    own = dict(lease.more)
    if request.type == _INFORM:  # who has its address is told of no lease (RFC 2131, section 4.3.5)
        own = {code: value for code, value in own.items() if code not in (_LEASE, _T1, _T2)}
    if _ROUTER in own and _CLASSLESS_ROUTES not in own:  # clients would go by the routes alone
        found.pop(_CLASSLESS_ROUTES, None)
    found.update(own)
    made.extend(_option(code, value) for code, value in found.items())
    return b"".join((*made, b"\xff"))


def _classless_routes(subnet: SubnetEntry) -> bytes:
    """Write the routes, the default one too: clients ignore the router option then (RFC 3442)."""
    routes = [
        (network, prefix_len, hop)
        for network, prefix_len, hop in subnet.host_routes
        if len(network) == 4 and len(hop) == 4
    ]
    has_default = any(prefix_len == 0 for _, prefix_len, _ in routes)
    if subnet.gateway_ip is not None and not has_default:
        routes.append((_ANY, 0, subnet.gateway_ip))
    return b"".join(
        bytes([prefix_len]) + network[: (prefix_len + 7) // 8] + hop for network, prefix_len, hop in routes
    )


def _option(code: int, value: bytes) -> bytes:
    """Write an option, in several pieces when it is long (RFC 3396)."""
    pieces = [value[start : start + 255] for start in range(0, len(value), 255)] or [b""]
    return b"".join(bytes([code, len(piece)]) + piece for piece in pieces)


def _parse_options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            break
        value = data[at + 2 : at + 2 + data[at + 1]]
        found[data[at]] = found.get(data[at], b"") + value
        at += 2 + len(value)
    return found


def _address(value: bytes | None) -> bytes | None:
    return value if value is not None and len(value) == 4 else None
