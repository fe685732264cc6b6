"""What a workload may send of IPv6, and who answers it: discovery, spoofing, gateways, routes."""

from dataclasses import replace

import msgspec
import pytest

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline.flow import Field, FlowKey, Term
from alcor.data_plane.pipeline.matching import ICMPV6, IP_VERSIONS, IPV6, TCP, UDP
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.simulated import exchange, packet
from alcor.data_plane.simulated.fabric import Verdict
from alcor.data_plane.simulated.packet import Packet
from alcor.data_plane.simulated.switch import Switch
from alcor.model.addressing import Cidr, ip_from_text, ip_to_int, link_local_ip
from alcor.model.goal_state import (
    HostState,
    RouterChange,
    RouterInterface,
    SectionUpdate,
    apply_change,
    empty_section_for,
    network_key,
    router_key,
)
from alcor.model.ids import HostId, NetworkId, PortId, Vni
from alcor.model.records import AddressPair
from alcor.model.version import Version
from doubles.simulated_region import fabric_of
from doubles.topology import Region, address, numbered

ROUTER_MAC_H1 = 0x02AC10000001
ALL_NODES_MAC = 0x333300000001
A, B, FAR, GATEWAY = "2001:db8::10", "2001:db8::11", "2001:db8:0:1::12", "2001:db8::1"
ROUTER = "workloads advertise no routers"


@pytest.fixture
def region() -> Region:
    """Ports that may do anything, on two hosts; one of them in another subnet behind a router."""
    region = Region()
    region.add_net("n", 7, "2001:db8::/64", "2001:db8:0:1::/64")
    for direction in (True, False):
        region.add_rule("open", f"open-{direction}", ingress=direction, ethertype=6)
    region.add_port("a", "n-s0", 0x10, "h1", "open")
    region.add_port("b", "n-s0", 0x11, "h2", "open")
    region.add_port("far", "n-s1", 0x12, "h2", "open")
    region.routers["r"] = {"n-s0", "n-s1"}
    return region


def router_mac(region: Region) -> int:
    [section] = [each for key, each in region.state("h1").sections.items() if key.startswith("router:")]
    return next(leg.mac for leg in section.interfaces.values() if leg.ip == ip_from_text(GATEWAY))


def sent(region: Region, protocol: int, to_mac: int, from_ip: str, to_ip: str, **more: int) -> Packet:
    ends = (address(from_ip), address(to_ip))
    return packet.ip(IPV6, (region.ports["a"].mac, to_mac), ends, protocol, **more)


def changed(made: Packet, **fields: int) -> Packet:
    return replace(made, fields={**made.fields, **{Field[name]: value for name, value in fields.items()}})


def local_of(region: Region, port_id: str) -> int:
    return ip_to_int(link_local_ip(region.ports[port_id].mac))


class TestSolicitations:
    @pytest.mark.parametrize("source", [A, "fe80::1234", "own"])
    def test_are_answered_for_a_port_of_another_host(self, region: Region, source: str) -> None:
        mac = region.ports["a"].mac
        own = local_of(region, "a") if source == "own" else address(source)
        [answer] = fabric_of(region).inject("a", packet.neighbour_solicitation(mac, own, address(B))).returned
        said = {name: answer.fields[name] for name in (Field.ND_TLL, Field.ND_TARGET, Field.ICMPV6_TYPE)}
        far = region.ports["b"].mac
        assert said == {Field.ND_TLL: far, Field.ND_TARGET: address(B), Field.ICMPV6_TYPE: 136}
        assert (answer.fields[Field.ETH_SRC], answer.fields[Field.ETH_DST]) == (far, mac)
        assert (answer.fields[Field.IPV6_SRC], answer.fields[Field.IPV6_DST]) == (address(B), own)
        assert answer.fields[Field.ND_RESERVED] == 0x60000000, "solicited, override"
        assert answer.fields[Field.ND_OPTIONS_TYPE] == 2
        assert answer.fields[Field.IP_TTL] == 255

    def test_for_a_gateway_are_answered_by_a_router(self, region: Region) -> None:
        mac = router_mac(region)
        for asked in (GATEWAY, link_local_ip(mac)):
            target = ip_to_int(asked) if isinstance(asked, bytes) else address(asked)
            question = packet.neighbour_solicitation(region.ports["a"].mac, address(A), target)
            [answer] = fabric_of(region).inject("a", question).returned
            assert answer.fields[Field.ND_TLL] == mac
            assert answer.fields[Field.ND_RESERVED] == 0xE0000000, "router, solicited, override"

    def test_whether_an_address_is_a_duplicate_are_answered_to_all(self, region: Region) -> None:
        probe = packet.neighbour_solicitation(region.ports["a"].mac, 0, address(B))
        [answer] = fabric_of(region).inject("a", probe).returned
        assert answer.fields[Field.IPV6_DST] == address("ff02::1")
        assert answer.fields[Field.ND_RESERVED] == 0x20000000, "solicited by nobody"

    @pytest.mark.parametrize("secured", [True, False])
    def test_for_the_own_address_are_dropped(self, region: Region, secured: bool) -> None:
        region.ports["a"].security = secured
        for own in (0, address(A)):
            question = packet.neighbour_solicitation(region.ports["a"].mac, own, address(A))
            assert fabric_of(region).inject("a", question).dropped_by == "address probe of port a"

    def test_for_the_own_link_local_address_find_no_duplicate(self, region: Region) -> None:
        probe = packet.neighbour_solicitation(region.ports["a"].mac, 0, local_of(region, "a"))
        assert fabric_of(region).inject("a", probe).dropped_by == "nobody in this network has the address"

    @pytest.mark.parametrize(
        "change", [{"IPV6_SRC": address(B)}, {"ETH_SRC": 0x020000000001}, {"IP_TTL": 64}, {"ICMPV6_CODE": 1}]
    )
    def test_in_the_name_of_another_or_forwarded_are_dropped(
        self, region: Region, change: dict[str, int]
    ) -> None:
        question = packet.neighbour_solicitation(region.ports["a"].mac, address(A), address(B))
        dropped_by = fabric_of(region).inject("a", changed(question, **change)).dropped_by
        assert dropped_by is not None
        assert dropped_by.startswith("anti-spoofing")

    def test_in_any_name_are_answered_without_port_security(self, region: Region) -> None:
        region.ports["a"].security = False
        question = packet.neighbour_solicitation(0x020000000001, address(FAR), address(B))
        assert fabric_of(region).inject("a", question).returned


class TestWhatTheAgentAnswers:
    @pytest.mark.parametrize("secured", [True, False])
    @pytest.mark.parametrize("source", ["::", "fe80::1234", A])
    def test_router_solicitations(self, region: Region, source: str, secured: bool) -> None:
        region.ports["a"].security = secured
        for limit, is_heard in ((255, True), (64, False)):
            asks = sent(
                *(region, ICMPV6, 0x333300000002, source, "ff02::2"),
                icmpv6_type=133,
                icmpv6_code=0,
                ip_ttl=limit,
            )
            assert fabric_of(region).inject("a", asks).handed_over is is_heard

    @pytest.mark.parametrize("secured", [True, False])
    @pytest.mark.parametrize("source", ["fe80::1234", A])
    def test_dhcpv6(self, region: Region, source: str, secured: bool) -> None:
        region.ports["a"].security = secured
        asks = sent(region, UDP, 0x333300010002, source, "ff02::1:2", udp_src=546, udp_dst=547)
        assert fabric_of(region).inject("a", asks).handed_over
        claims = sent(region, UDP, 0x333300010002, source, "ff02::1:2", udp_src=547, udp_dst=546)
        assert fabric_of(region).inject("a", claims).dropped_by == "multicast is not carried"

    def test_not_under_another_mac_address(self, region: Region) -> None:
        asks = sent(region, ICMPV6, 0x333300000002, "::", "ff02::2", icmpv6_type=133, icmpv6_code=0, ip_ttl=255)
        assert not fabric_of(region).inject("a", changed(asks, ETH_SRC=0x020000000001)).handed_over

    def test_a_packet_that_may_not_be_forwarded_once_more(self, region: Region) -> None:
        last = sent(region, TCP, router_mac(region), A, FAR, tcp_src=1, tcp_dst=2, ip_ttl=1)
        assert fabric_of(region).inject("a", last).handed_over


class TestWhatNobodyMaySend:
    @pytest.mark.parametrize("secured", [True, False])
    @pytest.mark.parametrize("kind", [134, 136, 137])
    @pytest.mark.parametrize("source", [A, "own"])
    def test_discovery_that_speaks_for_the_network(
        self, region: Region, kind: int, source: str, secured: bool
    ) -> None:
        region.ports["a"].security = secured
        own = "fe80::1" if source == "own" else source
        for to_mac, to_ip in ((ALL_NODES_MAC, "ff02::1"), (region.ports["b"].mac, B)):
            says = sent(region, ICMPV6, to_mac, own, to_ip, icmpv6_type=kind, icmpv6_code=0, ip_ttl=255)
            says = changed(says, ND_TARGET=address(B), ND_TLL=region.ports["a"].mac) if kind == 136 else says
            dropped_by = fabric_of(region).inject("a", says).dropped_by
            assert dropped_by is not None
            assert dropped_by.startswith("anti-spoofing")

    def test_multicast(self, region: Region) -> None:
        says = sent(region, UDP, 0x3333000000FB, A, "ff02::fb", udp_src=5353, udp_dst=5353)
        assert fabric_of(region).inject("a", says).dropped_by == "multicast is not carried"

    @pytest.mark.parametrize("change", [{"IPV6_SRC": address(B)}, {"ETH_SRC": 0x020000000001}])
    def test_a_packet_with_a_foreign_address(self, region: Region, change: dict[str, int]) -> None:
        made = sent(region, TCP, region.ports["b"].mac, A, B, tcp_src=1, tcp_dst=2)
        assert fabric_of(region).inject("a", made).delivered
        dropped_by = fabric_of(region).inject("a", changed(made, **change)).dropped_by
        assert dropped_by is not None
        assert dropped_by.startswith("anti-spoofing")

    def test_without_port_security_any_address_may_be_sent(self, region: Region) -> None:
        region.ports["a"].security = False
        made = sent(region, TCP, region.ports["b"].mac, "2001:db8:ffff::1", B, tcp_src=1, tcp_dst=2)
        assert [each.port_id for each in fabric_of(region).inject("a", made).delivered] == ["b"]

    def test_a_port_without_ipv6_address_sends_none(self, region: Region) -> None:
        region.add_net("four", 9, "10.0.0.0/24")
        region.add_port("four", "four-s0", 10, "h1", "open")
        question = packet.neighbour_solicitation(region.ports["four"].mac, 0, address(B))
        assert fabric_of(region).inject("four", question).dropped_by is not None


class TestGateways:
    def test_answer_ping_at_both_of_their_addresses(self, region: Region) -> None:
        fabric = fabric_of(region)
        local = link_local_ip(router_mac(region))
        for target in (GATEWAY, "2001:db8:0:1::1"):
            assert exchange.ping(fabric, "a", ip_from_text(target)).succeeded
        assert exchange.ping(fabric, "a", local).succeeded
        assert not exchange.connect_tcp(fabric, "a", ip_from_text(GATEWAY), 22).succeeded

    @pytest.mark.parametrize("target", [GATEWAY, "own"])
    def test_answer_ping_from_a_link_local_address(self, region: Region, target: str) -> None:
        mac = router_mac(region)
        to_ip = ip_to_int(link_local_ip(mac)) if target == "own" else address(target)
        [answer] = ping_from_link_local(region, mac, to_ip).returned
        assert answer.fields[Field.ICMPV6_TYPE] == 129
        assert answer.fields[Field.IPV6_DST] == local_of(region, "a")
        assert answer.fields[Field.IPV6_SRC] == to_ip
        assert answer.fields[Field.ETH_SRC] == ROUTER_MAC_H1

    def test_forward_nothing_from_a_link_local_address(self, region: Region) -> None:
        verdict = ping_from_link_local(region, router_mac(region), address(FAR))
        assert verdict.dropped_by == "link-local addresses are not routed"
        beside = ping_from_link_local(region, region.ports["b"].mac, address(B))
        assert beside.dropped_by == "from a link-local address to the gateway only"

    def test_lead_to_another_subnet_with_one_less_to_live(self, region: Region) -> None:
        result = exchange.ping(fabric_of(region), "a", ip_from_text(FAR))
        assert result.succeeded
        arrived = result.verdicts[0].delivered[0].packet
        assert arrived.fields[Field.ETH_SRC] == ROUTER_MAC_H1
        assert arrived.fields[Field.ETH_DST] == region.ports["far"].mac
        assert arrived.fields[Field.IP_TTL] == 63

    def test_of_a_router_that_is_down_do_not_answer(self, region: Region) -> None:
        region.down_routers = {"r"}
        assert not exchange.ping(fabric_of(region), "a", ip_from_text(GATEWAY)).succeeded
        assert not exchange.ping(fabric_of(region), "a", ip_from_text(FAR)).succeeded

    def test_lead_by_an_extra_route_to_its_next_hop(self, region: Region) -> None:
        region.routes["r"] = {"2001:db8:9::/48": {FAR}}
        made = sent(region, TCP, router_mac(region), A, "2001:db8:9::1", tcp_src=1, tcp_dst=2)
        region.ports["far"].security = False
        [delivery] = fabric_of(region).inject("a", made).delivered
        assert delivery.port_id == "far"


def ping_from_link_local(region: Region, to_mac: int, to_ip: int) -> Verdict:
    ends = (local_of(region, "a"), to_ip)
    macs = (region.ports["a"].mac, to_mac)
    asks = packet.ip(IPV6, macs, ends, ICMPV6, icmpv6_type=128, icmpv6_code=0)
    return fabric_of(region).inject("a", asks)


def test_both_versions_go_side_by_side() -> None:
    region = Region()
    region.add_net("n", 7, "10.0.0.0/24", "2001:db8::/64", "10.0.1.0/24", "2001:db8:0:1::/64")
    region.routers["r"] = set(region.subs)
    for version in (4, 6):
        for direction in (True, False):
            region.add_rule("open", f"open-{version}-{direction}", ingress=direction, ethertype=version)
    region.add_port("a", "n-s0", 10, "h1", "open", also=["n-s1"])
    region.add_port("b", "n-s2", 11, "h2", "open", also=["n-s3"])
    fabric = fabric_of(region)
    assert exchange.connect_tcp(fabric, "a", ip_from_text("10.0.1.11"), 80).succeeded
    assert exchange.connect_tcp(fabric, "a", ip_from_text("2001:db8:0:1::b"), 80).succeeded
    assert exchange.ping(fabric, "a", ip_from_text("2001:db8:0:1::b")).succeeded


def test_a_leg_with_several_subnets_answers_for_as_long_as_it_has_one() -> None:
    """The subnets of a leg share its MAC address, so its link-local address and the way into the router."""
    prefixes = ("2001:db8::/64", "2001:db8:0:1::/64", "10.0.0.0/24")
    legs = {}
    for text in prefixes:
        cidr = Cidr.from_text(text)
        legs[cidr] = RouterInterface(
            PortId("leg"), NetworkId("n"), Vni(7), tuple(cidr), numbered(cidr, 1), 0x02BB00000001
        )
    facts, state = HostFacts(HostId("h"), bytes([172, 16, 0, 1]), ROUTER_MAC_H1), HostState()
    program, switch = FlowProgram(facts, 1), Switch(lambda: 0.0)
    switch.apply(program.base())
    key, version = router_key("r"), 0

    def change(*came: Cidr, gone: tuple[Cidr, ...] = ()) -> None:
        nonlocal version
        version += 1
        made = RouterChange(
            set_interfaces=tuple(legs[each] for each in came),
            gone_interfaces=tuple((PortId("leg"), tuple(each)) for each in gone),
        )
        state.sections.setdefault(key, empty_section_for(made))
        apply_change(state.sections[key], made)
        base = Version(1, version - 1) if version > 1 else None
        switch.apply(program.change(state, [SectionUpdate(key, base, Version(1, version), made)]))
        fresh = FlowProgram(facts, 1)
        fresh.replace(state)
        assert dict(program.flows) == dict(fresh.flows)
        assert {flow.key for flow in switch.flows()} == program.flows.keys()

    first, second, four = legs
    enter = {
        FlowKey(Table.FORWARD, 100, (Term(Field.ETH_DST, 0x02BB00000001), each.is_ip, Term(Field.REG0, 7)))
        for each in IP_VERSIONS
    }
    change(*legs)
    assert enter <= program.flows.keys()
    assert program.mac_of(7, link_local_ip(0x02BB00000001)) == 0x02BB00000001
    change(gone=(first,))
    assert program.mac_of(7, link_local_ip(0x02BB00000001)) == 0x02BB00000001
    assert program.mac_of(7, numbered(first, 1)) is None
    change(first, gone=(second,))
    assert enter <= program.flows.keys()
    change(gone=(first,))
    assert program.mac_of(7, link_local_ip(0x02BB00000001)) is None
    assert program.mac_of(7, numbered(four, 1)) == 0x02BB00000001
    assert len(enter & program.flows.keys()) == 1


def test_a_pair_with_a_gateways_address_does_not_take_it(region: Region) -> None:
    local = link_local_ip(router_mac(region))
    pair = (
        AddressPair(region.ports["a"].mac, local, 128),
        AddressPair(region.ports["a"].mac, ip_from_text(GATEWAY), 128),
    )
    for host in ("h1", "h2"):
        facts, state = region.facts(host), region.state(host)
        held = state.sections[network_key("n")].placements
        held["a"] = msgspec.structs.replace(held["a"], pairs=pair)
        program = FlowProgram(facts, 1)
        program.replace(state)
        assert program.mac_of(7, local) == program.mac_of(7, ip_from_text(GATEWAY)) == router_mac(region), host
        wanted = [flow.key for flow in program.wanted()]
        assert len(wanted) == len(set(wanted)), "one flow for each key"


def test_an_error_about_a_connection_passes_and_one_about_none_does_not(region: Region) -> None:
    region.rules["open"].pop("open-True")
    fabric = fabric_of(region)
    mac_a, mac_b = region.ports["a"].mac, region.ports["b"].mac
    asked = packet.ip(IPV6, (mac_a, mac_b), (address(A), address(B)), UDP, udp_src=1000, udp_dst=9)
    error = packet.ip(IPV6, (mac_b, mac_a), (address(B), address(A)), ICMPV6, icmpv6_type=1, icmpv6_code=4)
    region.ports["b"].security = False
    fabric = fabric_of(region)
    assert not fabric.inject("b", replace(error, quoted=asked)).delivered
    assert fabric.inject("a", asked).delivered
    assert [each.port_id for each in fabric.inject("b", replace(error, quoted=asked)).delivered] == ["a"]
