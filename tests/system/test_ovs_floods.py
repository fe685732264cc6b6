"""A flood of one tenant's packets for the agent costs no other tenant a single one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import raw_packets
from asking_scene import Scene
from ovs_scene import needs_ovs

from alcor.lab.laboratory import Laboratory

pytestmark = [pytest.mark.ovs, needs_ovs]

FLOODERS = ("f1", "f2", "f3", "f4")
FLOOD_S = 8.0
WAIT_S = "3.0"  # for an answer: lost, not late, is what this asks, and each question is asked once
STARTING_S = 2.0  # interpreters start, and the first batches are made
KINDS = ("arp", "dhcp", "ttl")
ROUNDS = 30  # of a question for an address, one by DHCP and an expired packet: fewer than one port may have
STRANGERS = tuple(f"s{number}" for number in range(len(KINDS) * ROUNDS))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """Tenant red floods from the first host. Of tenant blue there is x, and strangers to x on the second."""
    with Laboratory(hosts=2) as lab:
        one, two = (host.name for host in lab.hosts)
        scene = Scene(lab)
        try:
            await scene.start_in_lab()
            await scene.add_network(2)
            await scene.join(1, 2)
            await scene.create(**dict.fromkeys((*FLOODERS, "red"), one))
            await scene.create(net=2, x=one, **dict.fromkeys(STRANGERS, two))
            await scene.plug(*FLOODERS, "x")
            yield scene
        finally:
            await scene.stop()


def sender(scene: Scene, name: str, net: int) -> tuple[str, str, str]:
    """Say who sends, for `raw_packets`: addresses of a port, and its router's MAC address."""
    return f"{scene.ports[name].mac:x}", scene.ip(name), f"{0x02BB00000000 + net:x}"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_costs_another_tenant_no_packet(scene: Scene, kind: str) -> None:
    first = KINDS.index(kind) * ROUNDS
    strangers = STRANGERS[first : first + ROUNDS]
    one = next(iter(scene.hosts))
    floods = [
        asyncio.create_task(
            scene.inside(name, *raw_packets.flood_command(kind, FLOOD_S, *sender(scene, name, 1)))
        )
        for name in FLOODERS
    ]
    await asyncio.sleep(STARTING_S)
    assert not any(scene.knows(one, name) for name in strangers)
    addresses = [scene.ip(name) for name in strangers]
    asking = raw_packets.probe_command(WAIT_S, *sender(scene, "x", 2), addresses)
    answered = await scene.inside("x", *asking)
    sent = [int(await flood) for flood in floods]
    assert min(sent) > 10_000, "that is no flood"
    assert answered.split() == [str(ROUNDS)] * 3, f"of {sent} packets sent meanwhile"
    scene.check()
