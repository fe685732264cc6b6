"""Routers: which subnets one may join."""

import pytest

from alcor.management_plane.router import decisions
from alcor.management_plane.router.decisions import InterfaceFields
from alcor.management_plane.router.joined import Joined
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_text
from alcor.model.ids import HostId, NetworkId, PortId, ProjectId, RouterId, SubnetId, Vni
from alcor.model.records import ROUTER_INTERFACE, FixedIp, Network, Port, Router, Subnet

PROJECT = ProjectId("blue")
ROUTER = Router(id=RouterId("r"), project_id=PROJECT)
NETWORK = Network(id=NetworkId("n"), project_id=PROJECT, vni=Vni(1))
NOTHING = Joined((), {})


def subnet(name: str, cidr: str, gateway: str | None) -> Subnet:
    return Subnet(
        id=SubnetId(name),
        project_id=PROJECT,
        network_id=NetworkId("n"),
        cidr=Cidr.from_text(cidr),
        gateway_ip=None if gateway is None else bytes(ip_from_text(gateway)),
    )


A = subnet("a", "10.0.0.0/24", "10.0.0.1")


def port(*ips: str, **said: object) -> Port:
    fixed_ips = tuple(FixedIp(A.id, bytes(ip_from_text(ip))) for ip in ips)
    return Port(
        id=PortId("p"),
        project_id=PROJECT,
        network_id=NetworkId("n"),
        mac=1,
        fixed_ips=fixed_ips,
        **said,  # type: ignore[arg-type]
    )


def test_the_interface_of_a_subnet_has_its_gateway_address() -> None:
    made = decisions.interface_by_subnet(ROUTER, A, NETWORK, NOTHING, port_id="p", mac=1, now_us=1)
    assert made.fixed_ips == (FixedIp(A.id, ip_from_text("10.0.0.1")),)
    assert (made.device_owner, made.device_id, made.security_groups) == (ROUTER_INTERFACE, "r", ())


def test_a_subnet_without_gateway_is_refused() -> None:
    with pytest.raises(errors.Invalid):
        decisions.interface_by_subnet(
            ROUTER, subnet("b", "10.1.0.0/24", None), NETWORK, NOTHING, port_id="p", mac=1, now_us=1
        )


@pytest.mark.parametrize("other", [A, subnet("b", "10.0.0.0/16", "10.0.0.2")])
def test_a_subnet_that_is_joined_or_overlaps_is_refused(other: Subnet) -> None:
    with pytest.raises(errors.Invalid):
        decisions.interface_by_subnet(
            ROUTER, other, NETWORK, Joined((port("10.0.0.1"),), {A.id: A}), port_id="p", mac=1, now_us=1
        )


def test_a_port_that_is_in_use_or_has_not_one_address_is_refused() -> None:
    for used in (port("10.0.0.9", device_id="vm"), port("10.0.0.9", host=HostId("h"))):
        with pytest.raises(errors.Conflict):
            decisions.interface_by_port(ROUTER, used, {A.id: A}, NOTHING, now_us=1)
    for wrong in (port(), port("10.0.0.9", "10.0.0.10")):
        with pytest.raises(errors.Invalid):
            decisions.interface_by_port(ROUTER, wrong, {A.id: A}, NOTHING, now_us=1)
    made = decisions.interface_by_port(ROUTER, port("10.0.0.9"), {A.id: A}, NOTHING, now_us=1)
    assert (made.device_owner, made.revision_number) == (ROUTER_INTERFACE, 1)


def test_the_interface_to_remove_is_found_by_port_and_by_subnet() -> None:
    held = port("10.0.0.1", device_id="r", device_owner=ROUTER_INTERFACE)
    for fields in (
        InterfaceFields(port_id="p"),
        InterfaceFields(subnet_id="a"),
        InterfaceFields(subnet_id="a", port_id="p"),
    ):
        assert decisions.interface_to_remove(ROUTER, fields, [held]) is held
    with pytest.raises(errors.Invalid):
        decisions.interface_to_remove(ROUTER, InterfaceFields(subnet_id="b", port_id="p"), [held])
    for fields in (InterfaceFields(port_id="q"), InterfaceFields(subnet_id="b")):
        with pytest.raises(errors.Missing):
            decisions.interface_to_remove(ROUTER, fields, [held])


B = subnet("b", "2001:db8:1::/64", "2001:db8:1::1")
C = subnet("c", "2001:db8:2::/64", "2001:db8:2::1")
D = subnet("d", "10.1.0.0/24", "10.1.0.1")


def several(*subnets: Subnet) -> Port:
    return Port(
        id=PortId("p"),
        project_id=PROJECT,
        network_id=NetworkId("n"),
        mac=1,
        fixed_ips=tuple(
            FixedIp(it.id, bytes(ip_from_text(str(Cidr(*it.cidr)).split("/")[0])[:-1] + b"\x05"))
            for it in subnets
        ),
    )


def by_port(*subnets: Subnet, joined: Joined = NOTHING) -> Port:
    by_id = {it.id: it for it in subnets}
    return decisions.interface_by_port(ROUTER, several(*subnets), by_id, joined, now_us=1)


def test_an_interface_has_addresses_of_one_subnet_of_ipv4_and_several_of_ipv6() -> None:
    assert len(by_port(A, B, C).fixed_ips) == 3
    with pytest.raises(errors.Invalid, match="multiple IPv4 subnets"):
        by_port(A, D)
    with pytest.raises(errors.Invalid, match="multiple addresses of one subnet"):
        by_port(B, B)
    with pytest.raises(errors.Invalid, match="at least one"):
        by_port()


def test_subnets_of_two_versions_do_not_overlap_on_a_router() -> None:
    inside = subnet("e", "2001:db8:1::/80", "2001:db8:1::9")
    joined = Joined((), {A.id: A, B.id: B})
    by_port(C, D, joined=joined)
    with pytest.raises(errors.Invalid, match="overlaps"):
        by_port(inside, joined=joined)


def test_an_interface_goes_with_its_last_subnet() -> None:
    held = several(A, B)
    left = decisions.parted(held, "a", 5)
    assert left is not None
    assert (left.fixed_ips, left.revision_number) == (held.fixed_ips[1:], held.revision_number + 1)
    assert decisions.parted(left, "b", 5) is None
    assert decisions.parted(held, None, 5) is None
