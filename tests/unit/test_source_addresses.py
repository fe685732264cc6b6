"""Which of its addresses a workload sends from: the one beside whom it sends to, else one with a gateway."""

import pytest

from alcor.data_plane.pipeline.matching import IPV6
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.trace import trace
from alcor.model.addressing import ip_from_int, ip_from_text, ip_to_text
from alcor.model.ids import PortId
from doubles.simulated_region import fabric_of
from doubles.topology import Region


@pytest.fixture
def region() -> Region:
    """Ports with an address in each of two subnets of a network, of which only the second has a gateway."""
    region = Region()
    region.add_net("n", 7, "2001:db8::/64", "2001:db8:0:1::/64")
    region.subs["n-s0"].gateway = None
    for direction in (True, False):
        region.add_rule("open", f"open-{direction}", ingress=direction, ethertype=6)
    for number, (name, host) in enumerate((("a", "h1"), ("b", "h2")), start=0x10):
        region.add_port(name, "n-s0", number, host, "open", also=("n-s1",))
    return region


@pytest.mark.parametrize(
    ("towards", "source"),
    [
        ("2001:db8::11", "2001:db8::10"),
        ("2001:db8:0:1::11", "2001:db8:0:1::10"),
        ("2001:db8:77::1", "2001:db8:0:1::10"),
    ],
)
def test_a_workload_sends_from_the_address_that_suits(region: Region, towards: str, source: str) -> None:
    sender = exchange.workload(fabric_of(region), PortId("a"), IPV6, bytes(ip_from_text(towards)))
    assert ip_to_text(ip_from_int(sender.ip, length=16)) == source


@pytest.mark.parametrize("to_ip", ["2001:db8::11", "2001:db8:0:1::11"])
def test_every_address_of_a_neighbour_is_reached_and_answers(region: Region, to_ip: str) -> None:
    target = bytes(ip_from_text(to_ip))
    assert exchange.ping(fabric_of(region), PortId("a"), target).succeeded
    assert trace(region.states(), port_id=PortId("a"), to_ip=target, protocol="icmp").delivered
