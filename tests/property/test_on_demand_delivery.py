"""Asking while streams break, repeat and reorder: hosts end with what they learned, and nothing stale."""

import asyncio
import random

import msgspec
import pytest
from compiler_operations import random_operation
from compiler_streams import OPERATIONS, come_to_rest, is_open, trouble, write
from compiler_world import HOSTS, rich_world

from alcor.contracts.agent_channel import Ask, Hello, Learned, Release, Want
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.compiler import entries
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.host_agent import reporter
from alcor.model.goal_state import NetworkSection
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import AgentDouble

BOUNDS = OnDemandBounds(above=2, below=2)
STEPS = 120


class AskingAgent(AgentDouble):
    """Asks for what exists and for what does not; some of its messages are lost."""

    def hello(self) -> Hello:
        return msgspec.structs.replace(super().hello(), learned=reporter.learned(self.state))

    def ask(self, controller: Controller, choice: random.Random) -> None:
        wants = []
        for section in self.state.sections.values():
            if isinstance(section, NetworkSection) and section.network is not None:
                node = controller.region.network_of(section.network.vni)
                addresses = sorted(node.addresses) if node is not None else []
                wants += [
                    Want(section.network.vni, ip) for ip in choice.sample(addresses, k=len(addresses) // 2)
                ]
                nobodys = bytes([10, 250, 0, choice.randrange(250)])
                wants += [Want(section.network.vni, nobodys), Want(section.network.vni, bytes(12) + nobodys)]
        if wants and choice.random() < 0.9:  # else the question is lost
            ask = Ask(1, tuple(wants))
            for _ in range(choice.choice((1, 1, 2))):
                self.say(ask)

    def release(self, choice: random.Random) -> None:
        for learned in reporter.learned(self.state):
            some = tuple(choice.sample(learned.ports, k=(len(learned.ports) + 1) // 2))
            self.say(Release((Learned(learned.network_id, some),)))


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_streams_do_hosts_end_with_what_they_learned(seed: int) -> None:
    choice = random.Random(seed)
    world, store = rich_world(choice), MemoryStore()
    world.hosts.clear()
    agents = {host: AskingAgent(host, bytes([172, 16, 0, index])) for index, host in enumerate(HOSTS)}
    controller = Controller(store, SystemClock(), SILENT, on_demand=BOUNDS)
    await controller.start()
    found = 0
    for step in range(STEPS):
        world.do(random_operation(choice, choice.choice(OPERATIONS)))
        await write(store, world.commit())
        if choice.random() < 0.5:
            await asyncio.sleep(0)
        agent = choice.choice(list(agents.values()))
        if choice.random() < 0.4:
            await trouble(agent, choice)
        elif is_open(agent) and choice.random() < 0.8:
            agent.ask(controller, choice)
        elif is_open(agent):
            agent.release(choice)
        if choice.random() < 0.3:
            agent = choice.choice(list(agents.values()))
            if not is_open(agent):
                agent.connect(controller)
        if step == STEPS // 2:
            found += controller.look_ups.found
            await controller.stop()
            controller = Controller(store, SystemClock(), SILENT, on_demand=BOUNDS)
            await controller.start()
    await come_to_rest(controller, store, list(agents.values()))
    learned = controller._compiler.interest.learned
    for host, agent in agents.items():
        assert agent.held() == compile_full(controller.region, host, learned.of_host(host))
        assert no_stale_placement(controller, agent)
        for told in reporter.learned(agent.state):
            assert set(told.ports) == set(learned.of(host, told.network_id))
    assert found + controller.look_ups.found > 0
    for agent in agents.values():
        await agent.disconnect()
    await controller.stop()


def no_stale_placement(controller: Controller, agent: AgentDouble) -> bool:
    """Is every placement that the agent holds what the region says now?"""
    region = controller.region
    return all(
        placement == entries.placement(region.ports[port_id], region.vtep(region.ports[port_id].host))
        for section in agent.state.sections.values()
        if isinstance(section, NetworkSection)
        for port_id, placement in section.placements.items()
    )
