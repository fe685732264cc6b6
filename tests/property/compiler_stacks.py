"""Addresses of both versions for the small cloud: drawn by numbers, so that hypothesis can shrink them."""

import msgspec

from alcor.model.addressing import derived_ip, ip_from_text
from alcor.model.records import IPV6_MODES, Subnet

_IPV6 = bytes([0x20, 0x01, 0x0D, 0xB8])


def cidr_of(choice: int, number: int) -> tuple[bytes, int]:
    """Give a subnet's network, of either version, that no other number gives."""
    if choice % 2:
        return _IPV6 + number.to_bytes(4, "big") + bytes(8), 64
    return bytes([10, number % 250, number // 250, 0]), 24


def is_ipv6(subnet: Subnet) -> bool:
    return len(subnet.cidr[0]) == 16


def modes_of(subnet: Subnet, choice: int) -> Subnet:
    """Give a subnet of IPv6 with some modes, which need not fit each other: hosts are told them as they are."""
    if not is_ipv6(subnet):
        return subnet
    modes = ("", *IPV6_MODES)
    return msgspec.structs.replace(subnet, ra_mode=modes[choice % 4], address_mode=modes[choice // 4 % 4])


def address_in(subnet: Subnet, mac: int, number: int) -> bytes:
    """Give the address that follows from the MAC address, or the one with the number."""
    network = subnet.cidr[0]
    if subnet.is_derived:
        return derived_ip(network, mac)
    if is_ipv6(subnet):
        return network[:8] + number.to_bytes(8, "big")
    return network[:2] + bytes([number // 250 % 250, number % 250])


def pair_of(choice: int) -> tuple[bytes, int]:
    """Give the network of an address pair: one address of either version, of four each."""
    if choice // 4 % 2:
        return ip_from_text("2001:db8::")[:15] + bytes([choice % 4]), 128
    return bytes([10, 0, 0, choice % 4]), 32


def prefix_of(choice: int, *, is_ipv6: bool) -> tuple[bytes, int]:
    """Give a prefix that no other choice gives. Two of different versions may begin with the same bytes."""
    if is_ipv6:
        return bytes([10, choice]) + bytes(14), 16
    return bytes([10, choice, 0, 0]), 16


def route_of(is_ipv6: bool) -> tuple[str, str]:
    """Give a host route of a subnet: destination and next hop."""
    return ("2001:db8:ffff::/48", "2001:db8::9") if is_ipv6 else ("192.168.0.0/16", "10.0.0.9")
