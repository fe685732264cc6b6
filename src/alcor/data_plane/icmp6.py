"""ICMPv6 as far as a host says it itself: how a message is read and made, and errors of a router (RFC 4443)."""

import struct

from alcor.data_plane import frames

ICMPV6 = 58

_TIME_EXCEEDED, _REDIRECT = 3, 137
_FIRST_INFORMATION = 128  # lower types are errors
_QUOTE_MAX = 1280 - 40 - 8  # the whole error fits the MTU that every link has
_NOBODY, _LOOPBACK = bytes(16), bytes(15) + b"\x01"
_MULTICAST = 0xFF


def message(packet: frames.Ipv6Frame) -> bytes | None:
    """Give the ICMPv6 message that a packet carries, if its checksum is right.

    None also with extension headers: what is handed over here has none (RFC 6980 asks for it).
    """
    if packet.protocol != ICMPV6 or len(packet.payload) < 8:
        return None
    summed = frames.ipv6_checksum(packet.source, packet.destination, ICMPV6, packet.payload)
    return packet.payload if summed == 0 else None


def frame(
    body: bytes, *, eth_dst: int, eth_src: int, source: bytes, destination: bytes, hop_limit: int = 64
) -> bytes:
    """Put a message whose checksum is still zero into an Ethernet frame."""
    summed = frames.ipv6_checksum(source, destination, ICMPV6, body)
    return frames.ipv6_frame(
        eth_dst=eth_dst,
        eth_src=eth_src,
        source=source,
        destination=destination,
        protocol=ICMPV6,
        payload=body[:2] + summed.to_bytes(2, "big") + body[4:],
        hop_limit=hop_limit,
    )


def time_exceeded(packet: frames.Ipv6Frame, *, gateway_ip: bytes, gateway_mac: int) -> bytes | None:
    """Tell the sender that its packet's hop limit ran out; None when the rules forbid an answer.

    None about an error or a redirect, about what may be one, and about what was not sent to one host from one
    host (RFC 4443, section 2.4).
    """
    upper = frames.upper_layer(packet)
    if upper is None or packet.eth_dst >> 40 & 1 or packet.eth_src >> 40 & 1:
        return None
    protocol, content = upper
    if protocol == ICMPV6 and (not content or content[0] < _FIRST_INFORMATION or content[0] == _REDIRECT):
        return None
    if packet.source in (_NOBODY, _LOOPBACK) or _MULTICAST in (packet.source[0], packet.destination[0]):
        return None
    return frame(
        struct.pack("!BBHI", _TIME_EXCEEDED, 0, 0, 0) + packet.packet[:_QUOTE_MAX],
        eth_dst=packet.eth_src,
        eth_src=gateway_mac,
        source=gateway_ip,
        destination=packet.source,
    )
