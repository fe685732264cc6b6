"""The server of DHCPv6 for one port: whom it knows, and what it replies."""

import msgspec

from alcor.data_plane import dhcpv6
from alcor.model.addressing import Cidr, ip_from_text
from alcor.model.goal_state import LocalPort, NetworkEntry, SubnetEntry
from alcor.model.records import FixedIp
from doubles.dhcpv6_client import MAC

SERVER_MAC = 0x02AC10000001
OWN, SECOND, OTHER, FAR = (
    ip_from_text(text) for text in ("2001:db8::10", "2001:db8:1::10", "2001:db8::99", "fd00::1")
)
RESOLVER = ip_from_text("2001:db8:53::53")
NETWORK = NetworkEntry("n", 7, 1450, True)
PORT = LocalPort("p", MAC, (FixedIp("s", OWN),), (), True, True)
SERVER = dhcpv6.server_of(NETWORK)


def subnet(
    name: str = "s", cidr: str = "2001:db8::/64", mode: str = "dhcpv6-stateful", **changes
) -> SubnetEntry:
    entry = SubnetEntry(name, tuple(Cidr.from_text(cidr)), None, True, (RESOLVER,), (), mode, mode)
    return msgspec.structs.replace(entry, **changes)


ONE = (subnet(),)


def reply(frame: bytes, port: LocalPort = PORT, subnets=ONE, network=NETWORK) -> bytes | None:
    return dhcpv6.reply(frame, port, network, subnets, server_mac=SERVER_MAC)
