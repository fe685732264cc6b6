"""What workloads see: ARP, spoofing, gateways, routing, TTL, plugs."""

from dataclasses import replace

import pytest

from alcor.data_plane import frames
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.simulated import dhcp_client, exchange, packet
from doubles.simulated_region import fabric_of, one_network, syn
from doubles.topology import Region, address, two_tenants

ROUTER_MAC_H1 = 0x02AC10000001


@pytest.fixture
def region() -> Region:
    return one_network()


def test_arp_is_answered_for_a_port_of_another_host(region: Region) -> None:
    asked = packet.arp_request(region.ports["a"].mac, address("10.0.0.10"), address("10.0.0.11"))
    [answer] = fabric_of(region).inject("a", asked).returned
    assert answer.fields == {
        Field.ETH_SRC: region.ports["b"].mac,
        Field.ETH_DST: region.ports["a"].mac,
        Field.ETH_TYPE: 0x0806,
        Field.ARP_OP: 2,
        Field.ARP_SPA: address("10.0.0.11"),
        Field.ARP_TPA: address("10.0.0.10"),
        Field.ARP_SHA: region.ports["b"].mac,
        Field.ARP_THA: region.ports["a"].mac,
    }


def test_a_probe_of_the_own_address_is_not_answered(region: Region) -> None:
    fabric = fabric_of(region)
    for own in (0, address("10.0.0.10")):
        verdict = fabric.inject("a", packet.arp_request(region.ports["a"].mac, own, address("10.0.0.10")))
        assert verdict.dropped_by == "address probe of port a"


def test_a_probe_of_another_ports_address_is_answered(region: Region) -> None:
    probe = packet.arp_request(region.ports["a"].mac, 0, address("10.0.0.11"))
    assert fabric_of(region).inject("a", probe).returned


def test_arp_in_the_name_of_another_is_dropped(region: Region) -> None:
    claim = packet.arp_request(region.ports["a"].mac, address("10.0.0.11"), address("10.0.0.12"))
    dropped_by = fabric_of(region).inject("a", claim).dropped_by
    assert dropped_by is not None
    assert "anti-spoofing" in dropped_by


@pytest.mark.parametrize("change", [{"IP_SRC": address("10.0.0.99")}, {"ETH_SRC": 0x020000000001}])
def test_a_packet_with_a_foreign_address_is_dropped(region: Region, change: dict[str, int]) -> None:
    fabric = fabric_of(region)
    assert fabric.inject("a", syn(region, "a", "b")).delivered
    dropped_by = fabric.inject("a", syn(region, "a", "b", **change)).dropped_by
    assert dropped_by is not None
    assert "anti-spoofing" in dropped_by


def test_without_port_security_any_address_may_be_sent(region: Region) -> None:
    region.ports["a"].security = False
    verdict = fabric_of(region).inject("a", syn(region, "a", "b", IP_SRC=address("10.0.0.99")))
    assert [delivery.port_id for delivery in verdict.delivered] == ["b"]


def test_ipv6_is_dropped(region: Region) -> None:
    assert not fabric_of(region).inject("a", syn(region, "a", "b", ETH_TYPE=0x86DD)).delivered


def test_a_port_that_is_down_neither_sends_nor_receives(region: Region) -> None:
    region.ports["b"].up = False
    fabric = fabric_of(region)
    assert not fabric.inject("a", syn(region, "a", "b")).delivered
    assert fabric.inject("b", syn(region, "b", "a")).dropped_by == "no workload is known at this port"


def test_a_workload_that_is_not_plugged_is_named_as_the_reason(region: Region) -> None:
    fabric = fabric_of(region)
    fabric.host_of("b").unplug("b")
    assert fabric.inject("a", syn(region, "a", "b")).dropped_by == "the workload of the port is not plugged"


def test_two_subnets_of_one_network_reach_each_other_through_a_router(region: Region) -> None:
    assert not exchange.ping(fabric_of(region), "a", address("10.0.1.12")).succeeded
    region.routers["r"] = {"n-s0", "n-s1"}
    assert exchange.ping(fabric_of(region), "a", address("10.0.1.12")).succeeded


def test_every_interface_of_the_router_answers_ping(region: Region) -> None:
    region.routers["r"] = {"n-s0", "n-s1"}
    fabric = fabric_of(region)
    assert exchange.ping(fabric, "a", address("10.0.0.1")).succeeded
    assert exchange.ping(fabric, "a", address("10.0.1.1")).succeeded
    assert not exchange.connect_tcp(fabric, "a", address("10.0.0.1"), 22).succeeded


def test_a_far_gateway_answers_ping_from_another_network() -> None:
    fabric = fabric_of(two_tenants())
    assert exchange.ping(fabric, "red-c0", address("10.0.1.1")).succeeded


def test_a_routed_packet_has_the_hosts_router_mac_and_one_less_to_live(region: Region) -> None:
    region.routers["r"] = {"n-s0", "n-s1"}
    result = exchange.ping(fabric_of(region), "a", address("10.0.1.12"))
    arrived = result.verdicts[0].delivered[0].packet
    assert arrived.fields[Field.ETH_SRC] == ROUTER_MAC_H1
    assert arrived.fields[Field.ETH_DST] == region.ports["far"].mac
    assert arrived.fields[Field.IP_TTL] == 63


def test_a_router_that_is_down_does_not_answer(region: Region) -> None:
    region.routers["r"] = {"n-s0", "n-s1"}
    region.down_routers = {"r"}
    assert not exchange.ping(fabric_of(region), "a", address("10.0.0.1")).succeeded


def test_an_expired_packet_is_handed_to_the_agent(region: Region) -> None:
    region.routers["r"] = {"n-s0", "n-s1"}
    fabric = fabric_of(region)
    sender = exchange.workload(fabric, "a")
    mac, _ = exchange.resolve(fabric, sender, address("10.0.1.12"))
    assert mac is not None
    expired = syn(region, "a", "far", IP_TTL=1, ETH_DST=mac)
    verdict = fabric.inject("a", expired)
    assert verdict.handed_over
    assert not verdict.delivered


def test_what_comes_from_the_tunnel_never_goes_back_into_it(region: Region) -> None:
    fabric = fabric_of(region)
    host = fabric.host_named("h1")
    passage = host.receive(syn(region, "a", "b"), tunnel_id=7)
    assert passage.emissions == ()


def test_a_host_makes_no_flows_before_its_first_packet(region: Region) -> None:
    fabric = fabric_of(region)
    fabric.inject("a", syn(region, "a", "b"))
    assert fabric.host_named("h2").is_running
    assert not fabric.host_named("h3").is_running


def test_a_workload_gets_its_address_by_dhcp(region: Region) -> None:
    lease = dhcp_client.acquire(fabric_of(region), "a")
    assert lease is not None
    assert lease.ip == region.ports["a"].ip
    assert lease.options[3] == region.subs["n-s0"].gateway


def test_an_expired_packet_is_answered_by_the_gateway(region: Region) -> None:
    region.routers["r"] = {"n-s0", "n-s1"}
    fabric = fabric_of(region)
    sender = exchange.workload(fabric, "a")
    mac, _ = exchange.resolve(fabric, sender, address("10.0.1.12"))
    assert mac is not None
    frame = bytearray(
        frames.udp_frame(
            eth_dst=mac,
            eth_src=sender.mac,
            source=region.ports["a"].ip,
            destination=region.ports["far"].ip,
            source_port=33434,
            destination_port=33435,
            payload=b"",
        )
    )
    frame[22] = 1
    expired = replace(syn(region, "a", "far", IP_TTL=1, ETH_DST=mac), frame=bytes(frame))
    [reply] = fabric.inject("a", expired).answers
    packet_back = frames.parse_ipv4(reply)
    assert packet_back is not None
    assert packet_back.source == region.subs["n-s0"].gateway
    assert packet_back.payload[0] == 11
