"""A workload's DHCP client, for fabrics: discover, request, and the lease in words."""

import struct
from typing import NamedTuple

from alcor.data_plane import frames
from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.simulated.fabric import Fabric
from alcor.data_plane.simulated.packet import Packet
from alcor.model.addressing import BROADCAST_MAC
from alcor.model.ids import PortId

_DISCOVER, _REQUEST, _ACK = 1, 3, 5
_ANY, _EVERYBODY = bytes(4), b"\xff\xff\xff\xff"
_CLIENT_PORT, _SERVER_PORT = 68, 67


class Lease(NamedTuple):
    """What the host gave."""

    ip: bytes
    server: bytes
    options: dict[int, bytes]


def acquire(fabric: Fabric, port_id: PortId) -> Lease | None:
    """Get an address for a plugged workload as a client does; None when nobody gives one."""
    mac = fabric.scope_of(port_id).port.mac
    offer = _exchange(fabric, port_id, discovery(mac))
    if offer is None:
        return None
    request = bytes([53, 1, _REQUEST, 50, 4, *offer.ip, 54, 4, *offer.server, 255])
    lease = _exchange(fabric, port_id, _packet(mac, request))
    return lease if lease is not None and lease.options[53] == bytes([_ACK]) else None


def discovery(mac: int) -> Packet:
    """Ask any server for an address (RFC 2131, section 4.4.1)."""
    return _packet(mac, bytes([53, 1, _DISCOVER, 255]))


def _exchange(fabric: Fabric, port_id: PortId, packet: Packet) -> Lease | None:
    verdict = fabric.inject(port_id, packet)
    return _read(verdict.answers[0]) if verdict.answers else None


def _packet(mac: int, options: bytes) -> Packet:
    message = struct.pack("!BBB25x6s202x", 1, 1, 6, mac.to_bytes(6, "big")) + b"\x63\x82\x53\x63" + options
    frame = frames.udp_frame(
        eth_dst=BROADCAST_MAC,
        eth_src=mac,
        source=_ANY,
        destination=_EVERYBODY,
        source_port=_CLIENT_PORT,
        destination_port=_SERVER_PORT,
        payload=message,
    )
    fields = {
        Field.ETH_SRC: mac,
        Field.ETH_DST: int(BROADCAST_MAC),
        Field.ETH_TYPE: matching.ETHERTYPE_IPV4,
        Field.IP_PROTO: matching.UDP,
        Field.IP_SRC: 0,
        Field.IP_DST: 0xFFFFFFFF,
        Field.IP_TTL: 64,
        Field.UDP_SRC: _CLIENT_PORT,
        Field.UDP_DST: _SERVER_PORT,
    }
    return Packet(fields, frame=frame)


def _read(frame: bytes) -> Lease:
    packet = frames.parse_ipv4(frames.untagged(frame))
    assert packet is not None, "the host's answers are whole"
    message = packet.payload[8:]
    options: dict[int, bytes] = {}
    at = 240
    while message[at] != 255:
        length = message[at + 1]
        options[message[at]] = options.get(message[at], b"") + message[at + 2 : at + 2 + length]
        at += 2 + length
    return Lease(message[16:20], options[54], options)
