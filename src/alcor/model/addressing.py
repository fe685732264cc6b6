"""IP and MAC addresses in the two forms Alcor keeps: packed for machines, text for people.

IP addresses are packed `bytes` (4 or 16, network order), MAC addresses are 48-bit `int`: both are what the
store, the wire and the flow encoder want; text is made only at the border.
"""

import ipaddress
import socket
from typing import NewType

Ip = NewType("Ip", bytes)  # 4 or 16 bytes, network order
Mac = NewType("Mac", int)  # 48 bits

BROADCAST_MAC = Mac(0xFFFFFFFFFFFF)
_LINK_LOCAL = b"\xfe\x80" + bytes(14)
_ZEROS = bytes(10)


def ip_from_text(text: str) -> Ip:
    """Parse an address in any form. Raises ValueError when it is none, or of one interface only (`%`)."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return Ip(socket.inet_pton(family, text))
        except OSError:
            continue
    raise ValueError(f"'{text}' is not an IP address")


def ip_to_text(ip: bytes) -> str:
    """Write a packed address as people do (RFC 5952). O(1), on the hot path of every answer."""
    if len(ip) == 4:
        return socket.inet_ntoa(ip)
    if ip.startswith(_ZEROS):  # libraries differ about addresses with an IPv4 address inside
        return str(ipaddress.IPv6Address(ip))
    return socket.inet_ntop(socket.AF_INET6, ip)


def ip_to_int(ip: bytes) -> int:
    """Give the address as an unsigned number in network order."""
    return int.from_bytes(ip, "big")


def ip_from_int(number: int, *, length: int = 4) -> Ip:
    """Turn a number back into a packed address of `length` bytes."""
    return Ip(number.to_bytes(length, "big"))


def derived_ip(network: bytes, mac: int) -> Ip:
    """Give the address that a host makes of a /64 and its MAC address (RFC 4291, appendix A: modified EUI-64).

    `network`: 16 bytes, of which the first 8 count.
    """
    octets = mac.to_bytes(6, "big")
    return Ip(network[:8] + bytes([octets[0] ^ 0x02]) + octets[1:3] + b"\xff\xfe" + octets[3:])


def link_local_ip(mac: int) -> Ip:
    """Give the link-local address that a host makes of its MAC address (RFC 4862, section 5.3)."""
    return derived_ip(_LINK_LOCAL, mac)


def mac_from_text(text: str) -> Mac:
    """Parse `aa:bb:cc:dd:ee:ff` (`-` also separates). Raises ValueError when it is none."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(part) not in (1, 2) for part in parts):
        raise ValueError(f"'{text}' is not a MAC address")
    return Mac(int("".join(part.zfill(2) for part in parts), 16))


def mac_to_text(mac: int) -> str:
    """Write a MAC address in lower case with colons."""
    return mac.to_bytes(6, "big").hex(":")


class Cidr(tuple[bytes, int]):
    """A network address and its prefix length, canonical: no host bits are set.

    Shape: `(network: packed bytes, prefix_len: int)`. A tuple, so it travels and hashes as one.
    """

    __slots__ = ()

    def __new__(cls, network: bytes, prefix_len: int) -> "Cidr":
        return super().__new__(cls, (network, prefix_len))

    @classmethod
    def from_text(cls, text: str) -> "Cidr":
        """Parse `10.0.0.0/24`; host bits are cleared. Raises ValueError when it is no network."""
        network = ipaddress.ip_network(text, strict=False)
        if "%" in text:
            raise ValueError(f"'{text}' is of one interface only")
        return cls(network.network_address.packed, network.prefixlen)

    @property
    def network(self) -> bytes:
        return self[0]

    @property
    def prefix_len(self) -> int:
        return self[1]

    @property
    def size(self) -> int:
        """How many addresses it spans, the network's and broadcast's included."""
        return 1 << (len(self[0]) * 8 - self[1])

    def contains(self, ip: bytes) -> bool:
        """Is the address inside?"""
        bits = len(self[0]) * 8
        return len(ip) == len(self[0]) and (ip_to_int(ip) ^ ip_to_int(self[0])) >> (bits - self[1]) == 0

    def overlaps(self, other: "Cidr") -> bool:
        """Do the two share an address?"""
        wide, narrow = (self, other) if self[1] <= other[1] else (other, self)
        return wide.contains(narrow[0])

    def __str__(self) -> str:
        return f"{ip_to_text(self[0])}/{self[1]}"


def prefix_from_text(text: str) -> tuple[str, Cidr]:
    """Parse a network or an address as people write it: in one form, host bits and all, and what it means.

    `10.0.0.5/24` gives itself and 10.0.0.0/24, `10.0.0.5` gives `10.0.0.5/32`. Raises ValueError.
    """
    interface = ipaddress.ip_interface(text)
    if "%" in text:
        raise ValueError(f"'{text}' is of one interface only")
    return str(interface), Cidr(interface.network.network_address.packed, interface.network.prefixlen)
