"""What `alcor trace` says."""

import pytest

from alcor.contracts.convergence import TraceResult
from alcor.data_plane.simulated.trace import trace
from alcor.model import errors
from alcor.model.addressing import ip_from_text
from doubles.topology import ICMP, Region, two_tenants


def traced(region: Region, port_id: str, to_ip: str, protocol: str, dst_port: int = 0) -> TraceResult:
    return trace(
        region.states(), port_id=port_id, to_ip=ip_from_text(to_ip), protocol=protocol, dst_port=dst_port
    )


def test_a_delivered_packet_names_the_rules_that_allowed_it() -> None:
    result = traced(two_tenants(), "red-c0", "10.0.1.11", "tcp", 80)
    assert result.delivered
    assert result.to_port == "red-w1"
    assert "rule red-client-out of security group red-client" in result.decided_by
    assert "rule red-web-80 of security group red-web" in result.decided_by
    tables = [(step.host, step.table) for step in result.steps]
    assert tables[0] == ("h1", "classify")
    assert ("h1", "route") in tables
    assert tables[-1] == ("h2", "deliver")


def test_a_rule_about_an_address_group_is_named_with_it() -> None:
    region = two_tenants()
    region.set_addresses("friends", "10.0.0.0/24")
    del region.rules["red-web"]["red-web-80"]
    region.add_rule(
        "red-web", "red-web-friends", ingress=True, protocol=132, low=80, high=80, addresses="friends"
    )
    result = traced(region, "red-c0", "10.0.1.11", "sctp", 80)
    assert result.delivered
    assert "with addresses of friends by rule red-web-friends of security group red-web" in result.decided_by


def test_a_refused_packet_names_the_groups_that_do_not_allow_it() -> None:
    result = traced(two_tenants(), "red-c0", "10.0.1.11", "tcp", 91)
    assert not result.delivered
    expected = "no ingress rule of the security groups red-web of port red-w1 allows tcp/91 from 10.0.0.10"
    assert result.decided_by == expected


def test_a_port_in_no_group_is_told_so() -> None:
    region = two_tenants()
    region.ports["red-c0"].groups = ()
    decided = traced(region, "red-c0", "10.0.1.11", "tcp", 80).decided_by
    assert decided.startswith("port red-c0 is in no security group")


def test_a_missing_egress_rule_is_told() -> None:
    region = two_tenants()
    region.rules["red-client"] = {}
    region.add_rule("red-client", "ping-only", ingress=False, protocol=ICMP)
    decided = traced(region, "red-c0", "10.0.1.11", "udp", 53).decided_by
    assert decided == (
        "no egress rule of the security groups red-client of port red-c0 allows udp/53 to 10.0.1.11"
    )


def test_an_address_that_nobody_has_is_told() -> None:
    decided = traced(two_tenants(), "red-c0", "10.0.0.77", "icmp").decided_by
    assert decided == "nobody answers ARP for 10.0.0.77: nobody in this network has the address asked for"


def test_a_gateway_without_router_is_told() -> None:
    region = two_tenants()
    region.routers.clear()
    assert "the gateway 10.0.0.1" in traced(region, "red-c0", "10.0.1.11", "icmp").decided_by


def test_an_unknown_port_is_missing() -> None:
    with pytest.raises(errors.Missing):
        traced(two_tenants(), "nobody", "10.0.0.10", "icmp")


def test_an_unknown_protocol_is_invalid() -> None:
    with pytest.raises(errors.Invalid):
        traced(two_tenants(), "red-c0", "10.0.1.11", "gre")
