"""Address scopes: a router forwards within one only, by its subnets and by its extra routes."""

import pytest

from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.trace import trace
from alcor.model.ids import PortId
from doubles.simulated_region import fabric_of, reached
from doubles.topology import Region, address


@pytest.fixture
def region() -> Region:
    """Three networks and a router between them; `gw` may forward."""
    region = Region()
    for number, net in enumerate(("n", "m", "o")):
        region.add_net(net, 7 + number, f"10.0.{number}.0/24")
    region.routers["r"] = {"n-s0", "m-s0", "o-s0"}
    for direction in (True, False):
        region.add_rule("open", f"open-{direction}", ingress=direction)
    region.add_port("a", "n-s0", 10, "h1", "open")
    region.add_port("b", "m-s0", 11, "h2", "open")
    region.add_port("c", "o-s0", 12, "h1", "open")
    region.add_port("gw", "m-s0", 20, "h2", security=False)
    return region


def all_reached(region: Region) -> list[str]:
    ends = ("a", "b", "c")
    pairs = [(source, target) for source in ends for target in ends if source != target]
    ips = {name: ".".join(map(str, region.ports[name].ip)) for name in ends}
    return [f"{source}{target}" for source, target in pairs if reached(region, source, ips[target]) == target]


def test_a_router_forwards_within_a_scope_and_those_of_none_are_together(region: Region) -> None:
    assert all_reached(region) == ["ab", "ac", "ba", "bc", "ca", "cb"]
    region.scopes = {"n-s0": "x"}
    assert all_reached(region) == ["bc", "cb"]
    region.scopes = {"n-s0": "x", "m-s0": "x"}
    assert all_reached(region) == ["ab", "ba"]
    region.scopes = {"n-s0": "x", "m-s0": "y", "o-s0": "z"}
    assert all_reached(region) == []
    region.scopes = dict.fromkeys(("n-s0", "m-s0", "o-s0"), "x")
    assert all_reached(region) == ["ab", "ac", "ba", "bc", "ca", "cb"]


def test_the_gateway_answers_in_its_own_scope(region: Region) -> None:
    region.scopes = {"n-s0": "x"}
    fabric = fabric_of(region)
    assert exchange.ping(fabric, "a", address("10.0.0.1")).succeeded
    assert not exchange.ping(fabric, "a", address("10.0.1.1")).succeeded
    assert exchange.ping(fabric, "b", address("10.0.2.1")).succeeded


def test_an_extra_route_is_one_of_the_scope_that_its_next_hop_is_in(region: Region) -> None:
    region.routes["r"] = {"172.20.0.0/16": {"10.0.1.20"}, "172.21.0.0/16": {"10.0.1.20", "10.0.0.10"}}
    assert [reached(region, name, "172.20.0.5") for name in ("a", "c")] == ["gw", "gw"]
    region.scopes = {"m-s0": "x", "o-s0": "x"}
    assert [reached(region, name, "172.20.0.5") for name in ("a", "c")] == [None, "gw"]
    assert reached(region, "c", "172.21.0.5") == "gw", "of next hops in several scopes each serves its own"
    assert reached(region, "a", "172.21.0.5") != "gw"


def test_a_trace_says_that_there_is_no_way_in_the_scope(region: Region) -> None:
    region.scopes = {"n-s0": "x"}
    found = trace(
        region.states(),
        port_id=PortId("a"),
        to_ip=region.ports["b"].ip,
        protocol="icmp",
        dst_port=0,
        icmp_type=8,
    )
    assert not found.delivered
    assert "in the same address scope" in found.decided_by
