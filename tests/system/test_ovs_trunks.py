"""Trunks on Open vSwitch: real frames under VLAN tags, from and to sub-ports."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from ovs_scene import Scene, needs_ovs, rule
from region_scene import eventually

from alcor.data_plane import frames
from alcor.data_plane.pipeline import tables
from alcor.lab import packets
from alcor.lab.packets import Probe
from alcor.model.addressing import ip_from_text
from alcor.model.goal_state import NetworkChange, network_key
from alcor.model.ids import PortId

pytestmark = [pytest.mark.ovs, needs_ovs, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """p (red) has sub-ports s and t (green) and u (red); x (green) is beside it, y (green) on another host."""
    async with Scene.in_lab(hosts=2) as scene:
        await scene.two_networks()
        await scene.group("web", rule("80", ingress=True, protocol=6, ports=(80, 80)), rule("o", ingress=False))
        await scene.port("p", "red", "10.1.0.10", 0)
        await scene.port("s", "green", "10.2.0.11", 0, tag=("p", 100))
        await scene.port("t", "green", "10.2.0.12", 0, groups=("web",), tag=("p", 200))
        await scene.port("u", "red", "10.1.0.13", 0, tag=("p", 300))
        await scene.port("x", "green", "10.2.0.14", 0)
        await scene.port("y", "green", "10.2.0.15", 1)
        assert "s" not in scene.hosts[0].events.plugs, "its parent is not plugged"
        await scene.plug("p", "x", "y")
        await scene.hosts[0].events.until_plugged(["s", "t", "u"])
        for name, vlan in (("s", 100), ("t", 200), ("u", 300)):
            await scene.plug_tagged(name, "p", vlan)
        await scene.serve(80, 81)
        yield scene


Question = tuple[str, str, str, int]
ADDRESSES = {
    "p": "10.1.0.10",
    "s": "10.2.0.11",
    "t": "10.2.0.12",
    "u": "10.1.0.13",
    "x": "10.2.0.14",
    "y": "10.2.0.15",
}


async def asked(scene: Scene, expected: dict[Question, bool]) -> dict[Question, bool]:
    probes = [
        Probe(scene.workloads[name], ADDRESSES[peer], kind, port, scene.workloads[peer])  # type: ignore[arg-type]
        for name, peer, kind, port in expected
    ]
    return dict(zip(expected, await asyncio.to_thread(packets.probe_matrix, probes), strict=True))


async def test_sub_ports_get_their_addresses_by_dhcp(scene: Scene) -> None:
    for name in "stu":
        assert f"inet {ADDRESSES[name]}/24" in await scene.inside(name, "ip", "addr", "show", "eth0")
    assert "10.2.0." not in await scene.inside("p", "ip", "addr")


async def test_sub_ports_and_others_reach_whom_they_should(scene: Scene) -> None:
    expected: dict[Question, bool] = {
        ("s", "x", "icmp", 0): True,  # same host
        ("s", "y", "tcp", 80): True,  # through the tunnel
        ("y", "s", "icmp", 0): True,
        ("x", "s", "tcp", 81): True,
        ("s", "t", "tcp", 80): True,  # back into the workload that it came from
        ("s", "t", "tcp", 81): False,  # its group lets in nothing else
        ("y", "t", "icmp", 0): False,
        ("t", "s", "icmp", 0): True,  # replies come back
        ("t", "y", "tcp", 81): True,
        ("p", "u", "icmp", 0): True,  # parent and sub-port of one network
        ("u", "p", "tcp", 80): True,
        ("p", "s", "tcp", 80): True,  # routed, and back
        ("u", "y", "icmp", 0): True,
        ("p", "y", "icmp", 0): True,
    }
    assert await asked(scene, expected) == expected
    await scene.inside("s", "ping", "-c", "1", "-W", "2", "10.2.0.1")
    await scene.inside("s", "ping", "-c", "1", "-W", "2", "-s", "1422", "-M", "do", "10.2.0.15")


async def test_frames_under_unknown_tags_and_from_foreign_addresses_are_dropped(scene: Scene) -> None:
    ends = {"eth_dst": scene.macs["y"], "eth_src": scene.macs["s"]}
    addresses = {"source": ip_from_text(ADDRESSES["s"]), "destination": ip_from_text(ADDRESSES["y"])}
    echo = frames.ipv4_frame(**ends, **addresses, protocol=1, payload=bytes([8, 0, 0xF7, 0xFF, 0, 0, 0, 0]))
    for vlan in (101, 0):
        before = await dropped(scene)
        await scene.inside("p", sys.executable, "-c", _SEND, frames.tagged(echo, vlan).hex())

        async def is_counted(before: int = before) -> bool:
            return await dropped(scene) > before

        await eventually(is_counted, f"a frame under VLAN {vlan} is dropped")
    await scene.inside("t", "ip", "addr", "add", "10.2.0.99/24", "dev", "eth0")
    try:
        with pytest.raises(Exception, match="100% packet loss"):
            await scene.inside("t", "ping", "-c", "1", "-W", "1", "-I", "10.2.0.99", ADDRESSES["y"])
    finally:
        await scene.inside("t", "ip", "addr", "del", "10.2.0.99/24", "dev", "eth0")


_SEND = "import socket,sys;s=socket.socket(17,3);s.bind(('eth0',0));s.send(bytes.fromhex(sys.argv[1]))"


async def dropped(scene: Scene) -> int:
    """Count the frames dropped because of their tag."""
    ofctl = scene.hosts[0].emulated.ofctl
    text = await asyncio.to_thread(ofctl, "dump-flows", "table=0", statistics=True)
    [line] = [line for line in text.splitlines() if f"priority={tables.CLASSIFY_TAGGED}," in line]
    return int(line.partition("n_packets=")[2].partition(",")[0])


async def test_a_new_driver_keeps_keys_and_connections_of_sub_ports(scene: Scene) -> None:
    host = scene.hosts[0]
    hold = scene.workloads["s"].inside.hold
    held = await asyncio.to_thread(hold, scene.workloads["s"].namespace, ADDRESSES["y"], 80)
    assert held is not None

    async def recorded() -> bool:
        text = await asyncio.to_thread(host.emulated.vsctl, ["--columns=external_ids", "list", "interface"])
        return text.count("alcor-port-key:") == 3

    await eventually(recorded, "keys of sub-ports are on record")
    before = await asyncio.to_thread(host.emulated.ofctl, "dump-flows")
    await host.driver.close()
    host.start_driver()
    await host.start()
    assert await asyncio.to_thread(host.emulated.ofctl, "dump-flows") == before
    assert host.events.plugs == {"p", "s", "t", "u", "x"}
    assert await asyncio.to_thread(scene.workloads["s"].inside.talk, held, timeout_s=3.0)


async def test_a_sub_port_that_is_taken_away_is_unplugged_and_reaches_nobody(scene: Scene) -> None:
    host = scene.hosts[0]
    gone = NetworkChange(gone_ports=(PortId("s"),), gone_placements=(PortId("s"),))
    await host.apply(scene.update(host, network_key("green"), gone))
    assert "s" not in host.events.plugs
    expected: dict[Question, bool] = {("s", "y", "icmp", 0): False, ("t", "y", "icmp", 0): True}

    async def is_so() -> bool:
        return await asked(scene, expected) == expected

    await eventually(is_so, "s reaches nobody")  # the switch may go by what it has cached for a moment
