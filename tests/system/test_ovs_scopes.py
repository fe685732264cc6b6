"""Address scopes on Open vSwitch: real packets stop at the router, and go on when the scope is the same."""

import asyncio

import pytest
from ovs_scene import LEGS, Scene, needs_ovs

from alcor.lab import packets
from alcor.lab.packets import Probe

pytestmark = [pytest.mark.ovs, needs_ovs]

ADDRESSES = {"a": "10.1.0.11", "b": "10.2.0.12", "c": "10.1.0.13"}


async def reached(scene: Scene, *pairs: str) -> list[bool]:
    """Ping and connect from the first of each pair to the second."""
    ends = scene.workloads
    asked = [
        Probe(ends[pair[0]], ADDRESSES[pair[1]], kind, port, ends[pair[1]])  # type: ignore[arg-type]
        for pair in pairs
        for kind, port in (("icmp", 0), ("tcp", 80))
    ]
    return await asyncio.to_thread(packets.probe_matrix, asked)


async def test_a_router_forwards_no_packet_from_one_address_scope_to_another() -> None:
    async with Scene.in_lab(hosts=2) as scene:
        await scene.two_networks()
        for number, (name, ip) in enumerate(ADDRESSES.items()):
            await scene.port(name, "green" if name == "b" else "red", ip, number % 2)
        await scene.plug(*ADDRESSES)
        await scene.serve(80)
        assert await reached(scene, "ab", "ba", "ac") == [True] * 6
        await scene.router("r", LEGS, scopes={"red": "x"})
        # The datapath's cache follows the flows within milliseconds: on a busy machine one may pass before.
        await reached(scene, "ab", "ba")
        assert await reached(scene, "ab", "ba") == [False] * 4, "also what was connected before"
        assert await reached(scene, "ac") == [True] * 2, "a scope concerns routers only"
        await scene.router("r", LEGS, scopes={"red": "x", "green": "x"})
        assert await reached(scene, "ab", "ba") == [True] * 4
