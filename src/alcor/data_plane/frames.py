"""Bytes of Ethernet, IP and UDP, as far as an agent's own answers need them (RFC 894, 791, 8200, 768)."""

import struct
from typing import NamedTuple

_ETHERTYPE_IPV4 = 0x0800
_ARP_HEAD = b"\x08\x06\x00\x01\x08\x00\x06\x04"  # for IPv4 over Ethernet (RFC 826)
_VLAN_HEAD = b"\x81\x00"
_UDP = 17
_TTL = 64
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60  # IPv6's headers before the packet's own
_EXTENSIONS_MAX = 8
_MULTICAST_MACS = 0x3333 << 32
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136  # of neighbours


class Ipv4Frame(NamedTuple):
    """An Ethernet frame with an IPv4 packet, taken apart."""

    eth_dst: int
    eth_src: int
    protocol: int
    ttl: int
    fragment: int  # offset in 8-byte units; the more-fragments flag is not kept
    source: bytes
    destination: bytes
    header: bytes  # of IPv4, options included
    payload: bytes  # of IPv4, padding cut off


def parse_ipv4(frame: bytes) -> Ipv4Frame | None:
    """Take a frame apart; None when it is not a whole IPv4 packet. Any bytes are fine."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return None
    header_len = (frame[14] & 0x0F) * 4
    total = int.from_bytes(frame[16:18], "big")
    if frame[14] >> 4 != 4 or header_len < 20 or not header_len <= total <= len(frame) - 14:
        return None
    return Ipv4Frame(
        eth_dst=int.from_bytes(frame[0:6], "big"),
        eth_src=int.from_bytes(frame[6:12], "big"),
        protocol=frame[23],
        ttl=frame[22],
        fragment=int.from_bytes(frame[20:22], "big") & 0x1FFF,
        source=frame[26:30],
        destination=frame[30:34],
        header=frame[14 : 14 + header_len],
        payload=frame[14 + header_len : 14 + total],
    )


class Ipv6Frame(NamedTuple):
    """An Ethernet frame with an IPv6 packet, taken apart. Extension headers are part of the payload."""

    eth_dst: int
    eth_src: int
    protocol: int  # of the first header in the payload
    hop_limit: int
    source: bytes
    destination: bytes
    packet: bytes  # header and payload
    payload: bytes  # padding cut off


def parse_ipv6(frame: bytes) -> Ipv6Frame | None:
    """Take a frame apart; None when it is not a whole IPv6 packet. Any bytes are fine."""
    if len(frame) < 54 or frame[12:14] != b"\x86\xdd" or frame[14] >> 4 != 6:
        return None
    end = 54 + int.from_bytes(frame[18:20], "big")
    if end > len(frame):
        return None
    return Ipv6Frame(
        eth_dst=int.from_bytes(frame[0:6], "big"),
        eth_src=int.from_bytes(frame[6:12], "big"),
        protocol=frame[20],
        hop_limit=frame[21],
        source=frame[22:38],
        destination=frame[38:54],
        packet=frame[14:end],
        payload=frame[54:end],
    )


def upper_layer(packet: Ipv6Frame) -> tuple[int, bytes] | None:
    """Give protocol and bytes behind the extension headers; None when these do not lead to its beginning.

    That is so of every fragment but the first (RFC 8200, section 4.5).
    """
    protocol, rest = packet.protocol, packet.payload
    for _ in range(_EXTENSIONS_MAX):
        if protocol not in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION):
            return protocol, rest
        if len(rest) < 8 or (protocol == _FRAGMENT and int.from_bytes(rest[2:4], "big") >> 3):
            return None
        length = 8 if protocol == _FRAGMENT else 8 * (rest[1] + 1)
        protocol, rest = rest[0], rest[length:]
    return None


def tagged(frame: bytes, vlan: int) -> bytes:
    """Put a VLAN tag on a frame (IEEE 802.1Q)."""
    return frame[:12] + _VLAN_HEAD + vlan.to_bytes(2, "big") + frame[12:]


def untagged(frame: bytes) -> bytes:
    """Take a frame's VLAN tag off, if it has one."""
    return frame[:12] + frame[16:] if frame[12:14] == _VLAN_HEAD else frame


def asked_address(frame: bytes, *, of_source: bool = False) -> bytes | None:
    """Give the address that ARP or a solicitation asks for, or an IP packet is for; None of others.

    `of_source`: the address that the packet is from. Any bytes are fine.
    """
    match frame[12:14]:
        case b"\x08\x06" if len(frame) >= 42 and not of_source:
            return frame[38:42]
        case b"\x08\x00" if len(frame) >= 34:
            return frame[26:30] if of_source else frame[30:34]
        case b"\x86\xdd" if len(frame) >= 54:
            is_question = _discovery(frame) == _SOLICITATION and not of_source
            return frame[62:78] if is_question else frame[22:38] if of_source else frame[38:54]
    return None


def said_by_neighbour(frame: bytes) -> tuple[int, bytes] | None:
    """Give the addresses that the sender of ARP, or of neighbour discovery, says are its own; None of others.

    A solicitation says so of its source, an advertisement of its target. Any bytes are fine.
    """
    if len(frame) >= 42 and frame[12:22] in (_ARP_HEAD + b"\x00\x01", _ARP_HEAD + b"\x00\x02"):
        return int.from_bytes(frame[22:28], "big"), frame[28:32]
    said = {_SOLICITATION: frame[22:38], _ADVERTISEMENT: frame[62:78]}.get(_discovery(frame))
    return None if said is None else (int.from_bytes(frame[6:12], "big"), said)


def _discovery(frame: bytes) -> int:
    """Give the type of a neighbour discovery message with a target (RFC 4861, section 4); 0 of other frames."""
    if len(frame) < 78 or frame[12:14] != b"\x86\xdd" or frame[20] != _ICMPV6:
        return 0
    return frame[54] if frame[54] in (_SOLICITATION, _ADVERTISEMENT) else 0


def arp_frame(*, mac: int, sender: bytes, target: bytes, is_reply: bool = False) -> bytes:
    """Make the broadcast ARP packet by which a station asks, or says that an address is its own."""
    own = mac.to_bytes(6, "big")
    operation = b"\x00\x02" if is_reply else b"\x00\x01"
    return b"\xff" * 6 + own + _ARP_HEAD + operation + own + sender + bytes(6) + target


def ipv4_frame(
    *, eth_dst: int, eth_src: int, source: bytes, destination: bytes, protocol: int, payload: bytes
) -> bytes:
    """Put an IPv4 packet without options into an Ethernet frame."""
    ethernet = eth_dst.to_bytes(6, "big") + eth_src.to_bytes(6, "big") + _ETHERTYPE_IPV4.to_bytes(2, "big")
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, _TTL, protocol, 0, source, destination
    )
    return ethernet + head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def udp_frame(
    *,
    eth_dst: int,
    eth_src: int,
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    payload: bytes,
) -> bytes:
    """Put a UDP datagram into an Ethernet frame."""
    length = 8 + len(payload)
    pseudo = source + destination + struct.pack("!BBH", 0, _UDP, length)
    head = struct.pack("!HHHH", source_port, destination_port, length, 0)
    summed = checksum(pseudo + head + payload) or 0xFFFF  # zero would say that there is none
    datagram = head[:6] + summed.to_bytes(2, "big") + payload
    return ipv4_frame(
        eth_dst=eth_dst,
        eth_src=eth_src,
        source=source,
        destination=destination,
        protocol=_UDP,
        payload=datagram,
    )


def ipv6_frame(
    *,
    eth_dst: int,
    eth_src: int,
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    hop_limit: int = _TTL,
) -> bytes:
    """Put an IPv6 packet without extension headers into an Ethernet frame."""
    ethernet = eth_dst.to_bytes(6, "big") + eth_src.to_bytes(6, "big") + b"\x86\xdd"
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit)
    return ethernet + head + source + destination + payload


def ipv6_checksum(source: bytes, destination: bytes, protocol: int, payload: bytes) -> int:
    """Give the checksum of what an IPv6 packet carries (RFC 8200, section 8.1); 0 over what has a right one."""
    return checksum(source + destination + struct.pack("!II", len(payload), protocol) + payload)


def udp6_frame(
    *,
    eth_dst: int,
    eth_src: int,
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    payload: bytes,
) -> bytes:
    """Put a UDP datagram over IPv6 into an Ethernet frame."""
    datagram = struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload
    summed = ipv6_checksum(source, destination, _UDP, datagram) or 0xFFFF  # zero is not allowed
    return ipv6_frame(
        eth_dst=eth_dst,
        eth_src=eth_src,
        source=source,
        destination=destination,
        protocol=_UDP,
        payload=datagram[:6] + summed.to_bytes(2, "big") + payload,
    )


def multicast_mac(group: bytes) -> int:
    """Give the Ethernet address of an IPv6 multicast group (RFC 2464, section 7)."""
    return _MULTICAST_MACS | int.from_bytes(group[12:], "big")


def checksum(data: bytes) -> int:
    """Give the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\x00"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
