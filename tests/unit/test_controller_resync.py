"""Many hosts that say Hello at once: few at a time, none forgotten, and what is equal worked out once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alcor.contracts.convergence import NetworkProgress
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.controller import Controller
from alcor.control_plane.delivery.resync import ResyncLimits
from alcor.host_agent.digests import Digests
from alcor.model import goal_state
from alcor.model.ids import HostId, ProjectId
from alcor.model.records import Network, Project
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import AgentDouble, commit, group, network, port, rule, subnet
from doubles.waiting import eventually

HOSTS = 50
LIMIT = 4


def name(number: int) -> str:
    return f"host-{number:02}"


def agent(number: int) -> AgentDouble:
    return AgentDouble(name(number), bytes([172, 16, 0, number]))


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await commit(
        made,
        networks=(network(),),
        subnets=(subnet(),),
        security_groups=(group("web"),),
        security_group_rules=(rule("r", "web", "web"),),
    )
    return made


@pytest.fixture
async def controller(store: MemoryStore) -> AsyncIterator[Controller]:
    made = Controller(store, SystemClock(), SILENT, resync=ResyncLimits(hosts=LIMIT))
    await made.start()
    yield made
    await made.stop()


async def fill(store: MemoryStore) -> None:
    await commit(store, ports=tuple(port(n + 1, name(n), groups=("web",)) for n in range(HOSTS)))


async def test_hosts_beyond_the_limit_wait_welcomed_and_all_are_synchronised(store, controller) -> None:
    await fill(store)
    agents = [agent(number) for number in range(HOSTS)]
    for each in agents:
        each.mute = True  # nobody answers: so nobody's turn ends
        each.connect(controller)
    await eventually(
        lambda: controller.resync().hosts == HOSTS and controller.resync().waiting == HOSTS - LIMIT
    )
    now = controller.resync()
    assert (now.waiting, now.synchronising, now.done) == (HOSTS - LIMIT, LIMIT, 0)
    assert now.networks_complete == 0 < now.networks == 1
    assert now.bytes_left > 0
    await eventually(lambda: sum(bool(each.updates) for each in agents) >= LIMIT)
    assert sum(bool(each.updates) for each in agents) == LIMIT
    assert all(controller.convergence.is_alive(HostId(each.host)) for each in agents)
    most = 0
    while controller.resync().done < HOSTS:
        for each in agents:
            if each.unanswered:
                each.speak_again()
                each.mute = True
        await asyncio.sleep(0.001)
        most = max(most, controller.resync().synchronising)
    assert most <= LIMIT
    assert controller.resync_networks() == [NetworkProgress(network().id, HOSTS, HOSTS)]
    for each in agents:
        assert each.held() == compile_full(controller.region, each.host)
        await each.disconnect()
    assert controller.resync().away == HOSTS


async def test_all_are_welcomed_before_the_second_of_them_is_synchronised(store, controller) -> None:
    await fill(store)
    agents = [agent(number) for number in range(HOSTS)]
    for each in agents:
        each.connect(controller)
    await eventually(lambda: controller.resync().done == HOSTS)
    for each in agents:
        await each.disconnect()
    for each in agents:  # introduced already: nothing is committed now
        each.connect(controller)
    while controller.resync().done == 0:  # noqa: ASYNC110 - each turn of the loop counts
        await asyncio.sleep(0)
    assert controller.resync().away == 0
    for each in agents:
        await each.disconnect()


async def test_a_change_while_a_host_waits_reaches_it_with_its_turn(store, controller) -> None:
    await fill(store)
    busy = [agent(number) for number in range(LIMIT)]
    for each in busy:
        each.mute = True
        each.connect(controller)
    await eventually(lambda: controller.resync().synchronising == LIMIT)
    late = agent(LIMIT)
    late.connect(controller)
    await eventually(lambda: controller.resync().waiting == 1)
    revision = await commit(store, ports=(port(900, late.host, groups=("web",)),))
    assert not await controller.convergence.wait(
        [port(900).id], revision=revision, until="in_force", timeout_s=0.05
    )
    assert late.updates == []
    assert controller.convergence.port_states([port(900, late.host, groups=("web",))])[0].status == "BUILD"
    await busy[0].disconnect()  # its turn is another's
    assert await controller.convergence.wait([port(900).id], revision=revision, until="in_force", timeout_s=2)
    assert late.held() == compile_full(controller.region, late.host)
    for each in (*busy[1:], late):
        await each.disconnect()


async def test_hosts_of_tenants_with_priority_are_synchronised_first(store, controller) -> None:
    gold = ProjectId("gold")
    await commit(store, projects=(Project(id=gold, project_id=gold, priority=90),))
    theirs = Network(id=network(2).id, project_id=gold, vni=network(2).vni)
    await commit(store, networks=(theirs,), subnets=(subnet(2),))
    await commit(store, ports=tuple(port(n + 1, name(n), net=2 if n == 30 else 1) for n in range(HOSTS)))
    agents = [agent(number) for number in range(HOSTS)]
    for number, each in enumerate(agents):
        each.mute = True
        each.connect(controller)
        if number < LIMIT:
            await eventually(lambda wanted=number + 1: controller.resync().synchronising == wanted)
    await eventually(lambda: controller.resync().waiting == HOSTS - LIMIT)
    assert agents[30].updates == []
    await agents[0].disconnect()
    await eventually(lambda: bool(agents[30].updates))
    assert sum(bool(each.updates) for each in agents[1:]) == LIMIT
    for each in agents[1:]:
        await each.disconnect()


async def test_a_warm_restart_works_out_the_digest_of_each_shared_section_once(store, controller) -> None:
    await fill(store)
    agents = [agent(number) for number in range(HOSTS)]
    for each in agents:
        each.connect(controller)
    await eventually(lambda: controller.resync().done == HOSTS)
    await controller.stop()
    for each in agents:
        await each.disconnect()
    restarted = Controller(store, SystemClock(), SILENT, resync=ResyncLimits(hosts=LIMIT))
    await restarted.start()
    for each in agents:
        each.connect(restarted)
    await eventually(lambda: restarted.resync().done == HOSTS)
    shared = len({key for each in agents for key in each.state.sections})
    assert shared == 2  # the network and the group, on all hosts
    assert restarted.whole_sections.digests_made == shared
    for each in agents:
        updates = [section for update in each.updates for section in update.sections]
        assert all(section.base is not None for section in updates), "nothing was sent in full"
        await each.disconnect()
    await restarted.stop()


async def test_the_controllers_digest_is_that_of_what_the_host_holds(store, controller) -> None:
    await fill(store)
    await commit(store, ports=tuple(port(n + 100, name(1), groups=("web",)) for n in range(5)))
    await controller.convergence.wait(
        [port(104).id], revision=await store.revision(), until="in_force", timeout_s=0
    )
    state = controller.held_state(HostId(name(1)))
    for key, section in state.sections.items():
        assert controller.section_digest(HostId(name(1)), key) == goal_state.digest(section.full())
    assert controller.section_digest(HostId("nobody"), network_key()) is None


def network_key() -> goal_state.SectionKey:
    return goal_state.network_key(network().id)


def test_an_agent_works_out_a_digest_again_only_after_a_change() -> None:
    digests, section = Digests(), goal_state.GroupSection()
    key = goal_state.group_key("web")
    first = digests.of(key, section)
    assert digests.of(key, section) == first
    assert digests.made == 1
    section.apply(goal_state.GroupChange(stateful=False))
    digests.changed([key])
    assert digests.of(key, section) != first
    assert digests.made == 2
