"""Sends raw frames inside a workload's namespace: `flood` as fast as it can, or `probe`, one at a time.

    flood KIND SECONDS   MAC IP IPV6 ROUTER_MAC              says `begun`, and how many were sent
    probe WAIT_S         MAC IP IPV6 ROUTER_MAC ADDRESS...   prints of each kind how many were answered

Six kinds of packets go to a host's agent. `arp` and `solicit` ask for an address that was never asked for
before, `dhcp` for the own address, `routers` for routers; `ttl` and `hops` send what no router may forward, by
either IP version. `probe` does the three of an address's version once for each address. A flood without end of
its own (SECONDS is 0) lasts until its standard input is closed.
"""

import ctypes
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from alcor.data_plane import frames, icmp6

AT_ONCE = 64  # frames handed to the kernel by one call, sendmmsg(2)
MADE = 8_192  # frames, each another, and more than a port may hand over in a test; then the same again
KINDS = ("arp", "dhcp", "ttl", "solicit", "routers", "hops")
PAUSE_S = 0.12  # one port is answered twenty times a second
EVERYBODY = (1 << 48) - 1
ELSEWHERE = socket.inet_aton("203.0.113.9")
ELSEWHERE_IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8:ffff::9")
SOLICITED_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13]
ALL_ROUTERS = socket.inet_pton(socket.AF_INET6, "ff02::2")
LONGEST_S = 60.0  # a flood whose end nobody asks for


def flood_command(
    kind: str, seconds: float, mac: str, ip: str, ipv6: str = "::", router_mac: str = "0"
) -> list[str]:
    """Give the command that floods. `seconds` 0: until its standard input is closed."""
    return [sys.executable, str(Path(__file__)), "flood", kind, str(seconds), mac, ip, ipv6, router_mac]


def probe_command(
    wait_s: str, mac: str, ip: str, ipv6: str, router_mac: str, addresses: Sequence[str]
) -> list[str]:
    """Give the command that asks, once for each thing and address."""
    return [sys.executable, str(Path(__file__)), "probe", wait_s, mac, ip, ipv6, router_mac, *addresses]


class Sender:
    """What the frames are from. `number` makes one differ from the others."""

    def __init__(self, mac: str, ip: str, ipv6: str, router_mac: str) -> None:
        self.mac, self.ip, self.router_mac = int(mac, 16), socket.inet_aton(ip), int(router_mac, 16)
        self.ipv6 = socket.inet_pton(socket.AF_INET6, ipv6)
        own = self.mac.to_bytes(6, "big")
        self.link_local = b"\xfe\x80" + bytes(6) + bytes([own[0] ^ 2]) + own[1:3] + b"\xff\xfe" + own[3:]

    def arp(self, number: int) -> bytes:
        prefix = self.ip[:2]  # of a /16; its upper half has no ports
        return self.arp_for(prefix + (0x8000 | number % 0x7FFF).to_bytes(2, "big"))

    def arp_for(self, address: bytes) -> bytes:
        return frames.arp_frame(mac=self.mac, sender=self.ip, target=address)

    def solicit(self, number: int) -> bytes:
        prefix = self.ipv6[:8]  # of a /64; its upper half has no ports
        return self.solicit_for(prefix + (1 << 63 | number).to_bytes(8, "big"))

    def solicit_for(self, address: bytes) -> bytes:
        group = SOLICITED_NODES + address[13:]
        return icmp6.frame(
            struct.pack("!BBHI", 135, 0, 0, 0) + address + b"\x01\x01" + self.mac.to_bytes(6, "big"),
            eth_dst=frames.multicast_mac(group),
            eth_src=self.mac,
            source=self.ipv6,
            destination=group,
            hop_limit=255,
        )

    def routers(self, number: int) -> bytes:
        return icmp6.frame(
            struct.pack("!BBHI", 133, 0, 0, 0) + b"\x01\x01" + self.mac.to_bytes(6, "big"),
            eth_dst=frames.multicast_mac(ALL_ROUTERS),
            eth_src=self.mac,
            source=self.link_local,
            destination=ALL_ROUTERS,
            hop_limit=255,
        )

    def hops(self, number: int) -> bytes:
        frame = bytearray(
            frames.udp6_frame(
                eth_dst=self.router_mac,
                eth_src=self.mac,
                source=self.ipv6,
                destination=ELSEWHERE_IPV6,
                source_port=1024 + number % 60_000,
                destination_port=33_434,
                payload=b"",
            )
        )
        frame[21] = 1
        return bytes(frame)

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
    """Send as much as the kernel takes, until the time is over or nobody listens; print how much that was."""
    make: Callable[[int], bytes] = getattr(sender, kind)
    batches = [_batch([make(first + each) for each in range(AT_ONCE)]) for first in range(0, MADE, AT_ONCE)]
    sent = 0
    with opened() as raw:
        print("begun", flush=True)
        ends = time.monotonic() + (seconds or LONGEST_S)
        while time.monotonic() < ends and (seconds or not _is_closed(sys.stdin.fileno())):
            for batch in batches:
                sent += max(batch(raw.fileno()), 0)
    print(sent)


def _is_closed(pipe: int) -> bool:
    return bool(select.select([pipe], [], [], 0)[0])


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
    answered = dict.fromkeys(KINDS, 0)
    own = sender.mac.to_bytes(6, "big")
    with opened() as raw:
        for number, address in enumerate(addresses):
            time.sleep(PAUSE_S)
            asked = _of_ipv4 if len(address) == 4 else _of_ipv6
            for kind, question, answer in asked(sender, number, address):
                raw.send(question)
                answered[kind] += _hears(raw, wait_s, ((0, own), *answer))
    print(*answered.values())


Asked = tuple[str, bytes, tuple[tuple[int, bytes], ...]]  # kind, question, and what is where in its answer


def _of_ipv4(sender: Sender, number: int, address: bytes) -> tuple[Asked, ...]:
    return (
        ("arp", sender.arp_for(address), ((20, b"\x00\x02"), (28, address))),
        ("dhcp", sender.dhcp(number), ((34, b"\x00\x43\x00\x44"), (46, number.to_bytes(4, "big")))),
        ("ttl", sender.ttl(number), ((34, b"\x0b\x00"), (62, (1024 + number).to_bytes(2, "big")))),
    )


def _of_ipv6(sender: Sender, number: int, address: bytes) -> tuple[Asked, ...]:
    return (
        ("solicit", sender.solicit_for(address), ((54, b"\x88"), (62, address))),
        ("routers", sender.routers(number), ((38, sender.link_local), (54, b"\x86"))),
        ("hops", sender.hops(number), ((54, b"\x03\x00"), (102, (1024 + number).to_bytes(2, "big")))),
    )


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


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what == "flood":
        flood(given[0], float(given[1]), Sender(*given[2:6]))
    else:
        probe(float(given[0]), Sender(*given[1:5]), list(map(_packed, given[5:])))
