"""Sends raw frames inside a workload's namespace: `flood` as fast as it can, or `probe`, one at a time.

    flood KIND SECONDS        MAC IP ROUTER_MAC              prints how many were sent
    probe WAIT_S              MAC IP ROUTER_MAC ADDRESS...   prints of each kind how many were answered

Three kinds of packets go to a host's agent: `arp` asks for an address that was never asked for before, `dhcp`
for the port's own, `ttl` sends what a router may not forward. `probe` does all three once for each address.
"""

import ctypes
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from alcor.data_plane import frames

AT_ONCE = 64  # frames handed to the kernel by one call, sendmmsg(2)
MADE = 24_576  # frames, each another; then the same again
PAUSE_S = 0.12  # one port is answered twenty times a second
EVERYBODY = (1 << 48) - 1
ELSEWHERE = socket.inet_aton("203.0.113.9")


def flood_command(kind: str, seconds: float, mac: str, ip: str, router_mac: str = "0") -> list[str]:
    """Give the command that floods."""
    return [sys.executable, str(Path(__file__)), "flood", kind, str(seconds), mac, ip, router_mac]


def probe_command(wait_s: str, mac: str, ip: str, router_mac: str, addresses: Sequence[str]) -> list[str]:
    """Give the command that asks, once for each thing and address."""
    return [sys.executable, str(Path(__file__)), "probe", wait_s, mac, ip, router_mac, *addresses]


class Sender:
    """What the frames are from. `number` makes one differ from the others."""

    def __init__(self, mac: str, ip: str, router_mac: str) -> None:
        self.mac, self.ip, self.router_mac = int(mac, 16), socket.inet_aton(ip), int(router_mac, 16)

    def arp(self, number: int) -> bytes:
        prefix = self.ip[:2]  # of a /16; its upper half has no ports
        return self.arp_for(prefix + (0x8000 | number % 0x7FFF).to_bytes(2, "big"))

    def arp_for(self, address: bytes) -> bytes:
        return frames.arp_frame(mac=self.mac, sender=self.ip, target=address)

    def dhcp(self, number: int) -> bytes:
        head = struct.pack("!BBBxIHxx16s6s202x", 1, 1, 6, number, 0, bytes(16), self.mac.to_bytes(6, "big"))
        return frames.udp_frame(
            eth_dst=EVERYBODY,
            eth_src=self.mac,
            source=bytes(4),
            destination=b"\xff\xff\xff\xff",
            source_port=68,
            destination_port=67,
            payload=head + b"\x63\x82\x53\x63" + bytes([53, 1, 1, 255]),
        )

    def ttl(self, number: int) -> bytes:
        frame = bytearray(
            frames.udp_frame(
                eth_dst=self.router_mac,
                eth_src=self.mac,
                source=self.ip,
                destination=ELSEWHERE,
                source_port=1024 + number % 60_000,
                destination_port=33_434,
                payload=b"",
            )
        )
        frame[22] = 1
        frame[24:26] = bytes(2)
        frame[24:26] = frames.checksum(bytes(frame[14:34])).to_bytes(2, "big")
        return bytes(frame)


def flood(kind: str, seconds: float, sender: Sender) -> None:
    """Send as much as the kernel takes, until the time is over; print how much that was."""
    make: Callable[[int], bytes] = getattr(sender, kind)
    batches = [_batch([make(first + each) for each in range(AT_ONCE)]) for first in range(0, MADE, AT_ONCE)]
    sent = 0
    with opened() as raw:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for batch in batches:
                sent += max(batch(raw.fileno()), 0)
    print(sent)


def _batch(contents: list[bytes]) -> Callable[[int], int]:
    class Part(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    class Message(ctypes.Structure):
        _fields_ = (
            ("name", ctypes.c_void_p),
            ("name_length", ctypes.c_uint),
            ("parts", ctypes.POINTER(Part)),
            ("parts_length", ctypes.c_size_t),
            ("control", ctypes.c_void_p),
            ("control_length", ctypes.c_size_t),
            ("flags", ctypes.c_int),
            ("sent", ctypes.c_uint),
        )

    held = [ctypes.create_string_buffer(content, len(content)) for content in contents]
    parts = (Part * len(held))(*((ctypes.addressof(each), len(each)) for each in held))
    messages = (Message * len(held))()
    for message, part in zip(messages, parts, strict=True):
        message.parts, message.parts_length = ctypes.pointer(part), 1

    def send(socket_number: int, _held: object = (held, parts)) -> int:
        return _LIBC.sendmmsg(socket_number, messages, len(messages), 0)

    return send


_LIBC = ctypes.CDLL(None, use_errno=True)


def opened() -> socket.socket:
    """Open a socket for whole frames at the workload's interface."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    raw.bind(("eth0", 0x0003))
    return raw


def probe(wait_s: float, sender: Sender, addresses: list[bytes]) -> None:
    """Ask once for each thing and address, and count what was answered in time."""
    answered = dict.fromkeys(("arp", "dhcp", "ttl"), 0)
    own = sender.mac.to_bytes(6, "big")
    with opened() as raw:
        for number, address in enumerate(addresses):
            time.sleep(PAUSE_S)
            for kind, question, answer in (
                ("arp", sender.arp_for(address), ((20, b"\x00\x02"), (28, address))),
                ("dhcp", sender.dhcp(number), ((34, b"\x00\x43\x00\x44"), (46, number.to_bytes(4, "big")))),
                ("ttl", sender.ttl(number), ((34, b"\x0b\x00"), (62, (1024 + number).to_bytes(2, "big")))),
            ):
                raw.send(question)
                answered[kind] += _hears(raw, wait_s, ((0, own), *answer))
    print(*answered.values())


def _hears(raw: socket.socket, wait_s: float, parts: tuple[tuple[int, bytes], ...]) -> bool:
    """Wait for a frame that has these bytes at these places."""
    ends = time.monotonic() + wait_s
    while (left := ends - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            got = raw.recv(2048)
        except TimeoutError:
            return False
        if all(got[at : at + len(part)] == part for at, part in parts):
            return True
    return False


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what == "flood":
        flood(given[0], float(given[1]), Sender(*given[2:5]))
    else:
        probe(float(given[0]), Sender(*given[1:4]), [socket.inet_aton(ip) for ip in given[4:]])
