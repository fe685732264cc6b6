"""What router advertisements say (RFC 4861, 4191, 8106), of which networks."""

import pytest
from advertisement_reader import Prefix, Read, read

from alcor.data_plane import advertisements, frames
from alcor.data_plane.advertisements import LIFETIME_S, ROUTER_LIFETIME_S, VALID_S
from alcor.model.addressing import Cidr, derived_ip, ip_from_text, link_local_ip
from alcor.model.goal_state import LocalPort, NetworkEntry, RouterInterface, SubnetEntry
from doubles.advertised import (
    DERIVED,
    EXTRA_MAC,
    GATEWAY,
    HOST_MAC,
    LEG_MAC,
    MAC,
    leg,
    port,
    solicitation,
    subnet,
    told,
)

WEEK, MONTH = 604_800, 2_592_000


GIVEN = port(("s", "2001:db8::10"))


def heard(*subnets: SubnetEntry, **named) -> list[Read]:
    return [read(frame) for said in told(*subnets, **named) for frame in advertisements.to_everybody(said)]


def test_a_host_is_no_router_but_gives_prefix_and_servers() -> None:
    (said,) = heard(subnet())
    assert said == Read(
        mac=HOST_MAC,
        to="ff02::1",
        to_mac=0x333300000001,
        flags="",
        preference="medium",
        router_lifetime_s=0,
        mtu=1450,
        prefixes=(Prefix("2001:db8::/64", "LA", MONTH, WEEK),),
        routes={},
        dns={"2001:db8:53::53": WEEK},
    )


def test_a_router_is_the_way_to_everywhere_for_eighteen_hours_or_a_week() -> None:
    (said,) = heard(subnet(), legs=(leg(),))
    assert said.mac == LEG_MAC
    assert said.router_lifetime_s == ROUTER_LIFETIME_S == 0xFFFF
    assert said.routes == {"::/0": WEEK}
    assert said.preference == "medium"
    assert said.prefixes == (Prefix("2001:db8::/64", "LA", MONTH, WEEK),)


@pytest.mark.parametrize(
    ("mode", "to", "flags", "prefix"),
    [
        ("slaac", DERIVED, "", "LA"),
        ("dhcpv6-stateless", DERIVED, "O", "LA"),
        ("dhcpv6-stateful", GIVEN, "M", "L"),
        ("slaac", GIVEN, "", "L"),  # what it would make itself is not its own
        ("dhcpv6-stateful", DERIVED, "M", "L"),
    ],
)
def test_flags_follow_the_mode_and_what_the_port_owns(
    mode: str, to: LocalPort, flags: str, prefix: str
) -> None:
    (said,) = heard(subnet(mode=mode), to=to)
    assert (said.flags, [each.flags for each in said.prefixes]) == (flags, [prefix])


def test_only_what_is_to_be_advertised_is() -> None:
    assert heard(subnet(ra_mode="")) == []
    assert heard(subnet(address_mode=""))[0].prefixes[0].flags == "LA"
    assert heard(subnet(), to=port(("v4", "10.0.0.10"))) == []
    of_ipv4 = SubnetEntry("v4", tuple(Cidr.from_text("10.0.0.0/24")), None, True, (), ())
    both = port(("v4", "10.0.0.10"), ("s", "2001:db8::f816:3eff:fe00:1"))
    (said,) = heard(of_ipv4, subnet(), to=both)
    assert len(said.prefixes) == 1


def test_a_subnet_beside_is_on_the_link_and_no_more() -> None:
    beside = subnet("t", "2001:db8:1::/64", "dhcpv6-stateful", dns_nameservers=(ip_from_text("fd00::53"),))
    (said,) = heard(subnet(), beside)
    assert said.flags == ""
    assert [each[:2] for each in said.prefixes] == [("2001:db8::/64", "LA"), ("2001:db8:1::/64", "L")]
    assert said.dns == {"2001:db8:53::53": WEEK}


def test_a_prefix_that_is_not_64_long_is_not_for_making_addresses() -> None:
    (said,) = heard(subnet(cidr="2001:db8::/56"))
    assert said.prefixes[0].flags == "L"


def test_each_router_speaks_and_the_gateway_is_preferred() -> None:
    gateway, extra = heard(subnet(), legs=(leg(), leg("2001:db8::2", EXTRA_MAC)))
    assert (gateway.mac, gateway.preference) == (LEG_MAC, "medium")
    assert (extra.mac, extra.preference) == (EXTRA_MAC, "low")
    assert gateway.prefixes == extra.prefixes
    assert extra.router_lifetime_s == ROUTER_LIFETIME_S


def test_a_subnet_without_gateway_has_no_default_router() -> None:
    (said,) = heard(subnet(gateway_ip=None), legs=(leg(),))
    assert (said.mac, said.router_lifetime_s, said.routes) == (LEG_MAC, 0, {})


def test_legs_of_ipv4_do_not_count_and_one_port_with_two_subnets_speaks_once() -> None:
    of_ipv4 = RouterInterface("leg", "n", 7, tuple(Cidr.from_text("10.0.0.0/24")), b"\x0a\0\0\1", EXTRA_MAC)
    second = subnet("t", "2001:db8:1::/64", "dhcpv6-stateful", gateway_ip=ip_from_text("2001:db8:1::1"))
    legs = (of_ipv4, leg(), leg("2001:db8:1::1", LEG_MAC, "2001:db8:1::/64"))
    (said,) = heard(subnet(), second, legs=legs)
    assert said.mac == LEG_MAC
    assert heard(subnet(), legs=(of_ipv4,))[0].mac == HOST_MAC


def test_host_routes_lead_to_the_router_that_is_their_next_hop() -> None:
    routes = tuple(
        (*Cidr.from_text(cidr), ip_from_text(hop))
        for cidr, hop in (
            ("2001:db8:a::/48", GATEWAY),
            ("2001:db8:b::5/128", GATEWAY),
            ("2001:db8:c::/64", "2001:db8::2"),
            ("2001:db8:d::/64", "2001:db8::77"),  # nobody who could say so
        )
    )
    gateway, extra = heard(subnet(host_routes=routes), legs=(leg(), leg("2001:db8::2", EXTRA_MAC)))
    assert gateway.routes == {"::/0": WEEK, "2001:db8:a::/48": WEEK, "2001:db8:b::5/128": WEEK}
    assert extra.routes == {"::/0": WEEK, "2001:db8:c::/64": WEEK}


def test_too_much_for_one_frame_is_said_in_several() -> None:
    numbers = range(1, 101)
    many = [subnet(f"s{n}", f"2001:db8:{n:x}::/64") for n in numbers]
    to = port(*((f"s{n}", f"2001:db8:{n:x}::f816:3eff:fe00:1") for n in numbers))
    (said,) = told(*many, to=to, legs=(leg(cidr="2001:db8:1::/64"),))
    made = advertisements.to_everybody(said)
    assert all(len(frame) <= 14 + 1450 for frame in made)
    parts = [read(frame) for frame in made]
    assert len(parts) == 3
    assert sorted(each.prefix for part in parts for each in part.prefixes) == sorted(
        f"2001:db8:{n:x}::/64" for n in numbers
    )
    assert {part.router_lifetime_s for part in parts} == {ROUTER_LIFETIME_S}


def test_a_small_mtu_is_not_said() -> None:
    (said,) = heard(subnet(), network=NetworkEntry("n", 7, 1200, True))
    assert said.mtu is None


# -- taking back


def retracted(before, now) -> list[Read]:
    some = advertisements.retracting(before, now)
    return [read(frame) for said in some for frame in advertisements.to_everybody(said)]


def test_nothing_is_taken_back_of_what_stays() -> None:
    same = told(subnet(), legs=(leg(),))
    assert advertisements.retracting(same, same) == same


def test_a_router_that_joins_replaces_the_host() -> None:
    old, new = retracted(told(subnet()), told(subnet(), legs=(leg(),)))
    assert (old.mac, old.router_lifetime_s, old.prefixes, old.dns) == (HOST_MAC, 0, (), {"2001:db8:53::53": 0})
    assert (new.mac, new.router_lifetime_s, new.dns) == (LEG_MAC, ROUTER_LIFETIME_S, {"2001:db8:53::53": WEEK})


def test_a_router_that_leaves_is_no_router_from_then_on() -> None:
    old, new = retracted(told(subnet(), legs=(leg(),)), told(subnet()))
    assert (old.mac, old.router_lifetime_s, old.routes, old.prefixes) == (LEG_MAC, 0, {"::/0": 0}, ())
    assert (new.mac, new.prefixes[0].flags) == (HOST_MAC, "LA")


def test_a_subnet_that_goes_is_neither_on_the_link_nor_for_addresses() -> None:
    beside = subnet("t", "2001:db8:1::/64", "dhcpv6-stateful")
    (said,) = retracted(
        told(subnet(), beside, legs=(leg(),)), told(beside, to=port(("t", "2001:db8:1::5")), legs=(leg(),))
    )
    assert said.prefixes == (Prefix("2001:db8:1::/64", "L", MONTH, WEEK), Prefix("2001:db8::/64", "LA", 0, 0))


def test_an_address_that_goes_is_deprecated_while_its_prefix_stays_on_the_link() -> None:
    beside = subnet("t", "2001:db8:1::/64")
    before = told(
        subnet(), beside, to=port(("s", "2001:db8::f816:3eff:fe00:1"), ("t", "2001:db8:1::f816:3eff:fe00:1"))
    )
    (said,) = retracted(before, told(subnet(), beside))
    assert said.prefixes[-1] == Prefix("2001:db8:1::/64", "A", 0, 0)
    assert Prefix("2001:db8:1::/64", "L", MONTH, WEEK) in said.prefixes


def test_servers_and_routes_that_go_are_taken_back() -> None:
    route = (*Cidr.from_text("2001:db8:a::/48"), ip_from_text(GATEWAY))
    new_dns = (ip_from_text("2001:db8:53::54"),)
    before = told(subnet(host_routes=(route,)), legs=(leg(),))
    (said,) = retracted(before, told(subnet(dns_nameservers=new_dns), legs=(leg(),)))
    assert said.dns == {"2001:db8:53::54": WEEK, "2001:db8:53::53": 0}
    assert said.routes == {"::/0": WEEK, "2001:db8:a::/48": 0}


def test_when_nothing_is_said_any_longer_all_is_taken_back() -> None:
    (said,) = retracted(told(subnet(), legs=(leg(),)), ())
    assert (said.router_lifetime_s, said.routes, said.dns) == (0, {"::/0": 0}, {"2001:db8:53::53": 0})
    assert said.prefixes == (Prefix("2001:db8::/64", "LA", 0, 0),)


# -- solicitations


SOURCE_ADDRESS = b"\x01\x01" + MAC.to_bytes(6, "big")
DAMAGED = bytearray(solicitation())
DAMAGED[-1] ^= 1


@pytest.mark.parametrize(
    ("why", "frame", "is_one"),
    [
        ("plain", solicitation(), True),
        ("with its MAC address", solicitation(options=SOURCE_ADDRESS), True),
        ("without an address", solicitation(source=bytes(16)), True),
        ("with unknown options", solicitation(options=b"\xfe\x02" + bytes(14)), True),
        ("no address, but a MAC address", solicitation(source=bytes(16), options=SOURCE_ADDRESS), False),
        ("forwarded", solicitation(hop_limit=254), False),
        ("a code", solicitation(code=1), False),
        ("an option without length", solicitation(options=b"\x01\x00" + bytes(6)), False),
        ("an option that is cut", solicitation(options=b"\x01\x02" + bytes(6)), False),
        ("half an option's head", solicitation(options=b"\x01"), False),
        ("damaged", bytes(DAMAGED), False),
    ],
)
def test_a_solicitation_must_be_right(why: str, frame: bytes, is_one: bool) -> None:
    packet = frames.parse_ipv6(frame)
    assert packet is not None
    assert advertisements.is_solicitation(packet) is is_one, why


def test_who_asks_is_answered_where_it_is() -> None:
    (said,) = told(subnet())
    for source, to in ((link_local_ip(MAC), "fe80::f816:3eff:fe00:1"), (bytes(16), "ff02::1")):
        asked = frames.parse_ipv6(solicitation(source=source))
        assert asked is not None
        (answer,) = map(read, advertisements.in_answer(said, asked))
        assert (answer.to, answer.to_mac) == (to, MAC)


def test_lifetimes_outlast_an_agents_absence() -> None:
    assert derived_ip(ip_from_text("2001:db8::"), MAC) == DERIVED.fixed_ips[0].ip
    assert min(LIFETIME_S, VALID_S) >= 7 * 86_400
    assert ROUTER_LIFETIME_S >= 18 * 3_600
