"""A lab's hosts reach the queue over their underlay, by certificates, and pass packets with no other path."""

import tempfile
from pathlib import Path

import pytest
from ovs_scene import needs_ovs
from rescue_scene import rescue_scene

pytestmark = [pytest.mark.ovs, needs_ovs]
NAMES = ("h1", "h2")


async def test_hosts_without_streams_pass_packets_over_the_queue_alone() -> None:
    with tempfile.TemporaryDirectory(prefix="alcor-relay-") as directory:
        async with rescue_scene(Path(directory), hosts=len(NAMES)) as scene:
            for name in NAMES:
                await scene.agents.start_again(name, with_stream=False)
            for name in NAMES:
                host = await scene.until(name, lambda host: host["path"] == "queue" and host["alive"])
                assert "answers over the queue" in host["path_reason"]
            await scene.plug("one", "h1")
            await scene.plug("two", "h2")
            assert await scene.reaches("one", "two")
            assert await scene.reaches("two", "one")
            for name in NAMES:
                await scene.agents.start_again(name, with_stream=True)
            for name in NAMES:
                await scene.until(name, lambda host: host["path"] == "fast")
            await scene.plug("three", "h2")
            assert await scene.reaches("one", "three")
