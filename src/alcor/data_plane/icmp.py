"""ICMP errors that a host's router sends (RFC 792; RFC 1812, section 4.3.2)."""

import struct

from alcor.data_plane import frames

_ICMP = 1
_TIME_EXCEEDED = 11
_ERRORS = frozenset({3, 4, 5, 11, 12})
_QUOTE_MAX = 548  # the whole error fits the 576 bytes that every host accepts


def time_exceeded(frame: bytes, *, gateway_ip: bytes, gateway_mac: int) -> bytes | None:
    """Tell the sender that its packet's time to live ran out; None when the rules forbid an answer.

    No error about an error, a fragment but the first, or what was not sent to one host from one host.
    """
    packet = frames.parse_ipv4(frame)
    if packet is None or packet.fragment or packet.eth_dst >> 40 & 1 or packet.eth_src >> 40 & 1:
        return None
    if packet.protocol == _ICMP and packet.payload[:1] and packet.payload[0] in _ERRORS:
        return None
    if packet.source[0] in (0, 127) or packet.source[0] >= 224 or packet.destination[0] >= 224:
        return None
    quote = (packet.header + packet.payload)[:_QUOTE_MAX]
    body = struct.pack("!BBHI", _TIME_EXCEEDED, 0, 0, 0) + quote
    body = body[:2] + frames.checksum(body).to_bytes(2, "big") + body[4:]
    return frames.ipv4_frame(
        eth_dst=packet.eth_src,
        eth_src=gateway_mac,
        source=gateway_ip,
        destination=packet.source,
        protocol=_ICMP,
        payload=body,
    )
