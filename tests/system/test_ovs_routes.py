"""Extra routes on Open vSwitch: real packets through a workload that forwards them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from ovs_scene import LEGS, Scene, needs_ovs

from alcor.lab import packets
from alcor.lab.packets import Probe

pytestmark = [pytest.mark.ovs, needs_ovs]

FAR = "172.20.0.5"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """a and b are behind the router; gw, on another host, forwards to far, which has an address of its own."""
    async with Scene.in_lab(hosts=2) as scene:
        await scene.two_networks()
        await scene.port("a", "green", "10.2.0.11", 0)
        await scene.port("b", "green", "10.2.0.12", 1)
        await scene.port("gw", "red", "10.1.0.20", 1, secured=False)
        await scene.port("far", "red", "10.1.0.30", 0, secured=False)
        await scene.plug("a", "b", "gw", "far")
        await scene.inside("gw", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        await scene.inside("gw", "ip", "route", "add", "172.20.0.0/16", "via", "10.1.0.30")
        await scene.inside("far", "ip", "addr", "add", f"{FAR}/32", "dev", "lo")
        await scene.serve(80)
        yield scene


async def reached(scene: Scene) -> list[bool]:
    far = scene.workloads["far"]
    asked = [
        Probe(scene.workloads[name], FAR, kind, port, far)  # type: ignore[arg-type]
        for name in ("a", "b")
        for kind, port in (("icmp", 0), ("tcp", 80))
    ]
    return await asyncio.to_thread(packets.probe_matrix, asked)


@pytest.mark.asyncio(loop_scope="module")
async def test_packets_take_the_route_through_a_forwarding_workload_while_there_is_one(scene: Scene) -> None:
    await scene.router("r", LEGS, [("172.20.0.0/16", "10.1.0.20")])
    assert await reached(scene) == [True] * 4
    before = await forwarded(scene)
    await scene.inside("a", "ping", "-c", "3", "-i", "0.1", "-W", "2", FAR)
    assert await forwarded(scene) >= before + 3, "by gw, and not around it"
    await scene.router("r", LEGS, [("172.20.0.0/16", "10.1.0.20"), (f"{FAR}/32", "10.1.0.99")])
    assert await reached(scene) == [False] * 4, "the longest prefix wins, and nobody is there"


async def forwarded(scene: Scene) -> int:
    """Count the packets that gw has passed on."""
    lines = (await scene.inside("gw", "cat", "/proc/net/snmp")).splitlines()
    names, values = (line.split() for line in lines if line.startswith("Ip:"))
    return int(values[names.index("ForwDatagrams")])
