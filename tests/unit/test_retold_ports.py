"""Whom a host tells something else after a change, and what it answers in the name of which leg."""

import pytest
from advertisement_reader import read

from alcor.data_plane import answering, frames, icmp6
from alcor.model.addressing import derived_ip, ip_from_text
from alcor.model.goal_state import (
    LocalPort,
    NetworkChange,
    NetworkEntry,
    Placement,
    RouterChange,
    RouterInterface,
)
from doubles.advertised import solicitation
from doubles.dhcpv6_client import REPLY, SOLICIT, association, message, option
from doubles.dhcpv6_client import read as read_dhcpv6
from doubles.retold_host import FACTS, LEG_MAC, MAC, SUBNETS, VNIS, Host, leg, port, subnet


@pytest.fixture
def host() -> Host:
    """Networks n (ports a, b) and m (port c); no router yet."""
    host = Host()
    ports = {"n": (port("a", "n", MAC), port("b", "n", MAC + 1)), "m": (port("c", "m", MAC + 2),)}
    for name, vni in VNIS.items():
        entry = NetworkEntry(name, vni, 1450, True)
        change = NetworkChange(network=entry, set_subnets=(SUBNETS[name],), set_ports=ports[name])
        assert host.apply(f"network:{name}", change, full=True) == {each.id for each in ports[name]}
    return host


def test_neighbours_concern_nobody(host: Host) -> None:
    far = Placement("far", 5, (derived_ip(SUBNETS["n"].cidr[0], 5),), b"\xac\x10\x00\x02")
    assert host.apply("network:n", NetworkChange(set_placements=(far,))) == set()
    assert host.apply("network:n", NetworkChange(gone_placements=("far",))) == set()


@pytest.mark.parametrize(
    "change",
    [
        NetworkChange(set_subnets=(subnet("n7", "2001:db8:77::/64"),)),
        NetworkChange(gone_subnets=("n6",)),
        NetworkChange(network=NetworkEntry("n", 7, 1400, True)),
        NetworkChange(network=NetworkEntry("n", 7, 1450, False)),
    ],
)
def test_what_is_of_a_network_concerns_its_ports_alone(host: Host, change: NetworkChange) -> None:
    assert host.apply("network:n", change) == {"a", "b"}


def test_what_is_of_a_port_concerns_it_alone(host: Host) -> None:
    assert host.apply("network:n", NetworkChange(set_ports=(port("b", "n", MAC + 7),))) == {"b"}
    host.program.attach("a", 10)
    assert host.concerned() == {"a"}
    host.program.detach("a")
    assert host.concerned() == {"a"}


def test_a_leg_concerns_the_ports_of_the_network_that_it_is_in(host: Host) -> None:
    assert host.apply("router:r", RouterChange(set_interfaces=(leg("n"),)), full=True) == {"a", "b"}
    assert host.apply("router:r", RouterChange(set_interfaces=(leg("m"),))) == {"c"}
    assert host.apply("router:r", RouterChange(set_interfaces=(leg("n", LEG_MAC + 1),))) == {"a", "b"}
    assert host.apply("router:r", RouterChange(admin_state_up=False)) == {"a", "b", "c"}
    assert list(host.program.legs(7)) == []
    assert host.apply("router:r", RouterChange()) == {"a", "b", "c"}
    gone = (("leg-m", SUBNETS["m"].cidr),)
    assert host.apply("router:r", RouterChange(gone_interfaces=gone)) == {"c"}
    assert host.apply("router:r", RouterChange(set_interfaces=(leg("m"),)), full=True) == {"a", "b", "c"}
    assert [each.network_id for vni in (7, 8) for each in host.program.legs(vni)] == ["m"]


def test_who_solicits_is_answered_by_every_leg(host: Host) -> None:
    (said,) = map(read, host.answer("a", solicitation()))
    assert (said.mac, said.router_lifetime_s) == (FACTS.router_mac, 0)
    host.apply("router:r", RouterChange(set_interfaces=(leg("n"),)), full=True)
    extra = RouterInterface("x", "n", 7, SUBNETS["n"].cidr, SUBNETS["n"].cidr[0][:15] + b"\x02", LEG_MAC + 9)
    host.apply("router:q", RouterChange(set_interfaces=(extra,)), full=True)
    assert [read(each).mac for each in host.answer("a", solicitation())] == [LEG_MAC, LEG_MAC + 9]


def test_dhcpv6_is_answered_for_the_port_that_asks(host: Host) -> None:
    frame = message(SOLICIT, association(), option(14, b""), mac=MAC + 2)
    (answer,) = host.answer("c", frame)
    said = read_dhcpv6(answer)
    assert said.type == REPLY
    assert said.associations[b"\0\0\0\1"].addresses[0].ip == derived_ip(SUBNETS["m"].cidr[0], MAC + 2)
    assert host.answer("a", message(SOLICIT, association(), mac=MAC)) == []


def test_a_leg_of_both_versions_answers_in_the_version_of_the_packet(host: Host) -> None:
    host.apply("router:r", RouterChange(set_interfaces=(leg("n"), leg("n", ip=b"\x0a\0\0\1"))), full=True)
    far = ip_from_text("2001:db8:8::1")
    source = derived_ip(SUBNETS["n"].cidr[0], MAC)
    made = {"eth_dst": LEG_MAC, "eth_src": MAC, "protocol": 17, "payload": bytes(8)}
    (answer,) = host.answer("a", frames.ipv6_frame(source=source, destination=far, hop_limit=1, **made))
    packet = frames.parse_ipv6(answer)
    assert packet is not None
    assert (packet.source, packet.payload[0]) == (SUBNETS["n"].gateway_ip, 3)
    old = bytearray(frames.ipv4_frame(source=b"\x0a\0\0\x09", destination=b"\x0a\0\1\1", **made))
    old[22] = 1
    (answer,) = host.answer("a", bytes(old))
    of_ipv4 = frames.parse_ipv4(answer)
    assert of_ipv4 is not None
    assert (of_ipv4.source, of_ipv4.payload[0]) == (b"\x0a\0\0\1", 11)


@pytest.mark.parametrize(
    "frame",
    [b"", bytes(80), icmp6.frame(bytes(8), eth_dst=1, eth_src=2, source=bytes(16), destination=bytes(16))],
)
def test_other_packets_are_not_answered(host: Host, frame: bytes) -> None:
    assert host.answer("a", frame) == []
    assert answering.answer(host.program, FACTS, vni=7, key=999, frame=solicitation()) == ()


def test_who_has_no_address_in_an_advertised_subnet_hears_nothing(host: Host) -> None:
    assert answering.told(host.program, FACTS, "nobody") == ()
    host.apply("network:n", NetworkChange(set_ports=(LocalPort("a", MAC, (), (), True, True),)))
    assert host.answer("a", solicitation()) == []
    host.apply("network:n", NetworkChange(network=NetworkEntry("n", 7, 1450, False)))
    assert answering.told(host.program, FACTS, "b") == ()
