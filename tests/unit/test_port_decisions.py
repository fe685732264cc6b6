"""Ports: addresses that are asked for, kept and drawn; MAC addresses; groups."""

import msgspec
import pytest
from msgspec import UNSET

from alcor.management_plane.port import decisions, fixed_ips
from alcor.management_plane.port.decisions import PortFields
from alcor.management_plane.port.fixed_ips import Draws, FixedIpFields, WantedIp
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_text
from alcor.model.ids import GroupId, NetworkId, ProjectId, SubnetId, Vni
from alcor.model.records import FixedIp, Network, Port, Subnet

NETWORK = Network(id=NetworkId("n"), project_id=ProjectId("blue"), vni=Vni(1))
FIRST, SECOND = (
    Subnet(id=SubnetId(name), project_id=ProjectId("blue"), network_id=NETWORK.id, cidr=Cidr.from_text(cidr))
    for name, cidr in (("s1", "10.0.0.0/24"), ("s2", "10.1.0.0/24"))
)
SUBNETS = (FIRST, SECOND)


def address(text: str) -> FixedIp:
    return FixedIp(FIRST.id if text.startswith("10.0.") else SECOND.id, bytes(ip_from_text(text)))


def port(fields: PortFields, *, drawn: tuple[str, ...] = (), network: Network = NETWORK) -> Port:
    return decisions.create(
        fields,
        port_id="p",
        drawn_mac=0xFA0000000001,
        network=network,
        wanted=fixed_ips.wanted_ips(fields.fixed_ips, network.id, SUBNETS if drawn else ()),
        draws=Draws({network.id: [address(text) for text in drawn]}, {}),
        project_id="blue",
        default_group=GroupId("default"),
        port_group_id="",
        now_us=1,
    )


def wanted(*asked: FixedIpFields) -> tuple[WantedIp, ...]:
    return fixed_ips.wanted_ips(asked, NETWORK.id, SUBNETS)


def test_a_port_that_asks_for_nothing_gets_one_address_if_there_are_subnets() -> None:
    assert fixed_ips.wanted_ips(UNSET, "n", SUBNETS) is fixed_ips.ANY_IP
    assert fixed_ips.wanted_ips(UNSET, "n", ()) == ()
    assert port(PortFields(), drawn=("10.0.0.5",)).fixed_ips == (address("10.0.0.5"),)


def test_an_address_alone_finds_its_subnet() -> None:
    assert wanted(FixedIpFields(ip_address="10.1.0.9")) == (WantedIp(SECOND, address("10.1.0.9").ip),)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (FixedIpFields(ip_address="10.2.0.1"), "InvalidIpForNetwork"),
        (FixedIpFields(ip_address="10.1.0.1", subnet_id="s1"), "InvalidIpForSubnet"),
        (FixedIpFields(ip_address="10.0.0.0"), "InvalidIpForSubnet"),
        (FixedIpFields(ip_address="10.0.0.255"), "InvalidIpForSubnet"),
        (FixedIpFields(subnet_id="s3"), "InvalidInput"),
        (FixedIpFields(), "InvalidInput"),
        (FixedIpFields(ip_address="10.0.0.1.1"), "HTTPBadRequest"),
    ],
)
def test_addresses_that_the_network_cannot_give_are_refused(asked: FixedIpFields, reason: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        wanted(asked)
    assert refused.value.reason == reason


def test_the_same_address_twice_is_refused() -> None:
    with pytest.raises(errors.Invalid):
        wanted(FixedIpFields(ip_address="10.0.0.5"), FixedIpFields(ip_address="10.0.0.5", subnet_id="s1"))


def test_an_update_keeps_the_address_in_a_subnet_that_is_named_again() -> None:
    held = msgspec.structs.replace(port(PortFields()), fixed_ips=(address("10.0.0.5"), address("10.1.0.5")))
    wants = wanted(FixedIpFields(subnet_id="s1"), FixedIpFields(subnet_id="s1"))
    assert len(fixed_ips.to_draw(held, wants)) == 1
    draws = Draws({}, {"s1": [address("10.0.0.6")]})
    after = decisions.update(held, PortFields(), wanted=wants, draws=draws, now_us=2)
    assert after.fixed_ips == (address("10.0.0.5"), address("10.0.0.6"))


def test_an_address_that_is_named_is_not_kept_for_another_entry() -> None:
    held = msgspec.structs.replace(port(PortFields()), fixed_ips=(address("10.0.0.5"),))
    wants = wanted(FixedIpFields(subnet_id="s1"), FixedIpFields(ip_address="10.0.0.5"))
    draws = Draws({}, {"s1": [address("10.0.0.7")]})
    after = decisions.update(held, PortFields(), wanted=wants, draws=draws, now_us=2)
    assert after.fixed_ips == (address("10.0.0.5"), address("10.0.0.7"))


def test_ports_are_in_the_default_group_unless_something_else_is_said() -> None:
    assert port(PortFields()).security_groups == ("default",)
    assert port(PortFields(security_groups=())).security_groups == ()
    assert port(PortFields(port_security_enabled=False)).security_groups == ()
    assert port(PortFields(device_owner="network:dhcp")).security_groups == ()
    unsecured = msgspec.structs.replace(NETWORK, port_security_enabled=False)
    assert port(PortFields(), network=unsecured).security_groups == ()
    assert port(PortFields(security_groups=("b", "a"))).security_groups == ("a", "b")


@pytest.mark.parametrize(
    "fields",
    [
        PortFields(security_groups=("a", "a")),
        PortFields(security_groups=("a",), port_security_enabled=False),
        PortFields(vnic_type="direct"),
        PortFields(device_owner="network:router_interface"),
        PortFields(mac_address="00:00:00:00:00:00"),
        PortFields(mac_address="01:00:00:00:00:01"),
        PortFields(mac_address="fa:00:00:00:00"),
        PortFields(profile={"a": "x" * 5000}),
    ],
)
def test_ports_that_cannot_be_are_refused(fields: PortFields) -> None:
    with pytest.raises(errors.Invalid):
        port(fields)


def test_drawn_macs_are_local_addresses_of_one_station() -> None:
    macs = decisions.macs_from(bytes(range(10)))
    assert [f"{mac:012x}" for mac in macs] == ["fa0001020304", "fa0506070809"]
    assert all(mac >> 40 & 3 == 2 for mac in macs)
