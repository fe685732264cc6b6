"""A client of DHCP: what it sends, and what the port's own server answers."""

import struct

from alcor.data_plane import dhcp, frames
from alcor.model.addressing import BROADCAST_MAC, Cidr, ip_from_text
from alcor.model.goal_state import LocalPort, NetworkEntry, SubnetEntry
from alcor.model.records import FixedIp

MAC = 0xFA163E000001
SERVER_MAC = 0x02AC10000001
OWN, OTHER, GATEWAY, NOBODY = (ip_from_text(text) for text in ("10.0.0.10", "10.0.0.11", "10.0.0.1", "0.0.0.0"))
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
PORT = LocalPort("p", MAC, (FixedIp("s", OWN),), (), True, True)
NETWORK = NetworkEntry("n", 7, 1450, True)


def subnet(**changes) -> SubnetEntry:
    fields = {
        "id": "s",
        "cidr": tuple(Cidr.from_text("10.0.0.0/24")),
        "gateway_ip": GATEWAY,
        "enable_dhcp": True,
        "dns_nameservers": (ip_from_text("9.9.9.9"), ip_from_text("1.1.1.1")),
        "host_routes": (),
    }
    return SubnetEntry(**{**fields, **changes})


def client(kind: int, *, ciaddr=NOBODY, requested=None, server=None, flags=0, giaddr=NOBODY, mac=MAC, more=b""):
    head = struct.pack(
        "!BBBBIHH4s4s4s4s16s192s",
        *(1, 1, 6, 0, 0x12345678, 0, flags, ciaddr, NOBODY, NOBODY, giaddr, mac.to_bytes(6, "big"), b""),
    )
    options = b"\x63\x82\x53\x63" + bytes([53, 1, kind])
    options += b"" if requested is None else bytes([50, 4]) + requested
    options += b"" if server is None else bytes([54, 4]) + server
    return frames.udp_frame(
        eth_dst=BROADCAST_MAC,
        eth_src=mac,
        source=ciaddr,
        destination=b"\xff" * 4,
        source_port=68,
        destination_port=67,
        payload=head + options + more + b"\xff",
    )


def answer(frame: bytes, entry: SubnetEntry | None = None, port: LocalPort = PORT) -> bytes | None:
    return dhcp.reply(frame, port, NETWORK, [entry or subnet()], server_mac=SERVER_MAC)
