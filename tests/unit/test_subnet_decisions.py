"""Subnets: gateways, pools and overlaps."""

import pytest

from alcor.management_plane.caller import Caller
from alcor.management_plane.subnet import decisions
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.management_plane.subnet.siblings import Siblings
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_text, ip_to_text
from alcor.model.ids import NetworkId, ProjectId, RequestId, Vni
from alcor.model.records import ROUTER_INTERFACE, FixedIp, Network, Port, Subnet

CALLER = Caller(ProjectId("blue"), False, RequestId("req-1"))
NETWORK = Network(id=NetworkId("n"), project_id=ProjectId("blue"), vni=Vni(1))


def made(cidr: str, *, siblings: tuple[Subnet, ...] = (), **said: object) -> Subnet:
    fields = SubnetFields(network_id="n", ip_version=4, cidr=Cidr.from_text(cidr), **said)  # type: ignore[arg-type]
    return decisions.create(
        fields, subnet_id=f"s-{cidr}", network=NETWORK, siblings=Siblings(siblings), caller=CALLER, now_us=1
    )


def ranges(subnet: Subnet) -> list[str]:
    return [f"{ip_to_text(start)}-{ip_to_text(end)}" for start, end in subnet.pools]


def test_the_first_address_is_the_gateway_unless_another_is_said() -> None:
    assert made("10.0.0.0/24").gateway_ip == ip_from_text("10.0.0.1")
    assert made("10.0.0.0/24", gateway_ip=None).gateway_ip is None
    assert made("10.0.0.0/24", gateway_ip=bytes(ip_from_text("10.0.0.9"))).gateway_ip == ip_from_text(
        "10.0.0.9"
    )


def test_the_pools_are_all_addresses_but_network_broadcast_and_gateway() -> None:
    assert ranges(made("10.0.0.0/24")) == ["10.0.0.2-10.0.0.254"]
    middle = made("10.0.0.0/24", gateway_ip=bytes(ip_from_text("10.0.0.9")))
    assert ranges(middle) == ["10.0.0.1-10.0.0.8", "10.0.0.10-10.0.0.254"]
    last = made("10.0.0.0/24", gateway_ip=bytes(ip_from_text("10.0.0.254")))
    assert ranges(last) == ["10.0.0.1-10.0.0.253"]
    assert ranges(made("10.0.0.0/30")) == ["10.0.0.2-10.0.0.2"]


@pytest.mark.parametrize(
    "cidr", ["10.0.0.0/31", "10.0.0.0/32", "0.0.0.0/0", "127.0.0.0/8", "224.0.0.0/24", "fd00::/64"]
)
def test_ranges_without_room_for_hosts_are_refused(cidr: str) -> None:
    with pytest.raises(errors.Invalid):
        made(cidr)


@pytest.mark.parametrize("cidr", ["10.0.0.0/24", "10.0.0.128/25", "10.0.0.0/8"])
def test_a_subnet_that_overlaps_with_a_sibling_is_refused(cidr: str) -> None:
    with pytest.raises(errors.Invalid, match="overlaps"):
        made(cidr, siblings=(made("10.0.0.0/24"),))


def test_a_gateway_outside_the_range_or_inside_a_pool_is_refused() -> None:
    for text in ("10.0.1.1", "10.0.0.0", "10.0.0.255", "fd00::1"):
        with pytest.raises(errors.Invalid):
            made("10.0.0.0/24", gateway_ip=bytes(ip_from_text(text)))
    pool = (bytes(ip_from_text("10.0.0.1")), bytes(ip_from_text("10.0.0.9")))
    with pytest.raises(errors.Conflict):
        made("10.0.0.0/24", pools=(pool,))


def test_pools_that_overlap_or_are_upside_down_are_refused() -> None:
    low, middle, high = (bytes(ip_from_text(f"10.0.0.{number}")) for number in (5, 7, 9))
    with pytest.raises(errors.Conflict):
        made("10.0.0.0/24", pools=((low, middle), (middle, high)))
    with pytest.raises(errors.Invalid):
        made("10.0.0.0/24", pools=((high, low),))


def test_a_gateway_that_a_router_holds_does_not_change() -> None:
    subnet = made("10.0.0.0/24")
    assert subnet.gateway_ip is not None
    router = Port(
        id="p",  # type: ignore[arg-type]
        project_id=ProjectId("blue"),
        network_id=NETWORK.id,
        mac=1,
        fixed_ips=(FixedIp(subnet.id, subnet.gateway_ip),),
        device_owner=ROUTER_INTERFACE,
    )
    fields = SubnetFields(gateway_ip=None)
    with pytest.raises(errors.Conflict):
        decisions.update(subnet, fields, [router], now_us=2)
    after = decisions.update(subnet, fields, [], now_us=2)
    assert (after.gateway_ip, after.revision_number, after.updated_at) == (None, 2, 2)
