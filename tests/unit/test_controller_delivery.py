"""The controller between a store in memory and agents in memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.controller import Controller
from alcor.model.goal_state import HostState, group_key, network_key
from alcor.model.records import RecordSet
from alcor.model.version import Version
from alcor.runtime.event_log import SILENT
from doubles import virtual
from doubles.control_plane import AgentDouble, commit, group, network, port, rule, subnet

pytestmark = pytest.mark.virtual_time

NET = network_key("net-1")


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await commit(made, networks=(network(),), subnets=(subnet(),))
    return made


@pytest.fixture
async def controller(store: MemoryStore) -> AsyncIterator[Controller]:
    made = Controller(store, virtual.clock(), SILENT)
    await made.start()
    yield made
    await made.stop()


async def joined(controller: Controller, name: str = "a") -> AgentDouble:
    agent = AgentDouble(name, bytes([172, 16, 0, ord(name[0])]))
    agent.connect(controller)
    await asyncio.wait_for(agent.complete.wait(), 2)
    return agent


async def is_in_force(controller: Controller, revision: int, *numbers: int, timeout_s: float = 2) -> bool:
    ids = [port(number).id for number in numbers]
    return await controller.convergence.wait(ids, revision=revision, until="in_force", timeout_s=timeout_s)


def state_of(controller: Controller, number: int, host: str = "a"):
    return controller.convergence.port_states([port(number, host)])[0]


async def test_a_port_is_in_force_when_its_host_acknowledged_it(store, controller) -> None:
    agent = await joined(controller)
    revision = await commit(store, ports=(port(1, "a"),))
    assert await is_in_force(controller, revision, 1)
    state = state_of(controller, 1)
    assert (state.status, state.in_force, state.applied_revision) == ("DOWN", True, revision)
    assert agent.held() == compile_full(controller.region, "a")
    await agent.disconnect()


async def test_a_record_that_the_controller_has_not_heard_of_is_not_in_force(store, controller) -> None:
    agent = await joined(controller)
    revision = await commit(store, ports=(port(1, "a"),))
    assert await is_in_force(controller, revision, 1)
    changed = port(1, "a", admin_state_up=False)
    revision = await commit(store, updates=RecordSet(ports=(changed,)))
    state = controller.convergence.port_states([changed])[0]  # before its change was taken in
    assert (state.status, state.in_force) == ("BUILD", False)
    assert await is_in_force(controller, revision, 1)
    assert controller.convergence.port_states([changed])[0].in_force
    await agent.disconnect()


async def test_a_plugged_port_is_active_and_an_unplugged_one_is_not(store, controller) -> None:
    agent = await joined(controller)
    revision = await commit(store, ports=(port(1, "a"),))
    waiting = asyncio.create_task(
        controller.convergence.wait([port(1).id], revision=revision, until="active", timeout_s=2)
    )
    await is_in_force(controller, revision, 1)
    agent.plug(port(1).id)
    assert await waiting
    assert state_of(controller, 1).status == "ACTIVE"
    agent.unplug(port(1).id)
    await asyncio.sleep(0.01)
    assert state_of(controller, 1).status == "DOWN"
    await agent.disconnect()


async def test_a_port_is_being_built_until_the_answer_comes(store, controller) -> None:
    agent = await joined(controller)
    agent.mute = True
    revision = await commit(store, ports=(port(1, "a"),))
    assert not await is_in_force(controller, revision, 1, timeout_s=0.02)
    assert state_of(controller, 1).status == "BUILD"
    receipt = controller.convergence.receipt(revision)
    assert receipt is not None
    assert not receipt.in_force
    assert [host.state for host in receipt.hosts] == ["pending"]
    agent.speak_again()
    assert await is_in_force(controller, revision, 1)
    assert await controller.convergence.wait_revision(revision, timeout_s=1)
    assert controller.convergence.receipt(revision).hosts[0].state == "in_force"
    await agent.disconnect()


async def test_nothing_is_in_force_while_the_agent_is_away_and_it_is_by_itself_after(store, controller) -> None:
    agent = await joined(controller)
    first = await commit(store, ports=(port(1, "a"),))
    agent.plug(port(1).id)
    assert await is_in_force(controller, first, 1)
    await agent.disconnect()
    assert state_of(controller, 1).status == "DOWN"
    assert not state_of(controller, 1).in_force
    second = await commit(store, ports=(port(2, "a"),))
    assert not await is_in_force(controller, second, 2, timeout_s=0.02)
    assert controller.convergence.receipt(second).hosts[0].state == "unreachable"
    agent.connect(controller)
    assert await is_in_force(controller, second, 1, 2)
    assert await controller.convergence.wait_revision(second, timeout_s=1)
    assert state_of(controller, 1).status == "ACTIVE"
    assert agent.held() == compile_full(controller.region, "a")
    await agent.disconnect()


async def test_a_section_taken_from_a_host_is_gone_when_an_agent_that_does_not_name_it_knows_all(
    store, controller
) -> None:
    agent = await joined(controller)
    assert await is_in_force(controller, await commit(store, ports=(port(1, "a"),)), 1)
    await agent.disconnect()
    revision = await commit(store, deletes=RecordSet(ports=(port(1, "a"),)))
    agent.state = HostState()  # its journal is lost: it names nothing, and its data plane forwards on
    agent.mute = True
    agent.connect(controller)
    await asyncio.wait_for(agent.complete.wait(), 2)
    assert controller.convergence.receipt(revision).hosts[0].state == "pending"
    agent.speak_again()
    assert await controller.convergence.wait_revision(revision, timeout_s=2)
    await agent.disconnect()


async def test_a_host_without_an_agent_leaves_its_ports_down(store, controller) -> None:
    revision = await commit(store, ports=(port(1, "nowhere"),))
    assert not await is_in_force(controller, revision, 1, timeout_s=0.02)
    state = state_of(controller, 1, "nowhere")
    assert state.status == "DOWN"
    assert "no agent has introduced host 'nowhere'" in state.reason


async def test_what_the_agent_holds_already_is_confirmed_and_not_sent(store, controller) -> None:
    agent = await joined(controller)
    revision = await commit(store, ports=tuple(port(number, "a") for number in range(1, 50)))
    assert await is_in_force(controller, revision, 1)
    await agent.disconnect()
    agent.connect(controller)
    await asyncio.wait_for(agent.complete.wait(), 2)
    assert sum(len(frame) for frame in agent.controller_end.frames_sent) < 400
    assert await is_in_force(controller, revision, *range(1, 50))
    await agent.disconnect()


async def test_after_a_restart_only_what_differs_is_sent_in_full(store, controller) -> None:
    agent = await joined(controller)
    await commit(store, networks=(network(2),), subnets=(subnet(2),))
    revision = await commit(store, ports=(port(1, "a"), port(2, "a", net=2)))
    assert await is_in_force(controller, revision, 1, 2)
    await agent.disconnect()
    revision = await commit(store, ports=(port(3, "b"),))
    again = Controller(store, virtual.clock(), SILENT)
    await again.start()
    assert again.epoch == controller.epoch + 1
    agent.connect(again)
    assert await is_in_force(again, revision, 1, 2)
    bases = {section.key: section.base for update in agent.updates for section in update.sections}
    assert bases[network_key("net-2")] is not None
    assert agent.held() == compile_full(again.region, "a")
    await agent.disconnect()
    await again.stop()


async def test_a_section_lost_by_the_agent_is_sent_in_full_when_it_asks(store, controller) -> None:
    agent = await joined(controller)
    assert await is_in_force(controller, await commit(store, ports=(port(1, "a"),)), 1)
    del agent.state.sections[NET]
    del agent.state.versions[NET]
    revision = await commit(store, ports=(port(2, "a"),))
    assert await is_in_force(controller, revision, 1, 2)
    assert agent.held() == compile_full(controller.region, "a")
    await agent.disconnect()


async def test_a_refused_section_puts_its_ports_in_error_until_it_is_in_force(store, controller) -> None:
    agent = await joined(controller)
    agent.refuses[NET] = "no room for flows"
    revision = await commit(store, ports=(port(1, "a"),))
    assert not await is_in_force(controller, revision, 1, timeout_s=0.02)
    state = state_of(controller, 1)
    assert (state.status, state.in_force) == ("ERROR", False)
    assert "no room for flows" in state.reason
    assert controller.convergence.receipt(revision).hosts[0].state == "refused"
    agent.refuses.clear()
    again = await commit(store, ports=(port(2, "a"),))
    assert await is_in_force(controller, again, 1, 2)
    assert await controller.convergence.wait_revision(revision, timeout_s=1)
    await agent.disconnect()


async def test_a_refused_group_is_an_error_of_its_ports_alone(store, controller) -> None:
    agent = await joined(controller)
    agent.refuses[group_key("web")] = "cannot"
    await commit(store, security_groups=(group("web"),), security_group_rules=(rule("r", "web", "web"),))
    revision = await commit(store, ports=(port(1, "a", groups=("web",)), port(2, "a")))
    assert await is_in_force(controller, revision, 2)
    assert state_of(controller, 1).status == "ERROR"
    await agent.disconnect()


async def test_a_second_stream_of_a_host_replaces_the_first(store, controller) -> None:
    first = await joined(controller)
    second = await joined(controller)
    await asyncio.sleep(0)
    assert "another stream" in first.farewell
    revision = await commit(store, ports=(port(1, "a"),))
    assert await is_in_force(controller, revision, 1)
    assert not first.updates[1:]
    await second.disconnect()


async def test_a_moved_port_leaves_one_host_and_is_in_force_on_the_other(store, controller) -> None:
    one, other = await joined(controller, "a"), await joined(controller, "b")
    made = port(1, "a")
    assert await is_in_force(controller, await commit(store, ports=(made,)), 1)
    stored = (await store.get(type(made), [made.id]))[made.id]
    revision = await commit(store, updates=RecordSet(ports=(port(1, "b"),)))
    assert stored.host == "a"
    assert await is_in_force(controller, revision, 1)
    assert await controller.convergence.wait_revision(revision, timeout_s=1)
    assert one.held() == {}
    assert other.held() == compile_full(controller.region, "b")
    await one.disconnect()
    await other.disconnect()


async def test_changes_that_meet_a_full_window_leave_merged(store, controller) -> None:
    agent = await joined(controller)
    await commit(store, ports=(port(1, "a"),))
    agent.mute = True
    for number in range(2, 60):
        revision = await commit(store, ports=(port(number, "a"),))
        await asyncio.sleep(0)
    await is_in_force(controller, revision, timeout_s=1)
    updates = len(agent.updates)
    assert updates <= 12
    agent.speak_again()
    assert await is_in_force(controller, revision, *range(1, 60))
    assert len(agent.updates) <= updates + 3
    sections = [section for update in agent.updates for section in update.sections]
    assert [section.base is None for section in sections] == [True] + [False] * (len(sections) - 1)
    assert agent.held() == compile_full(controller.region, "a")
    await agent.disconnect()


async def test_repeated_and_late_answers_do_no_harm(store, controller) -> None:
    agent = await joined(controller)
    agent.mute = True
    first = await commit(store, ports=(port(1, "a"),))
    await is_in_force(controller, first, timeout_s=1)
    await asyncio.sleep(0.01)
    late = list(agent.unanswered)
    agent.speak_again()
    second = await commit(store, ports=(port(2, "a"),))
    assert await is_in_force(controller, second, 1, 2)
    for answer in late * 2:
        agent.say(answer)
    await asyncio.sleep(0.01)
    assert state_of(controller, 2).in_force
    assert state_of(controller, 2).applied_revision == second
    await agent.disconnect()


async def test_an_agent_of_a_later_epoch_is_told_why_it_is_refused(store, controller) -> None:
    agent = await joined(controller)
    assert await is_in_force(controller, await commit(store, ports=(port(1, "a"),)), 1)
    await agent.disconnect()
    agent.state.versions[NET] = Version(controller.epoch + 1, 1)
    agent.connect(controller)
    await asyncio.sleep(0.02)
    assert "another controller has taken over" in agent.farewell


async def test_what_is_no_message_ends_that_stream_only(store, controller) -> None:
    good, bad = await joined(controller, "a"), await joined(controller, "b")
    bad.channel.send(b"\xc1 nonsense")
    await asyncio.sleep(0.02)
    assert "could not be read" in bad.farewell
    assert await is_in_force(controller, await commit(store, ports=(port(1, "a"),)), 1)
    await good.disconnect()


async def test_waiting_ends_when_the_port_is_deleted(store, controller) -> None:
    made = port(1, "nowhere")
    revision = await commit(store, ports=(made,))
    waiting = asyncio.create_task(is_in_force(controller, revision, 1))
    await asyncio.sleep(0.01)
    await commit(store, deletes=RecordSet(ports=(made,)))
    assert await waiting


async def test_hosts_tell_how_far_they_are(store, controller) -> None:
    agent = await joined(controller)
    revision = await commit(store, ports=(port(1, "a"), port(2, "a")))
    assert await is_in_force(controller, revision, 1, 2)
    agent.plug(port(2).id)
    await asyncio.sleep(0.01)
    (status,) = controller.convergence.hosts()
    assert (status.record.id, status.alive, status.ports, status.ports_in_force) == ("a", True, 2, 2)
    assert (status.ports_plugged, status.sections, status.sections_pending) == (1, 1, 0)
    assert status.agent_version == "1"
    await agent.disconnect()
    (status,) = controller.convergence.hosts()
    assert (status.alive, status.ports_in_force, status.agent_version) == (False, 0, "")


async def test_changes_missed_by_the_listener_are_read_from_the_log(store, controller) -> None:
    agent = await joined(controller)
    heard = store._listeners
    store._listeners = []
    await commit(store, ports=(port(1, "a"),))
    store._listeners = heard
    revision = await commit(store, ports=(port(2, "a"),))
    assert await is_in_force(controller, revision, 1, 2)
    await agent.disconnect()


async def test_held_state_is_the_full_compilation(store, controller) -> None:
    await commit(store, ports=(port(1, "a"), port(2, "b")))
    revision = await commit(store, ports=(port(3, "a"),))
    await controller.convergence.wait((), revision=revision, until="in_force", timeout_s=1)
    state = controller.held_state("a")
    assert {key: section.full() for key, section in state.sections.items()} == compile_full(
        controller.region, "a"
    )
