"""Subnets and legs of one network of IPv6, what is advertised of them, and who asks for it."""

import msgspec

from alcor.data_plane import advertisements, icmp6
from alcor.model.addressing import Cidr, ip_from_text, link_local_ip
from alcor.model.goal_state import LocalPort, NetworkEntry, RouterInterface, SubnetEntry
from alcor.model.records import FixedIp

MAC, HOST_MAC, LEG_MAC, EXTRA_MAC = 0xFA163E000001, 0x02AC10000001, 0x02BB00000001, 0x02BB00000002
GATEWAY = "2001:db8::1"
NETWORK = NetworkEntry("n", 7, 1450, True)


def subnet(name: str = "s", cidr: str = "2001:db8::/64", mode: str = "slaac", **changes) -> SubnetEntry:
    dns = (ip_from_text("2001:db8:53::53"), ip_from_text("9.9.9.9"))
    entry = SubnetEntry(name, tuple(Cidr.from_text(cidr)), ip_from_text(GATEWAY), True, dns, (), mode, mode)
    return msgspec.structs.replace(entry, **changes)


def port(*addresses: tuple[str, str]) -> LocalPort:
    fixed = [FixedIp(subnet_id, ip_from_text(ip)) for subnet_id, ip in addresses]
    return LocalPort("p", MAC, tuple(fixed), (), True, True)


def leg(ip: str = GATEWAY, mac: int = LEG_MAC, cidr: str = "2001:db8::/64") -> RouterInterface:
    return RouterInterface(f"leg-{ip}", "n", 7, tuple(Cidr.from_text(cidr)), ip_from_text(ip), mac)


DERIVED = port(("s", "2001:db8::f816:3eff:fe00:1"))


def told(*subnets: SubnetEntry, to: LocalPort = DERIVED, legs=(), network=NETWORK):
    return advertisements.told(to, network, subnets, legs, host_mac=HOST_MAC)


def solicitation(
    *, source: bytes = link_local_ip(MAC), options: bytes = b"", hop_limit: int = 255, code: int = 0
) -> bytes:
    return icmp6.frame(
        bytes([133, code]) + bytes(6) + options,
        eth_dst=0x333300000002,
        eth_src=MAC,
        source=source,
        destination=ip_from_text("ff02::2"),
        hop_limit=hop_limit,
    )
