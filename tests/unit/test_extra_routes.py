"""Extra routes: which packets take them, and which a router may have."""

import pytest

from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.trace import trace
from alcor.management_plane.router import routes
from alcor.management_plane.router.joined import Joined
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_text
from alcor.model.ids import NetworkId, PortId, ProjectId, RouterId, SubnetId
from alcor.model.records import ExtraRoute, FixedIp, Port, Router, Subnet
from doubles.simulated_region import fabric_of, reached, sent
from doubles.topology import Region, address

FAR = "172.20.0.5"


@pytest.fixture
def region() -> Region:
    """Two networks and a router between them; `gw` and `gw2`, on other hosts than `a`, may forward."""
    region = Region()
    region.add_net("n", 7, "10.0.0.0/24")
    region.add_net("m", 8, "10.0.1.0/24")
    region.routers["r"] = {"n-s0", "m-s0"}
    for direction in (True, False):
        region.add_rule("open", f"open-{direction}", ingress=direction)
    region.add_port("a", "n-s0", 10, "h1", "open")
    region.add_port("b", "m-s0", 11, "h1", "open")
    region.add_port("gw", "m-s0", 20, "h2", security=False)
    region.add_port("gw2", "n-s0", 21, "h3", security=False)
    return region


def test_a_packet_goes_to_the_port_with_the_next_hop_whatever_its_destination(region: Region) -> None:
    assert reached(region, "a", FAR) is None
    region.routes["r"] = {"172.20.0.0/16": {"10.0.1.20"}}
    [delivery] = sent(fabric_of(region), "a", FAR).delivered
    assert delivery.port_id == "gw"
    fields = delivery.packet.fields
    assert (fields[Field.IP_DST], fields[Field.ETH_DST]) == (address(FAR), region.ports["gw"].mac)
    assert fields[Field.IP_TTL] == 63


def test_a_next_hop_may_be_beside_the_sender(region: Region) -> None:
    region.routes["r"] = {"172.20.0.0/16": {"10.0.0.21"}}
    assert reached(region, "a", FAR) == "gw2"


def test_the_longest_prefix_wins_and_a_subnet_goes_before_a_route_for_the_same(region: Region) -> None:
    region.routes["r"] = {
        "0.0.0.0/0": {"10.0.0.21"},
        "172.20.0.0/16": {"10.0.1.20"},
        "172.20.0.5/32": {"10.0.0.21"},
        "10.0.1.0/24": {"10.0.0.21"},
        "10.0.1.64/26": {"10.0.0.21"},
    }
    assert reached(region, "a", "172.20.0.6") == "gw"
    assert reached(region, "a", FAR) == "gw2"
    assert reached(region, "a", "9.9.9.9") == "gw2"
    assert reached(region, "a", "10.0.1.11") == "b", "a subnet of the router"
    assert reached(region, "a", "10.0.1.70") == "gw2", "a part of it"


def test_the_routers_own_addresses_are_never_forwarded(region: Region) -> None:
    region.routes["r"] = {"10.0.1.1/32": {"10.0.0.21"}}
    assert exchange.ping(fabric_of(region), PortId("a"), address("10.0.1.1")).succeeded


def test_next_hops_of_one_destination_share_its_senders(region: Region) -> None:
    region.routes["r"] = {"172.20.0.0/16": {"10.0.1.20", "10.0.0.21"}}
    region.ports["a"].security = False
    fabric = fabric_of(region)
    took = [
        sent(fabric, "a", FAR, IP_SRC=address("10.0.0.64") + number).delivered[0].port_id
        for number in range(64)
    ]
    assert took.count("gw") == took.count("gw2") == 32
    again = [
        sent(fabric, "a", FAR, IP_SRC=address("10.0.0.64") + number).delivered[0].port_id
        for number in range(64)
    ]
    assert again == took, "a sender's packets take one way"


def test_a_route_through_an_interface_that_is_not_there_leads_nowhere(region: Region) -> None:
    region.routes["r"] = {"172.20.0.0/16": {"10.0.1.20", "10.0.0.21"}}
    region.routers["r"] = {"n-s0"}
    assert reached(region, "a", FAR) == "gw2"
    region.down_routers.add("r")
    fabric = fabric_of(region)
    sender = exchange.workload(fabric, PortId("a"))
    assert exchange.resolve(fabric, sender, address(FAR))[0] is None


def test_a_next_hop_that_nobody_has_is_the_reason(region: Region) -> None:
    region.routes["r"] = {"172.20.0.0/16": {"10.0.1.99"}}
    verdict = sent(fabric_of(region), "a", FAR)
    assert verdict.dropped_by == "nobody in this network has the address"


def test_a_trace_names_the_route(region: Region) -> None:
    region.routes["r"] = {"172.20.0.0/16": {"10.0.1.20"}}
    result = trace(region.states(), port_id="a", to_ip=ip_from_text(FAR), protocol="udp", dst_port=53)
    assert result.to_port == "gw"
    [step] = [step for step in result.steps if step.table == "route"]
    assert step.rule == "route to 172.20.0.0/16 via 10.0.1.20 of router r"
    assert "set reg5 to 10.0.1.20" in step.action


PROJECT = ProjectId("blue")
ROUTER = Router(id=RouterId("r"), project_id=PROJECT)
SUBNET = Subnet(
    id=SubnetId("s"), project_id=PROJECT, network_id=NetworkId("n"), cidr=Cidr.from_text("10.0.0.0/24")
)
LEG = Port(
    id=PortId("leg"),
    project_id=PROJECT,
    network_id=NetworkId("n"),
    mac=1,
    fixed_ips=(FixedIp(SUBNET.id, ip_from_text("10.0.0.1")),),
)
JOINED = Joined((LEG,), {SUBNET.id: SUBNET})


def route(destination: str, next_hop: str) -> ExtraRoute:
    return ExtraRoute(tuple(Cidr.from_text(destination)), ip_from_text(next_hop))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("next_hop", "reason"),
    [("10.0.1.5", "not connected with router"), ("10.0.0.1", "used by router")],
)
def test_a_next_hop_that_cannot_be_is_refused(next_hop: str, reason: str) -> None:
    with pytest.raises(errors.Invalid, match=reason) as refused:
        routes.check(ROUTER, [route("172.20.0.0/16", next_hop)], JOINED)
    assert refused.value.reason == "InvalidRoutes"
    assert "{'destination': '172.20.0.0/16', 'nexthop'" in refused.value.message


def test_a_router_has_so_many_routes_at_most() -> None:
    many = [route(f"172.{number}.0.0/16", "10.0.0.5") for number in range(routes.ROUTES_MAX + 1)]
    routes.check(ROUTER, many[:-1], JOINED)
    with pytest.raises(errors.Invalid) as refused:
        routes.check(ROUTER, many, JOINED)
    assert refused.value.reason == "RoutesExhausted"


def test_routes_are_added_once_and_removed_if_they_are_there() -> None:
    one, other = route("172.20.0.0/16", "10.0.0.5"), route("172.20.0.0/16", "10.0.0.6")
    held = replace_routes(routes.added(ROUTER, [other, one]))
    assert held.routes == (one, other)
    assert routes.added(held, [one]) == (one, other)
    assert routes.removed(held, [one, route("1.0.0.0/8", "10.0.0.5")]) == (other,)


def test_an_interface_that_a_route_needs_stays() -> None:
    held = replace_routes((route("172.20.0.0/16", "10.0.0.5"),))
    with pytest.raises(errors.Conflict) as refused:
        routes.check_unused(held, [SUBNET])
    assert refused.value.reason == "RouterInterfaceInUseByRoute"
    routes.check_unused(ROUTER, [SUBNET])


def replace_routes(some: tuple[ExtraRoute, ...]) -> Router:
    return Router(id=ROUTER.id, project_id=PROJECT, routes=some)
