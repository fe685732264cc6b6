"""A port key is used again: what the old port had allowed does not count for the new one."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from ovs_scene import Scene, needs_ovs

from alcor.lab import namespaces, workload
from alcor.model.errors import Broken
from alcor.model.goal_state import NetworkChange, network_key
from alcor.model.ids import PortId
from doubles.topology import two_ports_of_one_key

pytestmark = [pytest.mark.ovs, needs_ovs]

SHARED, SERVER = "10.1.0.11", "10.1.0.12"
ASK = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5000))
s.sendto(b"question", ("{SERVER}", 6000))
"""
ANSWER = f"""
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 6000))
for _ in range(15):
    s.sendto(b"answer", ("{SHARED}", 5000))
    time.sleep(0.1)
"""
HEAR = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5000))
s.settimeout(1.0)
s.recv(100)
"""


FIRST, SECOND, KEY = two_ports_of_one_key()


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    """One host: a server, and a port that asked it something. Another group allows nothing at all."""
    async with Scene.in_lab(hosts=1) as scene:
        await scene.one_network()
        await scene.group("sealed")
        await scene.port("server", "red", SERVER, 0)
        await scene.port(FIRST, "red", SHARED, 0)
        await scene.plug("server", FIRST)
        yield scene


@pytest.mark.parametrize("agent_is_away", [False, True])
async def test_a_key_used_again_lets_nothing_of_the_old_port_through(scene: Scene, agent_is_away: bool) -> None:
    await scene.inside(FIRST, sys.executable, "-c", ASK)
    await forget_neighbours(scene)
    assert await hears_an_answer(scene, FIRST)
    assert "5000" in await connections(scene)
    await remove(scene, FIRST, agent_is_away=agent_is_away)
    async with asyncio.timeout(5.0):
        while await connections(scene):  # noqa: ASYNC110 - asks what is outside of this process
            await asyncio.sleep(0.02)
    await scene.port(SECOND, "red", SHARED, 0, groups=("sealed",))
    await scene.plug(SECOND)
    await forget_neighbours(scene)
    assert await recorded_key(scene) == str(KEY)
    assert not await hears_an_answer(scene, SECOND)


async def remove(scene: Scene, name: str, *, agent_is_away: bool) -> None:
    host = scene.hosts[0]
    change = NetworkChange(gone_ports=(PortId(name),), gone_placements=(PortId(name),))
    update = scene.update(host, network_key("red"), change)
    if agent_is_away:
        await host.driver.close()
    await asyncio.to_thread(workload.unplug, [scene.workloads[name]])
    if agent_is_away:
        section = host.state.sections[network_key("red")]
        section.apply(change)
        host.start_driver()
        await host.start()
    else:
        await host.apply(update)


async def connections(scene: Scene) -> str:
    """List what the switch remembers in the zone of the key."""
    return await asyncio.to_thread(scene.hosts[0].emulated.appctl, "dpctl/dump-conntrack", f"zone={KEY}")


async def recorded_key(scene: Scene) -> str:
    device = scene.workloads[SECOND].device
    command = ["--if-exists", "get", "interface", device, "external_ids:alcor-port-key"]
    for _ in range(100):
        found = (await asyncio.to_thread(scene.hosts[0].emulated.vsctl, command)).strip().strip('"')
        if found:
            return found
        await asyncio.sleep(0.02)
    return ""


async def hears_an_answer(scene: Scene, name: str) -> bool:
    """Let the server answer the question that the first port asked: does the port at its address hear it?"""
    answering = asyncio.create_task(scene.inside("server", sys.executable, "-c", ANSWER))
    try:
        await scene.inside(name, sys.executable, "-c", HEAR)
    except Broken as error:
        if "timed out" not in error.message:
            raise
        return False
    finally:
        await answering
    return True


async def forget_neighbours(scene: Scene) -> None:
    """The address has another MAC address from port to port."""
    await asyncio.to_thread(
        namespaces.batch, ["neigh flush all"], namespace=scene.workloads["server"].namespace
    )
