"""Security groups by packets: state, revocation, tenancy of members."""

from test_simulated_forwarding import fabric_of, one_network, syn

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
from doubles.topology import TCP, Region, address, two_ports_of_one_key

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
