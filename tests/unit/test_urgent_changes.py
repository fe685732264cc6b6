"""Bulk is served in turns; what asks for the fast path does not wait behind it."""

import asyncio

import pytest

from alcor.contracts.agent_channel import Update
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.control_plane.delivery.flusher import SESSIONS_PER_TURN, Flusher
from alcor.model.ids import HostId, PortId
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import AgentDouble, commit, network, port, subnet


class SessionDouble:
    """Counts how often it is flushed, and notes the order."""

    def __init__(self, number: int, order: list[int]) -> None:
        self.host = HostId(f"host-{number}")
        self._number = number
        self._order = order

    def flush(self) -> None:
        self._order.append(self._number)


async def test_what_is_first_is_flushed_at_once_and_the_rest_in_turns() -> None:
    order: list[int] = []
    sessions = [SessionDouble(number, order) for number in range(300)]
    flusher = Flusher(lambda session: True)
    task = asyncio.create_task(flusher.run())
    flusher.flush(sessions[290:], sessions[:290])  # type: ignore[arg-type]
    assert order == list(range(290, 300))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(order) <= 10 + 2 * SESSIONS_PER_TURN
    await flusher.caught_up()
    assert order == [*range(290, 300), *range(290)]
    task.cancel()


async def test_what_comes_while_many_wait_is_flushed_before_them() -> None:
    order: list[int] = []
    sessions = [SessionDouble(number, order) for number in range(301)]
    flusher = Flusher(lambda session: True)
    task = asyncio.create_task(flusher.run())
    flusher.flush([], sessions[:300])  # type: ignore[arg-type]
    before = len(order)
    flusher.flush(sessions[300:], [])  # type: ignore[arg-type]
    assert order[before] == 300
    await flusher.caught_up()
    assert sorted(order) == list(range(301))
    task.cancel()


async def test_a_session_that_ended_meanwhile_is_not_flushed() -> None:
    order: list[int] = []
    sessions = [SessionDouble(number, order) for number in range(200)]
    flusher = Flusher(lambda session: session is not sessions[150])
    task = asyncio.create_task(flusher.run())
    flusher.flush([], sessions)  # type: ignore[arg-type]
    await flusher.caught_up()
    assert 150 not in order
    task.cancel()


@pytest.mark.parametrize("is_urgent", [True, False])
async def test_only_an_urgent_port_reaches_its_host_before_bulk_reached_all(*, is_urgent: bool) -> None:
    hosts, networks = 16 * SESSIONS_PER_TURN, 65
    store = MemoryStore()
    controller = Controller(store, SystemClock(), SILENT)
    await controller.start()
    await commit(
        store, networks=tuple(map(network, range(networks))), subnets=tuple(map(subnet, range(networks)))
    )
    agents = [AgentDouble(f"host-{number:04}", number.to_bytes(4, "big")) for number in range(hosts)]
    for agent in agents:
        agent.connect(controller)
    for agent in agents:
        await asyncio.wait_for(agent.complete.wait(), 10)
    seen = [len(agent.updates) for agent in agents]

    def reached() -> int:
        return sum(len(agent.updates) > before for agent, before in zip(agents, seen, strict=True))

    bulk = [port(number, agent.host, net=number % 64) for number, agent in enumerate(agents)]
    await commit(store, ports=tuple(bulk))
    one = port(9000, agents[-1].host, net=64, fast_path=is_urgent)
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 - turns of the loop are what is counted
            await asyncio.sleep(0)
        await commit(store, ports=(one,))
        while not _brings(agents[-1].updates, one.id):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert (reached() < hosts) is is_urgent
    for agent in agents:
        await agent.disconnect()
    await controller.stop()


def _brings(updates: list[Update], port_id: PortId) -> bool:
    return any(
        entry.id == port_id
        for update in updates
        for section in update.sections
        for entry in getattr(section.change, "set_ports", ())
    )
