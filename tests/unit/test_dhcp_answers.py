"""DHCP by the states of RFC 2131, section 4.3.2."""

import struct

import msgspec
import pytest

from alcor.data_plane import dhcp, frames
from alcor.management_plane.port import dhcp_options
from alcor.management_plane.port.dhcp_options import DhcpOptionFields
from alcor.model.addressing import BROADCAST_MAC, ip_from_text
from alcor.model.goal_state import LocalPort
from alcor.model.records import FixedIp
from doubles.dhcp_client import (
    ACK,
    DECLINE,
    DISCOVER,
    GATEWAY,
    INFORM,
    MAC,
    NAK,
    NOBODY,
    OFFER,
    OTHER,
    OWN,
    PORT,
    RELEASE,
    REQUEST,
    SERVER_MAC,
    answer,
    client,
    subnet,
)


def opened(reply: bytes | None) -> tuple[frames.Ipv4Frame, bytes, dict[int, bytes]]:
    """Give the packet, the address given, and the options."""
    assert reply is not None
    packet = frames.parse_ipv4(reply)
    assert packet is not None
    assert frames.checksum(packet.header) == 0
    pseudo = packet.source + packet.destination + struct.pack("!BBH", 0, 17, len(packet.payload))
    assert frames.checksum(pseudo + packet.payload) == 0
    message = packet.payload[8:]
    assert packet.payload[:4] == b"\x00\x43\x00\x44"
    assert message[4:8] == b"\x12\x34\x56\x78"
    options, at = {}, 240
    while message[at] != 255:
        length = message[at + 1]
        options[message[at]] = options.get(message[at], b"") + message[at + 2 : at + 2 + length]
        at += 2 + length
    return packet, message[16:20], options


def kind_of(reply: bytes | None) -> int | None:
    return None if reply is None else opened(reply)[2][53][0]


def test_a_discover_is_offered_the_ports_address_with_all_options() -> None:
    packet, given, options = opened(answer(client(DISCOVER)))
    assert given == OWN
    assert (packet.source, packet.destination) == (GATEWAY, OWN)
    assert (packet.eth_src, packet.eth_dst) == (SERVER_MAC, MAC)
    assert options[53] == bytes([OFFER])
    assert options[54] == GATEWAY
    assert options[1] == ip_from_text("255.255.255.0")
    assert options[3] == GATEWAY
    assert options[6] == ip_from_text("9.9.9.9") + ip_from_text("1.1.1.1")
    assert options[26] == (1450).to_bytes(2, "big")
    assert int.from_bytes(options[51], "big") == dhcp.LEASE_S
    assert 121 not in options


@pytest.mark.parametrize(
    ("state", "frame", "kind"),
    [
        ("selecting", client(REQUEST, requested=OWN, server=GATEWAY), ACK),
        ("selecting, wrong address", client(REQUEST, requested=OTHER, server=GATEWAY), NAK),
        ("selecting another server", client(REQUEST, requested=OWN, server=OTHER), None),
        ("init-reboot", client(REQUEST, requested=OWN), ACK),
        ("init-reboot, wrong address", client(REQUEST, requested=OTHER), NAK),
        ("renewing", client(REQUEST, ciaddr=OWN), ACK),
        ("renewing, wrong address", client(REQUEST, ciaddr=OTHER), NAK),
        ("no state at all", client(REQUEST), None),
        ("inform", client(INFORM, ciaddr=OWN), ACK),
        ("inform without address", client(INFORM), None),
        ("release", client(RELEASE, ciaddr=OWN), None),
        ("decline", client(DECLINE, requested=OWN), None),
        ("unknown type", client(77), None),
        ("relayed", client(DISCOVER, giaddr=OTHER), None),
        ("somebody else's hardware", client(DISCOVER, mac=MAC + 1), None),
    ],
)
def test_each_state_gets_its_answer(state: str, frame: bytes, kind: int | None) -> None:
    assert kind_of(answer(frame)) == kind, state


def test_a_refusal_is_broadcast_and_gives_nothing() -> None:
    packet, given, options = opened(answer(client(REQUEST, requested=OTHER)))
    assert given == NOBODY
    assert (packet.destination, packet.eth_dst) == (b"\xff" * 4, BROADCAST_MAC)
    assert set(options) == {53, 54}


def test_the_broadcast_flag_is_honoured() -> None:
    packet, _, _ = opened(answer(client(DISCOVER, flags=0x8000)))
    assert (packet.destination, packet.eth_dst) == (b"\xff" * 4, BROADCAST_MAC)


def test_an_inform_gets_no_lease() -> None:
    packet, given, options = opened(answer(client(INFORM, ciaddr=OWN)))
    assert given == NOBODY
    assert packet.destination == OWN
    assert 51 not in options


def test_host_routes_bring_the_default_route_along() -> None:
    route = (ip_from_text("192.168.4.0"), 22, OTHER)
    _, _, options = opened(answer(client(DISCOVER), subnet(host_routes=(route,))))
    assert options[121] == bytes([22, 192, 168, 4]) + OTHER + bytes([0]) + GATEWAY


def test_without_gateway_there_is_no_router_and_the_server_is_in_the_subnet() -> None:
    _, _, options = opened(answer(client(DISCOVER), subnet(gateway_ip=None)))
    assert 3 not in options
    assert options[54] == GATEWAY  # the first address of the subnet
    first = LocalPort("p", MAC, (FixedIp("s", GATEWAY),), (), True, True)
    _, _, options = opened(answer(client(DISCOVER), subnet(gateway_ip=None), first))
    assert options[54] == ip_from_text("10.0.0.2")


def test_a_subnet_without_dhcp_is_silent() -> None:
    assert answer(client(DISCOVER), subnet(enable_dhcp=False)) is None


def test_the_client_identifier_comes_back() -> None:
    _, _, options = opened(answer(client(DISCOVER, more=bytes([61, 3, 1, 2, 3]))))
    assert options[61] == b"\x01\x02\x03"


@pytest.mark.parametrize(
    ("name", "value", "code", "data"),
    [
        ("ntp-server", "10.0.0.9,10.0.0.8", 42, bytes([10, 0, 0, 9, 10, 0, 0, 8])),
        ("NTP-Server", "10.0.0.9", 42, bytes([10, 0, 0, 9])),
        ("42", "10.0.0.9", 42, bytes([10, 0, 0, 9])),
        ("bootfile-name", "pxelinux.0", 67, b"pxelinux.0"),
        ("mtu", "1400", 26, b"\x05\x78"),
        ("router", "10.0.0.2", 3, bytes([10, 0, 0, 2])),
        ("time-offset", "-3600", 2, b"\xff\xff\xf1\xf0"),
        ("domain-search", "a.example,b", 119, b"\x01a\x07example\x00\x01b\x00"),
        ("classless-static-route", "10.1.0.0/16,10.0.0.3", 121, bytes([16, 10, 1, 10, 0, 0, 3])),
        ("224", "text", 224, b"text"),
        ("224", "ab:cd", 224, b"\xab\xcd"),
        ("224", "258", 224, b"\x01\x02"),
        ("lease-time", "600", 51, b"\x00\x00\x02\x58"),
    ],
)
def test_a_ports_own_options_replace_those_of_its_subnet(name, value, code, data):
    (option,) = dhcp_options.merged((), [DhcpOptionFields(opt_name=name, opt_value=value)])
    port = msgspec.structs.replace(PORT, dhcp_options=((option.code, option.data),))
    frame = client(REQUEST, requested=OWN, server=GATEWAY)
    _, address, options = opened(answer(frame, port=port))
    plain = opened(answer(frame))[2]
    assert address == OWN
    assert options == plain | {code: data}


def test_a_router_of_the_port_is_not_hidden_by_routes_of_the_subnet():
    entry = subnet(host_routes=((ip_from_text("10.9.0.0"), 16, OTHER),))
    port = msgspec.structs.replace(PORT, dhcp_options=((3, OTHER),))
    options = opened(answer(client(REQUEST, requested=OWN, server=GATEWAY), entry, port))[2]
    assert options[3] == OTHER
    assert 121 not in options
