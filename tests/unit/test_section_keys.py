"""Section keys: each kind is told from the others, and what names no section is refused where it comes in."""

import pytest

from alcor.contracts.agent_channel import Held
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.model import errors, goal_state
from alcor.model.goal_state import AddressesKey, GroupKey, NetworkKey, RouterKey, SectionKey
from alcor.model.ids import AddressGroupId, GroupId, NetworkId, RouterId
from alcor.model.version import Version
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import AgentDouble
from doubles.waiting import eventually


def test_a_key_names_what_it_was_made_of() -> None:
    parse = goal_state.parse_key
    assert parse(goal_state.network_key("a:b")) == NetworkKey(NetworkId("a:b"))
    assert parse(goal_state.router_key("r")) == RouterKey(RouterId("r"))
    assert parse(goal_state.group_key("g")) == GroupKey(GroupId("g"))
    assert parse(goal_state.addresses_key("a")) == AddressesKey(AddressGroupId("a"))


@pytest.mark.parametrize("key", ["", "network", "groups:g", ":g", "Network:n"])
def test_what_names_no_section_is_refused(key: str) -> None:
    with pytest.raises(errors.Invalid):
        goal_state.parse_key(SectionKey(key))
    assert not goal_state.is_of_network(SectionKey(key))


async def test_an_agent_that_holds_what_is_no_section_is_told_so() -> None:
    controller = Controller(MemoryStore(), SystemClock(), SILENT)
    await controller.start()

    class Odd(AgentDouble):
        def held_sections(self) -> tuple[Held, ...]:
            return (Held(SectionKey("firewall:x"), Version(1, 0), b""),)

    agent = Odd("host-1", bytes([172, 16, 0, 1]))
    agent.connect(controller)
    assert "firewall:x" in await eventually(lambda: agent.farewell)
    await agent.disconnect()
    await controller.stop()
