"""Laws 2 and 5 over the whole path: whatever streams do, each host ends with the full compilation."""

import asyncio
import random

import pytest
from compiler_operations import random_operation
from compiler_streams import OPERATIONS, come_to_rest, is_open, trouble, write
from compiler_world import HOSTS, rich_world

from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.controller import Controller
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import AgentDouble

STEPS = 120


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_streams_do_hosts_end_as_full_compilation(seed: int) -> None:
    choice = random.Random(seed)
    world, store = rich_world(choice), MemoryStore()
    world.hosts.clear()
    agents = {host: AgentDouble(host, bytes([172, 16, 0, index])) for index, host in enumerate(HOSTS)}
    controller = Controller(store, SystemClock(), SILENT)
    await controller.start()
    for step in range(STEPS):
        world.do(random_operation(choice, choice.choice(OPERATIONS)))
        await write(store, world.commit())
        if choice.random() < 0.5:
            await asyncio.sleep(0)
        if choice.random() < 0.4:
            await trouble(choice.choice(list(agents.values())), choice)
        if choice.random() < 0.3:
            agent = choice.choice(list(agents.values()))
            if not is_open(agent):
                agent.connect(controller)
        if step == STEPS // 2:
            await controller.stop()
            controller = Controller(store, SystemClock(), SILENT)
            await controller.start()
    await come_to_rest(controller, store, list(agents.values()))
    for host, agent in agents.items():
        assert agent.held() == compile_full(controller.region, host)
    for agent in agents.values():
        await agent.disconnect()
    await controller.stop()
