"""A flood of one tenant's packets for the agent costs no other tenant a single one."""

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import raw_packets
from asking_scene import Scene
from ovs_scene import needs_ovs

from alcor.lab import namespaces
from alcor.lab.laboratory import Laboratory

pytestmark = [pytest.mark.ovs, needs_ovs]

FLOODERS = ("f1", "f2", "f3", "f4")
WAIT_S = "3.0"  # for an answer: lost, not late, is what this asks, and each question is asked once
LATE_S = 30.0
ROUNDS = 20  # of three questions of each IP version, four of them for answers: fewer than one port may have
STRANGERS = tuple(f"s{number}" for number in range(len(raw_packets.KINDS) * ROUNDS * 2))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """Tenant red floods from the first host. Of tenant blue there is x, and strangers to x on the second."""
    with Laboratory(hosts=2) as lab:
        one, two = (host.name for host in lab.hosts)
        scene = Scene(lab)
        try:
            await scene.start_in_lab()
            await scene.add_network(2)
            await scene.advertise(1, 2)
            await scene.join(1, 2)
            await scene.create(**dict.fromkeys((*FLOODERS, "red"), one))
            await scene.create(net=2, x=one, **dict.fromkeys(STRANGERS, two))
            await scene.plug(*FLOODERS, "x")
            yield scene
        finally:
            await scene.stop()


def sender(scene: Scene, name: str, net: int) -> tuple[str, str, str, str]:
    """Say who sends, for `raw_packets`: addresses of a port, and its router's MAC address."""
    return f"{scene.ports[name].mac:x}", scene.ip(name), scene.ipv6(name), f"{0x02BB00000000 + net:x}"


class Flood:
    """One workload's packets, from when it has begun until it is told to end. Owner of the process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, scene: Scene, name: str, kind: str) -> "Flood":
        command = raw_packets.flood_command(kind, 0, *sender(scene, name, 1))
        line = namespaces.inside(scene.plugged[name].namespace, command)
        return cls(await asyncio.create_subprocess_exec(*line, stdin=PIPE, stdout=PIPE))

    async def has_begun(self) -> None:
        assert self._process.stdout is not None
        assert await asyncio.wait_for(self._process.stdout.readline(), LATE_S) == b"begun\n"

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def end(self) -> int:
        """End it; give how many packets were sent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        output, _ = await asyncio.wait_for(self._process.communicate(), LATE_S)
        return int(output)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", raw_packets.KINDS)
async def test_a_flood_costs_another_tenant_no_packet(scene: Scene, kind: str) -> None:
    first = raw_packets.KINDS.index(kind) * ROUNDS * 2
    strangers = STRANGERS[first : first + ROUNDS * 2]
    one = next(iter(scene.hosts))
    assert not any(scene.knows(one, name) for name in strangers)
    addresses = [
        ip  # by the one version or the other: who is known by one address is known by both
        for of_ipv4, of_ipv6 in zip(strangers[::2], strangers[1::2], strict=True)
        for ip in (scene.ip(of_ipv4), scene.ipv6(of_ipv6))
    ]
    floods = [await Flood.start(scene, name, kind) for name in FLOODERS]
    try:
        await asyncio.gather(*(flood.has_begun() for flood in floods))
        asking = raw_packets.probe_command(WAIT_S, *sender(scene, "x", 2), addresses)
        answered = await scene.inside("x", *asking)
        sent = await asyncio.gather(*(flood.end() for flood in floods))
    finally:
        for flood in floods:
            flood.kill()
    assert min(sent) > 10_000, "that is no flood"
    assert answered.split() == [str(ROUNDS)] * len(raw_packets.KINDS), f"of {sent} packets sent meanwhile"
    scene.check()
