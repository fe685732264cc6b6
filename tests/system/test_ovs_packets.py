"""Two hosts with Open vSwitch, flows by the pipeline, real packets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from ovs_scene import OPEN, Scene, needs_ovs, rule

from alcor.lab import packets
from alcor.lab.packets import Probe
from alcor.model.goal_state import GroupChange, GroupSection, HostState, group_key
from alcor.model.ids import RuleId

pytestmark = [pytest.mark.ovs, needs_ovs]

TCP = 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """Network red (a, b, c) routed to green (d); blue has the same addresses as red; e and f are guarded."""
    async with Scene.in_lab(hosts=2) as scene:
        await scene.two_networks()
        await scene.network("blue", vni=200, cidr="10.1.0.0/24", gateway="10.1.0.1")
        await scene.group(
            "guarded",
            rule("web", ingress=True, protocol=TCP, ports=(80, 80), remote_group="friends"),
            rule("out", ingress=False),
        )
        await scene.port("a", "red", "10.1.0.11", 0, groups=(OPEN, "friends"))
        await scene.port("b", "red", "10.1.0.12", 0, options=((26, b"\x05\x14"),))
        await scene.port("c", "red", "10.1.0.13", 1)
        await scene.port("d", "green", "10.2.0.14", 1)
        await scene.port("e", "red", "10.1.0.15", 1, groups=("guarded",))
        await scene.port("x", "blue", "10.1.0.11", 0)
        await scene.port("y", "blue", "10.1.0.99", 1)
        await scene.plug("a", "b", "c", "d", "e", "x", "y")
        await scene.serve(80, 81)
        yield scene


async def reached(scene: Scene, *probes: tuple[str, str, str, int]) -> list[bool]:
    asked = [Probe(scene.workloads[name], to_ip, kind, port) for name, to_ip, kind, port in probes]  # type: ignore[arg-type]
    return await asyncio.to_thread(packets.probe_matrix, asked)


@pytest.mark.asyncio(loop_scope="module")
async def test_dhcp_gives_address_route_and_mtu(scene: Scene) -> None:
    assert "inet 10.1.0.11/24" in await scene.inside("a", "ip", "addr", "show", "eth0")
    assert "mtu 1450" in await scene.inside("a", "ip", "link", "show", "eth0")
    assert "default via 10.1.0.1" in await scene.inside("a", "ip", "route")
    assert "mtu 1300" in await scene.inside("b", "ip", "link", "show", "eth0"), "an option of the port's own"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_open_pairs_answer_and_only_they(scene: Scene) -> None:
    expected = {
        ("a", "10.1.0.12", "icmp", 0): True,  # same host
        ("a", "10.1.0.13", "icmp", 0): True,  # through the tunnel
        ("a", "10.1.0.13", "tcp", 80): True,
        ("a", "10.2.0.14", "icmp", 0): True,  # routed, through the tunnel
        ("d", "10.1.0.11", "tcp", 80): True,
        ("c", "10.2.0.14", "tcp", 80): True,  # routed on one host
        ("a", "10.1.0.1", "icmp", 0): True,  # the gateway
        ("a", "10.1.0.99", "icmp", 0): False,  # only the other tenant has it
        ("x", "10.1.0.99", "icmp", 0): True,
        ("x", "10.1.0.12", "icmp", 0): False,
        ("x", "10.2.0.14", "icmp", 0): False,  # no router
        ("a", "10.1.0.15", "tcp", 80): True,  # a is a friend
        ("a", "10.1.0.15", "tcp", 81): False,
        ("a", "10.1.0.15", "icmp", 0): False,
        ("b", "10.1.0.15", "tcp", 80): False,  # b is not
        ("e", "10.1.0.12", "tcp", 80): True,  # replies come back: the group is stateful
        ("e", "10.1.0.12", "icmp", 0): True,
    }
    verdicts = await reached(scene, *expected)
    assert dict(zip(expected, verdicts, strict=True)) == expected


@pytest.mark.asyncio(loop_scope="module")
async def test_a_packet_of_the_full_mtu_passes_the_tunnel(scene: Scene) -> None:
    await scene.inside("a", "ping", "-c", "1", "-W", "2", "-s", "1422", "-M", "do", "10.1.0.13")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_router_on_the_way_answers_an_expired_packet(scene: Scene) -> None:
    with pytest.raises(Exception, match="Time to live exceeded"):
        await scene.inside("a", "ping", "-c", "1", "-W", "2", "-t", "1", "10.2.0.14")


@pytest.mark.asyncio(loop_scope="module")
async def test_wrong_source_addresses_are_dropped(scene: Scene) -> None:
    await scene.inside("b", "ip", "addr", "add", "10.1.0.77/24", "dev", "eth0")
    with pytest.raises(Exception, match="100% packet loss"):
        await scene.inside("b", "ping", "-c", "2", "-i", "0.2", "-W", "1", "-I", "10.1.0.77", "10.1.0.11")
    await scene.inside("b", "ip", "link", "set", "eth0", "address", "02:aa:00:00:00:77")
    try:
        assert await reached(scene, ("b", "10.1.0.11", "icmp", 0)) == [False]
    finally:
        await scene.inside("b", "ip", "link", "set", "eth0", "address", "02:aa:00:00:00:02")
    assert await reached(scene, ("b", "10.1.0.11", "icmp", 0)) == [True]


@pytest.mark.asyncio(loop_scope="module")
async def test_every_protocol_is_allowed_by_its_number(scene: Scene) -> None:
    # igmp, ipip, egp, dccp, rsvp, gre, esp, ah, ospf, vrrp, pgm, sctp, udplite, and some without a name
    protocols = (2, 4, 8, 33, 46, 47, 50, 51, 89, 112, 113, 132, 136, 200, 254)
    allowed = protocols[::2]
    rules = tuple(rule(f"protocol-{number}", ingress=True, protocol=number) for number in allowed)
    await scene.everywhere(group_key("guarded"), GroupChange(set_rules=rules))
    asked = [Probe(scene.workloads["a"], "10.1.0.15", "ip", 80, protocol=number) for number in protocols]
    verdicts = await asyncio.to_thread(packets.probe_matrix, asked)
    assert [number for number, passed in zip(protocols, verdicts, strict=True) if passed] == list(allowed)
    gone = GroupChange(gone_rules=tuple(each.id for each in rules))
    await scene.everywhere(group_key("guarded"), gone)


@pytest.mark.asyncio(loop_scope="module")
async def test_revoking_a_rule_ends_established_connections(scene: Scene) -> None:
    workload = scene.workloads["a"]
    held = await asyncio.to_thread(workload.inside.hold, workload.namespace, "10.1.0.15", 80)
    assert held is not None
    assert await asyncio.to_thread(workload.inside.talk, held, timeout_s=3.0)
    await scene.everywhere(group_key("guarded"), GroupChange(gone_rules=(RuleId("web"),)))
    # The datapath's cache follows the flows within milliseconds: a word or two may still pass.
    words = [await asyncio.to_thread(workload.inside.talk, held, timeout_s=1.0) for _ in range(4)]
    assert words[-2:] == [False, False]
    assert await reached(scene, ("a", "10.1.0.15", "tcp", 80)) == [False]
    restored = rule("web", ingress=True, protocol=TCP, ports=(80, 80), remote_group="friends")
    await scene.everywhere(group_key("guarded"), GroupChange(set_rules=(restored,)))
    assert await reached(scene, ("a", "10.1.0.15", "tcp", 80)) == [True]


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_former_agent_left_is_there_until_the_state_is_complete(scene: Scene) -> None:
    assert await reached(scene, ("a", "10.1.0.15", "tcp", 80)) == [True]
    for host in scene.hosts:
        await host.driver.close()
        host.start_driver()
        await host.driver.start(host.events)
        await asyncio.wait_for(host.events.is_ready.wait(), 15.0)
        assert not await host.driver.synchronise(HostState(), remove=False)
        guarded = host.state.sections[group_key("guarded")]
        assert isinstance(guarded, GroupSection)
        del guarded.rules[RuleId("web")]
        assert not await host.driver.apply(host.state, host.state.full_updates())
        assert host.driver.holds_more
    assert await reached(scene, ("a", "10.1.0.15", "tcp", 80)) == [True], "in force on paper only"
    for host in scene.hosts:
        assert not await host.driver.synchronise(host.state, remove=True)
        assert not host.driver.holds_more
    assert await reached(scene, ("a", "10.1.0.15", "tcp", 80)) == [False]
    restored = rule("web", ingress=True, protocol=TCP, ports=(80, 80), remote_group="friends")
    await scene.everywhere(group_key("guarded"), GroupChange(set_rules=(restored,)))
    assert await reached(scene, ("a", "10.1.0.15", "tcp", 80)) == [True]
