"""Security groups by packets: state, revocation, tenancy of members."""

import pytest

from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.exchange import TcpConnection
from alcor.data_plane.simulated.fabric import Fabric
from alcor.model.goal_state import (
    GroupSection,
    NetworkChange,
    NetworkSection,
    SectionUpdate,
    group_key,
    network_key,
)
from alcor.model.version import Version
from doubles.simulated_region import fabric_of, one_network, syn
from doubles.topology import GRE, SCTP, TCP, Region, address, two_ports_of_one_key

SSH = 22


def follow_rules(fabric: Fabric, region: Region, group: str) -> None:
    """Bring the region's rules of a group to all hosts, as a delta would."""
    for host in region.hosts:
        state = region.state(host)
        if group_key(group) in state.sections:
            section = state.sections[group_key(group)]
            assert isinstance(section, GroupSection)
            update = SectionUpdate(group_key(group), None, Version(1, 2), section.full())
            fabric.host_named(host).follow(state, [update])


def test_revoking_a_rule_ends_the_connections_it_allowed() -> None:
    region = one_network()
    region.rules["open"].pop("open-True")
    region.add_rule("open", "open-ssh", ingress=True, protocol=TCP, low=SSH, high=SSH)
    fabric = fabric_of(region)
    connection = TcpConnection(fabric, "a", address("10.0.0.11"), SSH, 5000)
    assert connection.open().succeeded
    del region.rules["open"]["open-ssh"]
    follow_rules(fabric, region, "open")
    assert not connection.send().succeeded
    answer = connection.answer()
    assert not answer.succeeded
    assert answer.verdicts[-1].dropped_by == "the rule that allowed the connection was revoked"
    region.add_rule("open", "open-ssh", ingress=True, protocol=TCP, low=SSH, high=SSH)
    follow_rules(fabric, region, "open")
    assert connection.send().succeeded
    assert connection.answer().succeeded


def test_replies_need_no_rule_but_new_connections_do() -> None:
    region = one_network()
    region.rules["open"].pop("open-True")
    region.add_rule("server", "server-in", ingress=True)
    region.ports["b"].groups = ("server",)
    fabric = fabric_of(region)
    assert exchange.connect_tcp(fabric, "a", address("10.0.0.11"), 80).succeeded
    assert not exchange.connect_tcp(fabric, "b", address("10.0.0.10"), 80).succeeded


def test_a_segment_of_no_known_connection_is_dropped() -> None:
    region = one_network()
    region.rules["open"].pop("open-False")
    fabric = fabric_of(region)
    assert not fabric.inject("a", syn(region, "a", "b")).delivered


def test_a_port_without_groups_is_closed_both_ways() -> None:
    region = one_network()
    region.ports["b"].groups = ()
    fabric = fabric_of(region)
    assert not exchange.ping(fabric, "a", address("10.0.0.11")).succeeded
    assert not exchange.ping(fabric, "b", address("10.0.0.10")).succeeded


def test_one_more_member_costs_one_flow() -> None:
    region = one_network()
    region.rules["open"].pop("open-True")
    region.add_rule("open", "open-members", ingress=True, remote="open")
    region.add_port("c", "n-s0", 13, "h3")
    program = fabric_of(region).host_named("h1").engine().program
    region.ports["c"].groups = ("open",)
    state = region.state("h1")
    section = state.sections[network_key("n")]
    assert isinstance(section, NetworkSection)
    came = NetworkChange(set_placements=(section.placements["c"],))
    change = program.change(state, [SectionUpdate(network_key("n"), Version(1, 1), Version(1, 2), came)])
    assert [flow.key.table for flow in change.install] == [Table.INGRESS_RULES]
    assert change.remove == []


def stateless_pair(*, same_host: bool = False) -> Region:
    """Ports a and b, both in a stateless group that lets everything out, and web requests in."""
    region = one_network()
    for port in region.ports.values():
        port.groups = ("quick",)
        port.host = "h1" if same_host else port.host
    region.stateless.add("quick")
    region.add_rule("quick", "quick-out", ingress=False)
    region.add_rule("quick", "quick-web", ingress=True, protocol=TCP, low=80, high=80)
    return region


@pytest.mark.parametrize("same_host", [False, True])
def test_a_reply_to_a_stateless_port_needs_a_rule(same_host: bool) -> None:
    region = stateless_pair(same_host=same_host)
    connection = TcpConnection(fabric_of(region), "a", address("10.0.0.11"), 80, 5000)
    assert connection.send(is_opening=True).succeeded
    answer = connection.answer()
    assert not answer.succeeded
    assert answer.verdicts[-1].dropped_by == "no ingress rule of the security groups allows it"
    region.add_rule("quick", "quick-replies", ingress=True, protocol=TCP, low=1024, high=65535)
    assert TcpConnection(fabric_of(region), "a", address("10.0.0.11"), 80, 5000).open().succeeded


def test_a_stateless_port_is_not_tracked() -> None:
    region = stateless_pair()
    region.add_rule("quick", "quick-replies", ingress=True, protocol=TCP, low=1024, high=65535)
    fabric = fabric_of(region)
    connection = TcpConnection(fabric, "a", address("10.0.0.11"), 80, 5000)
    assert connection.send().succeeded, "a segment of no known connection is as good as any"
    assert all(host.engine().switch.conntrack.is_empty for host in map(fabric.host_named, region.hosts))


def test_what_a_stateful_sender_tracked_says_nothing_to_a_stateless_receiver_beside_it() -> None:
    region = stateless_pair(same_host=True)
    region.ports["b"].groups = ("open",)  # tracked, and on the host of a
    fabric = fabric_of(region)
    connection = TcpConnection(fabric, "a", address("10.0.0.11"), 80, 5000)
    assert connection.send(is_opening=True).succeeded
    assert not connection.answer().succeeded, "for b it is a reply, for a a packet that no rule allows"


def test_one_stateful_group_is_enough_to_track_a_port() -> None:
    region = stateless_pair()
    region.ports["a"].groups = ("open", "quick")
    region.rules["open"].pop("open-True")
    assert TcpConnection(fabric_of(region), "a", address("10.0.0.11"), 80, 5000).send(is_opening=True).succeeded
    assert exchange.connect_tcp(fabric_of(region), "a", address("10.0.0.11"), 80).succeeded


def test_a_stateless_group_without_rules_is_stateless_too() -> None:
    region = stateless_pair()
    region.stateless.add("bare")
    for port in region.ports.values():
        port.groups = ("bare", "quick")
    connection = TcpConnection(fabric_of(region), "a", address("10.0.0.11"), 80, 5000)
    assert connection.send(is_opening=True).succeeded
    assert not connection.answer().succeeded


def test_a_group_that_turns_stateless_changes_two_flows_a_port() -> None:
    region = stateless_pair()
    region.stateless.clear()
    fabric = fabric_of(region)
    assert exchange.connect_tcp(fabric, "a", address("10.0.0.11"), 80).succeeded
    region.stateless.add("quick")
    before = dict(fabric.host_named("h1").engine().program.flows)
    follow_rules(fabric, region, "quick")
    after = fabric.host_named("h1").engine().program.flows
    assert len(after.keys() - before.keys()) == 2
    assert not exchange.connect_tcp(fabric, "a", address("10.0.0.11"), 80, sport=6000).succeeded


def test_a_rule_about_an_address_group_is_about_its_addresses() -> None:
    region = one_network()
    region.rules["open"].pop("open-True")
    region.set_addresses("friends", "10.0.0.10/32", "192.0.2.0/24")
    region.add_rule("open", "open-friends", ingress=True, protocol=TCP, low=80, high=80, addresses="friends")
    fabric = fabric_of(region)
    assert exchange.connect_tcp(fabric, "a", address("10.0.0.11"), 80).succeeded
    assert not exchange.connect_tcp(fabric, "a", address("10.0.0.11"), 81).succeeded
    assert not exchange.connect_tcp(fabric, "b", address("10.0.0.10"), 80).succeeded
    region.set_addresses("friends")
    assert not exchange.connect_tcp(fabric_of(region), "a", address("10.0.0.11"), 80).succeeded


@pytest.mark.parametrize("protocol", [GRE, SCTP])
def test_any_protocol_is_allowed_by_its_rule_and_tracked(protocol: int) -> None:
    region = one_network()
    region.rules["open"].pop("open-True")
    fabric = fabric_of(region)
    assert not exchange.ask(fabric, "a", address("10.0.0.11"), protocol, 80).succeeded
    low = 80 if protocol == SCTP else None
    region.add_rule("server", "server-in", ingress=True, protocol=protocol, low=low, high=low)
    region.ports["b"].groups = ("server",)
    fabric = fabric_of(region)
    assert exchange.ask(fabric, "a", address("10.0.0.11"), protocol, 80).succeeded
    assert exchange.ask(fabric, "a", address("10.0.0.11"), protocol, 81).succeeded is (protocol == GRE)
    assert not exchange.ping(fabric, "a", address("10.0.0.11")).succeeded


def test_a_port_key_used_again_lets_nothing_of_the_old_port_through() -> None:
    first, second, key = two_ports_of_one_key()
    region = one_network()
    region.add_port(first, "n-s0", 20, "h1", "open")
    fabric = fabric_of(region)
    connection = TcpConnection(fabric, first, address("10.0.0.11"), 80, 5000)
    assert connection.open().succeeded
    fabric.host_named("h1").unplug(first)
    del region.ports[first]
    follow_network(fabric, region)
    region.add_port(second, "n-s0", 20, "h1")  # in no group: may receive nothing
    follow_network(fabric, region)
    fabric.host_named("h1").plug(second)
    assert fabric.host_named("h1").engine().program.port_key(second) == key
    answer = connection.answer()
    assert [verdict.delivered for verdict in answer.verdicts] == [()]
    assert answer.verdicts[-1].dropped_by == "not part of any connection"


def follow_network(fabric: Fabric, region: Region) -> None:
    for host in region.hosts:
        state = region.state(host)
        if network_key("n") in state.sections:
            update = SectionUpdate(
                network_key("n"), None, Version(1, 2), state.sections[network_key("n")].full()
            )
            fabric.host_named(host).follow(state, [update])
