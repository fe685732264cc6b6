"""What the controller says of its hosts, whom it serves first, and who hears of every change."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.model.ids import HostId
from alcor.model.records import Host, RecordSet
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import AgentDouble, MemoryChannel, commit, network, port, subnet

A, B, Z = HostId("a"), HostId("b"), HostId("z")


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await commit(made, networks=(network(),), subnets=(subnet(),))
    return made


@pytest.fixture
async def controller(store: MemoryStore) -> AsyncIterator[Controller]:
    made = Controller(store, SystemClock(), SILENT)
    await made.start()
    yield made
    await made.stop()


async def joined(controller: Controller, name: str) -> AgentDouble:
    agent = AgentDouble(name, bytes([172, 16, 0, ord(name[0])]))
    agent.connect(controller)
    await asyncio.wait_for(agent.complete.wait(), 2)
    return agent


async def test_a_host_is_alive_while_its_agent_is_connected(controller: Controller) -> None:
    assert not controller.convergence.is_alive(A)
    agent = await joined(controller, "a")
    assert controller.convergence.is_alive(A)
    await agent.disconnect()
    assert not controller.convergence.is_alive(A)
    assert [record.id for record in controller.convergence.host_records()] == [A]


async def test_one_host_is_told_of_as_among_all(store: MemoryStore, controller: Controller) -> None:
    agents = [await joined(controller, name) for name in "ab"]
    revision = await commit(store, ports=(port(1, "a"), port(2, "b"), port(3, "b"), port(4, "unknown")))
    bound = [port(number).id for number in (1, 2, 3)]
    assert await controller.convergence.wait(bound, revision=revision, until="in_force", timeout_s=2)
    assert [controller.convergence.host(A), controller.convergence.host(B)] == controller.convergence.hosts()
    told = controller.convergence.host(B)
    assert told is not None
    assert told.ports_in_force == 2
    assert controller.convergence.host(HostId("unknown")) is None
    assert not controller.convergence.is_alive(HostId("unknown"))
    for agent in agents:
        await agent.disconnect()


async def test_the_host_of_a_changed_port_is_served_before_those_that_only_reach_it(
    store: MemoryStore, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [await joined(controller, name) for name in "abz"]
    revision = await commit(store, ports=tuple(port(number, name) for number, name in enumerate("abz", 1)))
    assert await controller.convergence.wait_revision(revision, timeout_s=2)
    ends = {agent.controller_end: agent.host for agent in agents}
    served: list[HostId] = []
    send = MemoryChannel.send

    def noted(channel: MemoryChannel, frame_body: bytes) -> None:
        if channel in ends:
            served.append(ends[channel])
        send(channel, frame_body)

    monkeypatch.setattr(MemoryChannel, "send", noted)
    revision = await commit(store, ports=(port(9, "z"),))
    assert await controller.convergence.wait_revision(revision, timeout_s=2)
    assert served == [Z, A, B]
    for agent in agents:
        await agent.disconnect()


async def test_who_follows_hears_of_every_change_once_and_in_order(
    store: MemoryStore, controller: Controller
) -> None:
    heard: list[int] = []
    controller.follow(lambda change: heard.append(change.revision))
    first = await store.revision() + 1
    for number in range(1, 6):
        last = await commit(store, ports=(port(number, ""),))
    assert await controller.convergence.wait((), revision=last, until="in_force", timeout_s=2)
    assert heard == list(range(first, last + 1))


async def test_a_host_that_is_forgotten_while_it_is_there_introduces_itself_again(
    store: MemoryStore, controller: Controller
) -> None:
    agent = await joined(controller, "a")
    record = (await store.get(Host, ["a"]))[A]
    revision = await commit(store, deletes=RecordSet(hosts=(record,)))
    assert await controller.convergence.wait((), revision=revision, until="in_force", timeout_s=2)
    assert agent.channel is not None
    assert await asyncio.wait_for(agent.channel.receive(), 2) is None
    assert agent.channel.close_reason == "the host's record was removed"
    agent.connect(controller)
    await asyncio.wait_for(agent.complete.wait(), 2)
    assert controller.convergence.is_alive(A)
    await agent.disconnect()
