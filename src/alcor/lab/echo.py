"""Pings of both IP versions, over raw sockets (RFC 792, 4443)."""

import socket
import struct
from typing import NamedTuple


class _Form(NamedTuple):
    family: socket.AddressFamily
    protocol: int
    request: int
    reply: int


_FORMS = {
    4: _Form(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),
    6: _Form(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129),
}


class Echo(NamedTuple):
    """A ping or its answer."""

    is_request: bool
    identifier: int
    number: int


def version_of(address: str) -> int:
    """Give the IP version of an address."""
    return 6 if ":" in address else 4


def family_of(address: str) -> socket.AddressFamily:
    return family(version_of(address))


def family(version: int) -> socket.AddressFamily:
    return _FORMS[version].family


def header_length(version: int, packet: bytes) -> int:
    """Say how long the IP header is that a raw socket gives with a packet: of IPv6 there is none."""
    return (packet[0] & 15) * 4 if version == 4 and packet else 0


def open_socket(version: int) -> socket.socket:
    """Open a socket for pings in the namespace where the process is."""
    form = _FORMS[version]
    sock = socket.socket(form.family, socket.SOCK_RAW, form.protocol)
    sock.setblocking(False)
    return sock


def request(version: int, identifier: int, number: int, content: bytes) -> bytes:
    """Make a ping."""
    message = struct.pack("!BBHHH", _FORMS[version].request, 0, 0, identifier, number) + content
    if version == 6:
        return message  # the kernel itself sums what a raw socket of ICMPv6 sends (RFC 3542, section 3.1)
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def read(version: int, packet: bytes) -> Echo | None:
    """Read what a socket for pings received; None when it is something else."""
    form = _FORMS[version]
    start = header_length(version, packet)
    if len(packet) < start + 8 or packet[start] not in (form.request, form.reply):
        return None
    return Echo(packet[start] == form.request, *struct.unpack_from("!HH", packet, start + 4))


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    total += total >> 16
    return ~total & 0xFFFF
