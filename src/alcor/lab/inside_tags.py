"""VLANs of a workload without VLAN devices, which not every kernel has: frames are tagged by this process.

namespace of the sub-port's workload        namespace of the parent's
eth0 ------------------- veth ------------- v100 <-- this --> eth0 --> switch
"""

import os
import selectors
import socket
import struct
from functools import partial

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_OUTGOING = 263, 8, 4
_AUXDATA = struct.Struct("=IIIHHHH")  # status, lengths, offsets, VLAN, its type (linux/if_packet.h)
_STATUS_VLAN = 1 << 4
_VLAN_HEAD = b"\x81\x00"
_VLAN_BITS = 0x0FFF
_FRAME_MAX = 65_536
_AT_ONCE = 64  # frames, before others get their turn


class Tagger:
    """Owner of the sockets of one parent's `eth0` and of the devices of its VLANs."""

    def __init__(self, selector: selectors.BaseSelector, device: str) -> None:
        """The process must be in the namespace of the device."""
        self._selector = selector
        self._outside = _socket(device)
        self._inside: dict[int, socket.socket] = {}
        selector.register(self._outside, selectors.EVENT_READ, self._came)

    def add(self, vlan: int, device: str) -> None:
        """Join a device of the same namespace as a VLAN."""
        self._inside[vlan] = _socket(device)
        self._selector.register(self._inside[vlan], selectors.EVENT_READ, partial(self._went, vlan))

    def _went(self, vlan: int, sock: socket.socket) -> None:
        for frame, _ in _frames(sock):
            _send(self._outside, frame[:12] + _VLAN_HEAD + vlan.to_bytes(2, "big") + frame[12:])

    def _came(self, sock: socket.socket) -> None:
        for frame, vlan in _frames(sock):
            if vlan in self._inside:
                _send(self._inside[vlan], frame)


def _socket(device: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
    sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    sock.bind((device, _ETH_P_ALL))
    return sock


def _frames(sock: socket.socket) -> list[tuple[bytes, int]]:
    """Read what came in: frames without tag, and the VLAN that the tag had; 0: there was none."""
    found = []
    for _ in range(_AT_ONCE):
        try:
            frame, ancillary, _, address = sock.recvmsg(_FRAME_MAX, socket.CMSG_SPACE(_AUXDATA.size))
        except BlockingIOError:
            break
        if address[2] == _PACKET_OUTGOING:
            continue
        vlan = 0
        for level, kind, data in ancillary:
            if level == _SOL_PACKET and kind == _PACKET_AUXDATA and len(data) >= _AUXDATA.size:
                status, _, _, _, _, tag, _ = _AUXDATA.unpack_from(data)
                vlan = tag & _VLAN_BITS if status & _STATUS_VLAN else 0
        found.append((frame, vlan))
    return found


def _send(sock: socket.socket, frame: bytes) -> None:
    try:
        os.write(sock.fileno(), frame)
    except OSError:
        return  # a device that is down or full: a frame is lost, as on any wire
