"""A packet of IPv6 whose way has been too long."""

from alcor.data_plane import frames
from alcor.model.addressing import ip_from_text

GATEWAY, SENDER, FAR = (ip_from_text(text) for text in ("2001:db8::1", "2001:db8::10", "2001:db8:1::10"))
GATEWAY_MAC, MAC = 0xFA163F000001, 0x02AA00000001


def expired(
    protocol: int = 17,
    payload: bytes = b"\x82\x9a\x82\x9b\x00\x0d\x00\x00trace",
    source: bytes = SENDER,
    destination: bytes = FAR,
    eth_dst: int = GATEWAY_MAC,
) -> bytes:
    return frames.ipv6_frame(
        eth_dst=eth_dst,
        eth_src=MAC,
        source=source,
        destination=destination,
        protocol=protocol,
        payload=payload,
        hop_limit=1,
    )
