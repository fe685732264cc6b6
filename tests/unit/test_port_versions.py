"""Ports with addresses of both IP versions: what they get unasked or may ask for, what follows a MAC."""

import pytest
from msgspec import UNSET

from alcor.management_plane.port import fixed_ips
from alcor.management_plane.port.address_pairs import AddressPairFields, parsed
from alcor.management_plane.port.dhcp_options import DhcpOptionFields, merged
from alcor.management_plane.port.fixed_ips import Draws, FixedIpFields, WantedIp
from alcor.model import errors
from alcor.model.addressing import Cidr, derived_ip, ip_from_text, ip_to_text
from alcor.model.ids import NetworkId, PortId, ProjectId, SubnetId
from alcor.model.records import DHCPV6_STATEFUL, SLAAC, FixedIp, Port, Subnet

MAC = 0xFA163E000001


def subnet(name: str, cidr: str, mode: str = "", *serving: str) -> Subnet:
    return Subnet(
        id=SubnetId(name),
        project_id=ProjectId("blue"),
        network_id=NetworkId("n"),
        cidr=Cidr.from_text(cidr),
        address_mode=mode,
        service_types=serving,
    )


FOUR = subnet("four", "10.0.0.0/24")
OTHER = subnet("other", "10.1.0.0/24")
STATEFUL = subnet("stateful", "2001:db8:1::/64", DHCPV6_STATEFUL)
UNSAID = subnet("unsaid", "2001:db8:2::/64")
AUTO = subnet("auto", "2001:db8:3::/64", SLAAC)
MORE = subnet("more", "2001:db8:4::/64", SLAAC)
ALL = (AUTO, FOUR, MORE, OTHER, STATEFUL, UNSAID)


def own(it: Subnet, mac: int = MAC) -> FixedIp:
    return FixedIp(it.id, derived_ip(it.cidr[0], mac))


def found(*asked: FixedIpFields, subnets: tuple[Subnet, ...] = ALL, owner: str = "") -> tuple[FixedIp, ...]:
    wanted = fixed_ips.wanted_ips(asked, "n", subnets, owner)
    return fixed_ips.found(wanted, "n", Draws({}, {}), MAC)


def test_who_says_nothing_gets_one_of_each_version_and_all_that_follow() -> None:
    wanted = fixed_ips.wanted_ips(UNSET, "n", ALL)
    assert wanted == (
        WantedIp(None, None, (FOUR, OTHER)),
        WantedIp(None, None, (STATEFUL, UNSAID)),
        WantedIp(AUTO, None),
        WantedIp(MORE, None),
    )
    assert [want.is_drawn for want in wanted] == [True, True, False, False]
    assert fixed_ips.wanted_ips(UNSET, "n", (AUTO,)) == (WantedIp(AUTO, None),)
    assert fixed_ips.wanted_ips(UNSET, "n", (STATEFUL,)) == (WantedIp(None, None, (STATEFUL,)),)


def test_ports_of_networks_of_ipv4_ask_as_ever() -> None:
    assert fixed_ips.wanted_ips(UNSET, "n", (FOUR, OTHER)) is fixed_ips.ANY_IP


def test_what_follows_comes_whatever_is_asked() -> None:
    assert found() == (own(AUTO), own(MORE))
    asked = found(FixedIpFields(ip_address="2001:db8:1::ffff:ffff:ffff:ffff"), FixedIpFields(subnet_id="auto"))
    assert asked == (
        own(AUTO),
        own(MORE),
        FixedIp(STATEFUL.id, ip_from_text("2001:db8:1::ffff:ffff:ffff:ffff")),
    )
    assert found(FixedIpFields(subnet_id="auto"), FixedIpFields(subnet_id="auto")) == (own(AUTO), own(MORE))


def test_subnets_that_serve_others_give_nothing() -> None:
    theirs = subnet("theirs", "2001:db8:5::/64", SLAAC, "compute:a")
    assert found(subnets=(AUTO, theirs), owner="compute:b") == (own(AUTO),)
    assert found(subnets=(AUTO, theirs), owner="compute:a") == (own(AUTO), own(theirs))
    assert fixed_ips.wanted_ips(UNSET, "n", (FOUR, theirs), "compute:a") == (
        WantedIp(None, None, (FOUR,)),
        WantedIp(theirs, None),
    )


def test_another_address_than_the_one_that_follows_is_refused() -> None:
    assert own(AUTO) in found(FixedIpFields(ip_address=ip_to_text(own(AUTO).ip)))
    with pytest.raises(errors.Invalid) as refused:
        found(FixedIpFields(ip_address="2001:db8:3::5"))
    assert refused.value.reason == "AllocationOnAutoAddressSubnet"
    for text, reason in (
        ("2001:db8:1::", "InvalidIpForSubnet"),
        ("2001:db8:9::1", "InvalidIpForNetwork"),
        ("fe80::1%eth0", "HTTPBadRequest"),
    ):
        with pytest.raises(errors.Invalid) as refused:
            found(FixedIpFields(ip_address=text))
        assert refused.value.reason == reason, text


def test_addresses_that_follow_are_not_counted() -> None:
    many = [FixedIpFields(ip_address=f"10.0.0.{n}") for n in range(1, fixed_ips.FIXED_IPS_MAX + 1)]
    both = [*many, *(FixedIpFields(subnet_id=it.id) for it in (AUTO, MORE))]
    assert len(found(*both)) == len(both)
    with pytest.raises(errors.Invalid, match="maximum amount of fixed ips"):
        found(*both, FixedIpFields(ip_address="10.0.0.99"))


def port(*fixed: FixedIp) -> Port:
    return Port(
        id=PortId("p"), project_id=ProjectId("blue"), network_id=NetworkId("n"), mac=MAC, fixed_ips=fixed
    )


def test_addresses_follow_a_new_mac_address_and_others_stay() -> None:
    stays = FixedIp(STATEFUL.id, bytes(ip_from_text("2001:db8:1::5")))
    before = port(own(AUTO), stays)
    after = fixed_ips.updated(before, fixed_ips.as_held(before, ALL), Draws({}, {}), MAC + 1)
    assert after == (own(AUTO, MAC + 1), stays)
    said = [FixedIpFields(ip_address=ip_to_text(fixed.ip)) for fixed in before.fixed_ips]
    wanted = fixed_ips.wanted_ips(said, "n", ALL, held=before.fixed_ips)
    assert fixed_ips.updated(before, wanted, Draws({}, {}), MAC + 1) == (
        own(AUTO, MAC + 1),
        own(MORE, MAC + 1),
        stays,
    )
    assert fixed_ips.to_draw(before, wanted) == []


def test_pairs_are_of_either_version_in_one_form() -> None:
    said = ("2001:DB8:0:0::5", "fd00::1/64", "10.0.0.5")
    pairs = parsed([AddressPairFields(ip_address=text) for text in said], MAC)
    assert {(ip_to_text(it.network), it.prefix_len) for it in pairs} == {
        ("2001:db8::5", 128),
        ("fd00::", 64),
        ("10.0.0.5", 32),
    }
    for text in ("fe80::1%eth0", "fe80::%1/64", "2001:db8::/129"):
        with pytest.raises(errors.Invalid):
            parsed([AddressPairFields(ip_address=text)], MAC)
    with pytest.raises(errors.Invalid, match="duplicate"):
        parsed([AddressPairFields(ip_address=text) for text in ("2001:db8::5", "2001:db8:0::5/128")], MAC)


def option(name: str, value: str | None, ip_version: int | str = 6) -> DhcpOptionFields:
    return DhcpOptionFields(opt_name=name, opt_value=value, ip_version=ip_version)


@pytest.mark.parametrize(
    ("name", "value", "code", "data"),
    [
        (
            "dns-server",
            "2001:db8::1, fd00::2",
            23,
            packed := "20010db8000000000000000000000001fd" + "0" * 29 + "2",
        ),
        ("23", "2001:db8::1,fd00::2", 23, packed),
        ("domain-search", "a.bc", 24, "016102626300"),
        ("sntp-server", "fd00::2", 31, "fd" + "0" * 29 + "2"),
        ("information-refresh-time", "600", 32, "00000258"),
        ("ntp-server", "fd00::2,a.bc", 56, "00010010fd" + "0" * 29 + "2" + "00030006016102626300"),
        ("bootfile-url", "tftp://[fd00::1]/x", 59, b"tftp://[fd00::1]/x".hex()),
        ("bootfile-param", "a,bc", 60, "00016100026263"),
        ("4242", "00:ff", 4242, "00ff"),
        ("65535", "fd00::2", 65535, "fd" + "0" * 29 + "2"),
    ],
)
def test_options_of_dhcpv6_are_written_as_their_rfcs_say(name: str, value: str, code: int, data: str) -> None:
    (made,) = merged((), [option(name, value)])
    assert (made.ip_version, made.code, made.data.hex()) == (6, code, data)


@pytest.mark.parametrize("name", ["0", "1", "3", "6", "13", "25", "26", "65536", "router", "mtu", "999999"])
def test_options_that_dhcpv6_needs_itself_or_does_not_know_are_refused(name: str) -> None:
    with pytest.raises(errors.Invalid, match="not an option that can be set"):
        merged((), [option(name, "5")])


def test_options_of_the_two_protocols_do_not_meet() -> None:
    both = [option("dns-server", "10.0.0.1", 4), option("dns-server", "fd00::1", "6")]
    made = merged((), both)
    assert [(it.ip_version, it.code) for it in made] == [(4, 6), (6, 23)]
    (left,) = merged(made, [option("dns-server", None)])
    assert left.ip_version == 4
    for wrong in (option("dns-server", "10.0.0.1"), option("dns-server", "fd00::1", 4), option("23", "x", 5)):
        with pytest.raises(errors.Invalid):
            merged((), [wrong])
    with pytest.raises(errors.Invalid, match="given twice"):
        merged((), [option("dns-server", "fd00::1"), option("23", "fd00::1")])
    long = [option(str(1000 + n), "x" * 250) for n in range(4)]
    with pytest.raises(errors.Invalid, match="bytes"):
        merged((), long)
