"""An address that two ports share, on Open vSwitch: real packets follow whoever announced it last."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from ovs_scene import Scene, needs_ovs

from alcor.data_plane import frames
from alcor.lab import packets
from alcor.lab.packets import Probe
from alcor.model.addressing import ip_from_text

pytestmark = [pytest.mark.ovs, needs_ovs]

SHARED = "10.1.0.100"
_SEND = "import socket,sys;s=socket.socket(17,3);s.bind(('eth0',0));s.send(bytes.fromhex(sys.argv[1]))"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """a and b, on two hosts, may have the shared address; c is beside b, d behind a router."""
    async with Scene.in_lab(hosts=2) as scene:
        await scene.two_networks()
        await scene.port("a", "red", "10.1.0.11", 0, pair=SHARED)
        await scene.port("b", "red", "10.1.0.12", 1, pair=SHARED)
        await scene.port("c", "red", "10.1.0.13", 1)
        await scene.port("d", "green", "10.2.0.14", 0)
        await scene.plug("a", "b", "c", "d")
        yield scene


async def pinged(scene: Scene, to_ip: str, *names: str) -> list[bool]:
    asked = [Probe(scene.workloads[name], to_ip, "icmp", 0) for name in names]
    return await asyncio.to_thread(packets.probe_matrix, asked)


async def announced(scene: Scene, name: str, on: int) -> None:
    """Say as a workload that the address is its own; wait until the driver tells of it."""
    own = ip_from_text(SHARED)
    frame = frames.arp_frame(mac=scene.macs[name], sender=own, target=own)
    events = scene.hosts[on].events
    events.announcements.clear()
    await scene.inside(name, sys.executable, "-c", _SEND, frame.hex())
    async with asyncio.timeout(10):
        while not events.announcements:
            events.changed.clear()
            await events.changed.wait()
    assert events.announcements[0] == (name, own)


@pytest.mark.asyncio(loop_scope="module")
async def test_packets_follow_whoever_announced_the_address_last(scene: Scene) -> None:
    await scene.inside("a", "ip", "addr", "add", f"{SHARED}/32", "dev", "eth0")
    assert await pinged(scene, SHARED, "c", "d") == [True, True]
    await scene.inside("a", "ip", "addr", "del", f"{SHARED}/32", "dev", "eth0")
    await scene.inside("b", "ip", "addr", "add", f"{SHARED}/32", "dev", "eth0")
    assert await pinged(scene, SHARED, "c", "d") == [False, False]
    before = await scene.inside("c", "ip", "neigh", "show", SHARED)
    await announced(scene, "b", on=1)
    await scene.hold_address("b", SHARED)
    assert await pinged(scene, SHARED, "c", "d") == [True, True]
    after = await scene.inside("c", "ip", "neigh", "show", SHARED)
    assert before.split("lladdr")[1].split()[0] == after.split("lladdr")[1].split()[0]
    await scene.inside("b", "ip", "addr", "del", f"{SHARED}/32", "dev", "eth0")
    await scene.inside("a", "ip", "addr", "add", f"{SHARED}/32", "dev", "eth0")
    await announced(scene, "a", on=0)
    await scene.hold_address("a", SHARED)
    assert await pinged(scene, SHARED, "c", "d") == [True, True]


@pytest.mark.asyncio(loop_scope="module")
async def test_only_addresses_of_the_pairs_may_be_sent_from(scene: Scene) -> None:
    for name, address, arrives in (("b", SHARED, True), ("b", "10.1.0.101", False), ("c", SHARED, False)):
        await scene.inside(name, "ip", "addr", "add", f"{address}/32", "dev", "eth0")
        if name == "b" and address == SHARED:
            await announced(scene, "b", on=1)
            await scene.hold_address("b", SHARED)
        try:
            await scene.inside(name, "ping", "-c", "1", "-W", "2", "-I", address, "10.2.0.14")
            came = True
        except Exception:  # noqa: BLE001 - any failure of ping is the answer
            came = False
        assert came == arrives, (name, address)
        await scene.inside(name, "ip", "addr", "del", f"{address}/32", "dev", "eth0")
