"""A host whose agent dies goes on, takes new workloads, and gets its agent back: by real packets."""

import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from ovs_scene import needs_ovs
from rescue_scene import RescueScene, has_its_agent, is_rescued, rescue_scene

pytestmark = [pytest.mark.ovs, needs_ovs, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[RescueScene]:
    with tempfile.TemporaryDirectory(prefix="alcor-rescue-") as directory:
        async with rescue_scene(Path(directory), hosts=3) as scene:
            await scene.plug("old", "h1")
            await scene.plug("far", "h2")
            yield scene


async def test_a_dead_agent_s_host_takes_new_workloads_and_its_agent_takes_over_again(
    scene: RescueScene,
) -> None:
    talks = await scene.hold("far", "old")
    killed = time.monotonic()
    await scene.agent("h1").kill()
    host = await scene.until("h1", is_rescued)
    assert time.monotonic() - killed < 2.0
    assert host["rescue"]["by"] in ("h2", "h3")
    assert await talks()
    port = await scene.plug("new", "h1")
    assert port["status"] == "ACTIVE"
    assert await scene.reaches("new", "far")
    assert await scene.reaches("new", "old")
    assert await scene.reaches("far", "new")
    assert await talks()
    await scene.agent("h1").start()
    await scene.until("h1", has_its_agent)
    await scene.plug("newest", "h1")
    assert await scene.reaches("newest", "far"), scene.log("h1")
    assert await scene.reaches("new", "far")
    assert await talks()
