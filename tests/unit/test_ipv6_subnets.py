"""IPv6 subnets: ranges, gateways and pools, modes, and the ports that get or lose an address with them."""

import pytest

from alcor.management_plane.caller import Caller
from alcor.management_plane.subnet import decisions, derived
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.management_plane.subnet.siblings import Siblings
from alcor.model import errors
from alcor.model.addressing import Cidr, derived_ip, ip_from_text, ip_to_text
from alcor.model.ids import NetworkId, PortId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import (
    DHCPV6_STATEFUL,
    DHCPV6_STATELESS,
    ROUTER_INTERFACE,
    SLAAC,
    FixedIp,
    Network,
    Port,
    Subnet,
)

CALLER = Caller(ProjectId("blue"), False, RequestId("req-1"))
NETWORK = Network(id=NetworkId("n"), project_id=ProjectId("blue"), vni=Vni(1))


def made(
    cidr: str = "2001:db8::/64", *, siblings: tuple[Subnet, ...] = (), ip_version: int = 6, **said: object
) -> Subnet:
    fields = SubnetFields(
        network_id="n",
        ip_version=ip_version,
        cidr=Cidr.from_text(cidr),
        **said,  # type: ignore[arg-type]
    )
    return decisions.create(
        fields, subnet_id=f"s-{cidr}", network=NETWORK, siblings=Siblings(siblings), caller=CALLER, now_us=1
    )


def packed(text: str) -> bytes:
    return bytes(ip_from_text(text))


def ranges(subnet: Subnet) -> list[str]:
    return [f"{ip_to_text(start)} {ip_to_text(end)}" for start, end in subnet.pools]


def refusal(*arguments: str, **said: object) -> tuple[str, str]:
    with pytest.raises(errors.AlcorError) as refused:
        made(*arguments, **said)  # type: ignore[arg-type]
    return refused.value.reason, str(refused.value)


def test_the_last_address_is_usable_and_the_first_nobodys() -> None:
    subnet = made()
    assert (subnet.ip_version, subnet.gateway_ip) == (6, ip_from_text("2001:db8::1"))
    assert ranges(subnet) == ["2001:db8::2 2001:db8::ffff:ffff:ffff:ffff"]
    assert ranges(made("2001:db8::/126")) == ["2001:db8::2 2001:db8::3"]
    last = made("2001:db8::/126", gateway_ip=packed("2001:db8::3"))
    assert ranges(last) == ["2001:db8::1 2001:db8::2"]
    assert ranges(made(gateway_ip=None, pools=((packed("2001:db8::9"), packed("2001:db8::ff")),))) == [
        "2001:db8::9 2001:db8::ff"
    ]


@pytest.mark.parametrize(
    "cidr",
    [
        "::/0",
        "::/8",
        "::1/126",
        "::ffff:10.0.0.0/120",
        "fe80::/64",
        "fe80::/9",
        "ff02::/64",
        "8000::/1",
        "2001:db8::/127",
        "2001:db8::/128",
    ],
)
def test_ranges_without_room_for_hosts_are_refused(cidr: str) -> None:
    assert refusal(cidr)[0] == "InvalidInput"


def test_versions_that_disagree_are_refused_in_neutrons_words() -> None:
    said = "cidr '10.0.0.0/24' does not match the ip_version '6'"
    assert said in refusal("10.0.0.0/24")[1]
    assert "cidr '2001:db8::/64' does not match the ip_version '4'" in refusal(ip_version=4)[1]
    assert "gateway_ip '10.0.0.1' does not match" in refusal(gateway_ip=packed("10.0.0.1"))[1]
    assert "nexthop '10.0.0.9' does not match" in refusal(host_routes=(("10.9.0.0/16", "10.0.0.9"),))[1]
    four = (packed("10.0.0.1"), packed("10.0.0.9"))
    assert refusal(pools=(four,))[0] == "InvalidAllocationPool"
    mixed = (packed("2001:db8::9"), packed("10.0.0.9"))
    assert refusal(pools=(mixed,))[0] == "InvalidAllocationPool"
    assert refusal("10.0.0.0/24", ip_version=4, pools=(mixed,))[0] == "InvalidAllocationPool"


@pytest.mark.parametrize("gateway", ["2001:db8::", "2001:db8:0:1::1", "fe80::1"])
def test_a_gateway_outside_is_refused(gateway: str) -> None:
    reason, words = refusal(gateway_ip=packed(gateway))
    assert reason == "InvalidInput"
    assert ("link-local" in words) == gateway.startswith("fe80")


def test_pools_outside_upside_down_and_overlapping_are_refused() -> None:
    for start, end, reason in (
        ("2001:db8::", "2001:db8::9", "OutOfBoundsAllocationPool"),
        ("2001:db8::5", "2001:db8:0:1::", "OutOfBoundsAllocationPool"),
        ("2001:db8::9", "2001:db8::5", "InvalidAllocationPool"),
        ("2001:db8::1", "2001:db8::5", "GatewayConflictWithAllocationPools"),
    ):
        assert refusal(pools=((packed(start), packed(end)),))[0] == reason, start
    twice = ((packed("2001:db8::5"), packed("2001:db8::9")), (packed("2001:db8::9"), packed("2001:db8::a")))
    assert refusal(pools=twice)[0] == "OverlappingAllocationPools"


def test_subnets_of_two_versions_do_not_overlap_and_equal_ones_do() -> None:
    four = made("10.0.0.0/8", ip_version=4)
    six = made(siblings=(four,))
    assert "overlaps" in refusal("2001:db8::/48", siblings=(four, six))[1]


@pytest.mark.parametrize("mode", [SLAAC, DHCPV6_STATELESS, DHCPV6_STATEFUL])
def test_modes_are_equal_and_kept(mode: str) -> None:
    both = made(ra_mode=mode, address_mode=mode)
    assert (both.ra_mode, both.address_mode) == (mode, mode)
    assert both.is_derived == (mode != DHCPV6_STATEFUL)
    assert made(ra_mode=mode).is_derived == made(address_mode=mode).is_derived == both.is_derived
    other = SLAAC if mode == DHCPV6_STATEFUL else DHCPV6_STATEFUL
    assert "they must be the same value" in refusal(ra_mode=mode, address_mode=other)[1]
    assert "enable_dhcp is set to False" in refusal(address_mode=mode, enable_dhcp=False)[1]
    assert "not valid when ip_version is 4" in refusal("10.0.0.0/24", ip_version=4, ra_mode=mode)[1]


@pytest.mark.parametrize("prefix_len", [63, 65, 48, 126])
def test_addresses_follow_from_mac_addresses_in_a_64_only(prefix_len: int) -> None:
    assert made(f"2001:db8::/{prefix_len}", address_mode=DHCPV6_STATEFUL).cidr[1] == prefix_len
    for mode in (SLAAC, DHCPV6_STATELESS):
        assert "requires the prefix to be /64" in refusal(f"2001:db8::/{prefix_len}", address_mode=mode)[1]


def test_dhcp_is_not_turned_off_under_modes() -> None:
    off = SubnetFields(enable_dhcp=False)
    assert not decisions.update(made(), off, (), now_us=2).enable_dhcp
    with pytest.raises(errors.Invalid, match="Cannot disable enable_dhcp"):
        decisions.update(made(ra_mode=SLAAC), off, (), now_us=2)


def test_a_network_has_a_few_subnets_of_which_every_port_has_an_address() -> None:
    held = tuple(made(f"2001:db8:0:{n}::/64", ra_mode=SLAAC) for n in range(derived.SUBNETS_MAX))
    assert made("2001:db8:1::/64", siblings=held[1:], ra_mode=SLAAC).is_derived
    assert not made("2001:db8:1::/64", siblings=held).is_derived
    assert refusal("2001:db8:1::/64", siblings=held, ra_mode=SLAAC)[0] == "TooManyDerivedSubnets"


def port(number: int, *fixed: FixedIp, owner: str = "") -> Port:
    return Port(
        id=PortId(f"p-{number}"),
        project_id=ProjectId("blue"),
        network_id=NetworkId("n"),
        mac=number,
        fixed_ips=fixed,
        device_owner=owner,
        revision_number=1,
    )


def test_ports_get_an_address_of_a_new_subnet_but_a_routers_and_those_it_does_not_serve() -> None:
    subnet = made(ra_mode=SLAAC)
    four = FixedIp(SubnetId("0"), packed("10.0.0.5"))
    ports = [port(1, four), port(2, owner=ROUTER_INTERFACE), port(3, owner="compute:a")]
    first, third = derived.joined(ports, [subnet, made("2001:db8:1::/64")], 7)
    assert first.fixed_ips == (four, FixedIp(subnet.id, derived_ip(subnet.cidr[0], 1)))
    assert (third.id, third.revision_number, third.updated_at) == ("p-3", 2, 7)
    some = made(ra_mode=SLAAC, service_types=("compute:a",))
    assert [it.id for it in derived.joined(ports, [some], 7)] == ["p-3"]


def test_ports_lose_an_address_with_its_subnet_unless_a_router_has_one() -> None:
    subnet = made(ra_mode=SLAAC)
    four = FixedIp(SubnetId("0"), packed("10.0.0.5"))
    held = [port(1, four, derived.address(subnet, 1))]
    assert [it.fixed_ips for it in derived.parted(held, subnet, 7)] == [(four,)]
    leg = port(2, FixedIp(subnet.id, packed("2001:db8::1")), owner=ROUTER_INTERFACE)
    for ports, of in (([*held, leg], subnet), (held, made())):
        with pytest.raises(errors.Conflict) as refused:
            derived.parted(ports, of, 7)
        assert refused.value.reason == "SubnetInUse"


def test_more_ports_than_one_write_changes_are_refused() -> None:
    subnet = made(ra_mode=SLAAC)
    many = [port(number, derived.address(subnet, number)) for number in range(derived.PORTS_MAX + 1)]
    assert len(derived.parted(many[1:], subnet, 7)) == derived.PORTS_MAX
    for refused in (lambda: derived.parted(many, subnet, 7), lambda: derived.joined(many, [subnet], 7)):
        with pytest.raises(errors.Conflict) as conflict:
            refused()
        assert conflict.value.reason == "TooManyPorts"


def test_no_port_has_the_gateways_address() -> None:
    gateway = derived_ip(packed("2001:db8::"), 5)
    subnet = made(ra_mode=SLAAC, gateway_ip=gateway)
    with pytest.raises(errors.Conflict) as refused:
        derived.joined([port(5)], [subnet], 7)
    assert refused.value.reason == "IpAddressInUse"


def test_what_never_succeeds_is_not_tried_for_ever() -> None:
    few, many = derived.Effort(), derived.Effort()
    some = [port(number) for number in range(100)]
    for _ in range(64):  # as often as anything is decided again
        few.spend(some)
    all_of_them = [port(number) for number in range(derived.PORTS_MAX)]
    for _ in range(derived.TRIED_MAX // derived.PORTS_MAX + 1):
        many.spend(all_of_them)
    with pytest.raises(errors.Unavailable):
        many.spend(all_of_them)
