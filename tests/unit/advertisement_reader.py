"""Reads router advertisements as a host does, apart from the code that writes them."""

import ipaddress
import struct
from typing import NamedTuple

from alcor.data_plane import frames
from alcor.model.addressing import link_local_ip


class Prefix(NamedTuple):
    prefix: str
    flags: str  # L: on link, A: autonomous
    valid_s: int
    preferred_s: int


class Read(NamedTuple):
    """One advertisement."""

    mac: int
    to: str
    to_mac: int
    flags: str  # M: managed, O: other
    preference: str
    router_lifetime_s: int
    mtu: int | None
    prefixes: tuple[Prefix, ...]
    routes: dict[str, int]
    dns: dict[str, int]


def read(frame: bytes) -> Read:
    """Read one; it must be whole, and such as a host may believe (RFC 4861, section 6.1.2)."""
    packet = frames.parse_ipv6(frame)
    assert packet is not None
    assert packet.protocol == 58
    assert packet.hop_limit == 255
    body = packet.payload
    assert frames.ipv6_checksum(packet.source, packet.destination, 58, body) == 0
    assert body[:2] == b"\x86\x00"
    assert packet.source == link_local_ip(packet.eth_src)
    flags, lifetime = body[5], int.from_bytes(body[6:8], "big")
    mtu, prefixes, routes, dns, sender, at = None, [], {}, {}, None, 16
    while at < len(body):
        kind, length = body[at], body[at + 1] * 8
        option = body[at : at + length]
        assert length
        assert len(option) == length
        match kind:
            case 1:
                sender = int.from_bytes(option[2:8], "big")
            case 3:
                bits, valid, preferred = struct.unpack("!BII", option[3:12])
                text = f"{ipaddress.IPv6Address(option[16:32])}/{option[2]}"
                words = ("L" if bits & 0x80 else "") + ("A" if bits & 0x40 else "")
                prefixes.append(Prefix(text, words, valid, preferred))
            case 5:
                mtu = int.from_bytes(option[4:8], "big")
            case 24:
                network = ipaddress.IPv6Address(option[8:].ljust(16, b"\0"))
                routes[f"{network}/{option[2]}"] = int.from_bytes(option[4:8], "big")
            case 25:
                seconds = int.from_bytes(option[4:8], "big")
                dns |= {str(ipaddress.IPv6Address(option[i : i + 16])): seconds for i in range(8, length, 16)}
            case other:
                raise AssertionError(f"option {other}")
        at += length
    assert sender == packet.eth_src
    return Read(
        packet.eth_src,
        str(ipaddress.IPv6Address(packet.destination)),
        packet.eth_dst,
        ("M" if flags & 0x80 else "") + ("O" if flags & 0x40 else ""),
        {0b00: "medium", 0b01: "high", 0b11: "low"}[flags >> 3 & 3],
        lifetime,
        mtu,
        tuple(prefixes),
        routes,
        dns,
    )
