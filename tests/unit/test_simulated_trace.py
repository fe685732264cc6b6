"""What `alcor trace` says."""

import pytest

from alcor.contracts.convergence import TraceResult
from alcor.data_plane.simulated.trace import trace
from alcor.model import errors
from alcor.model.addressing import ip_from_text, ip_to_text
from doubles.topology import ICMP, Region, dual_stacked, two_tenants


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
    assert decided == "nobody answers ARP for 10.0.0.77: nobody in this network has the address"


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


def of_ipv6(region: Region, port_id: str) -> str:
    return ip_to_text(region.ports[port_id].also[0][1])


def test_the_address_says_the_ip_version_of_the_packet() -> None:
    region = dual_stacked(two_tenants())
    result = traced(region, "red-c0", of_ipv6(region, "red-w1"), "tcp", 80)
    assert (result.delivered, result.to_port) == (True, "red-w1")
    assert "rule red-client-out-v6 of security group red-client" in result.decided_by
    assert "rule red-web-80-v6 of security group red-web" in result.decided_by
    assert result.packet["ipv6_src"] == of_ipv6(region, "red-c0")
    assert result.packet["ipv6_dst"] == of_ipv6(region, "red-w1")


def test_an_extra_route_names_its_next_hop_as_people_write_it() -> None:
    region = dual_stacked(two_tenants())
    hop = of_ipv6(region, "red-w1")
    region.routes["red-r"] = {"2001:db8:9::/48": {hop}}
    result = traced(region, "red-c0", "2001:db8:9::1", "icmp")
    assert any(f"set xxreg2 to {hop}" in step.action for step in result.steps if step.table == "route")


def test_icmp_is_that_of_the_address_and_a_ping_unless_another_type_is_said() -> None:
    region = dual_stacked(two_tenants())
    result = traced(region, "red-c0", of_ipv6(region, "red-w1"), "icmp")
    assert result.delivered
    assert (result.packet["ip_proto"], result.packet["icmpv6_type"]) == (58, 128)
    region.rules["red-web"] = {}
    peer = of_ipv6(region, "red-c0")
    refused = "no ingress rule of the security groups red-web of port red-w1 allows {} from {}"
    assert traced(region, "red-c0", of_ipv6(region, "red-w1"), "icmp").decided_by == refused.format(
        "ping", peer
    )
    typed = trace(
        region.states(),
        port_id="red-c0",
        to_ip=ip_from_text(of_ipv6(region, "red-w1")),
        protocol="icmp",
        icmp_type=129,
    )
    assert typed.packet["icmpv6_type"] == 129
    assert typed.decided_by == "dropped in egress_rules: not part of any connection", "nobody asked"


def test_an_ipv6_address_that_nobody_has_is_told() -> None:
    region = dual_stacked(two_tenants())
    decided = traced(region, "red-c0", "2001:db8::77", "icmp").decided_by
    assert decided == (
        "nobody answers neighbour solicitations for 2001:db8::77: nobody in this network has the address"
    )
    region.routers.clear()
    assert "the gateway 2001:db8::1" in traced(region, "red-c0", "2001:db8:0:1::9", "icmp").decided_by


def test_a_port_without_an_address_of_the_version_sends_nothing() -> None:
    result = traced(two_tenants(), "red-c0", "2001:db8::1", "icmp")
    assert not result.delivered
    assert result.decided_by == "port red-c0 has no IPv6 address to send from"
