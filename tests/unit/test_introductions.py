"""Hosts that come together are recorded together; none fails for another, nor because the store is busy."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Write
from alcor.control_plane.controller import Controller
from alcor.control_plane.introductions import TOGETHER_MAX, TRIES, Introductions
from alcor.control_plane.region import Region
from alcor.model import errors
from alcor.model.records import Host, RecordSet
from alcor.runtime.event_log import SILENT
from doubles import virtual
from doubles.control_plane import AgentDouble
from doubles.waiting import eventually

pytestmark = pytest.mark.virtual_time

COMMIT_S = 0.05
RETRY_S = 1.0


class SlowStore(MemoryStore):
    """Takes its time, refuses records of some hosts, and may be away. Keeps what it was asked to commit."""

    def __init__(self) -> None:
        super().__init__(virtual.clock())
        self.refuses: set[str] = set()
        self.is_away = False
        self.asked: list[Write] = []

    async def commit(self, write: Write) -> int:
        self.asked.append(write)
        await asyncio.sleep(COMMIT_S)
        if self.is_away:
            raise errors.Unavailable("the store does not answer", retry_after_s=RETRY_S)
        if not self.refuses.isdisjoint(host.id for host in (*write.inserts.hosts, *write.updates.hosts)):
            raise errors.Invalid("a value cannot be stored")
        return await super().commit(write)

    async def commit_elsewhere(self, write: Write) -> None:
        """Commit as another process: nobody here is told."""
        listeners, self._listeners = self._listeners, []
        await super().commit(write)
        self._listeners = listeners


@pytest.fixture
async def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
async def controller(store: SlowStore) -> AsyncIterator[Controller]:
    made = Controller(store, virtual.clock(), SILENT)
    await made.start()
    yield made
    await made.stop()


def agents(count: int) -> list[AgentDouble]:
    return [AgentDouble(f"h{number:05}", number.to_bytes(4, "big")) for number in range(1, count + 1)]


async def come(controller: Controller, those: list[AgentDouble]) -> None:
    for agent in those:
        agent.connect(controller)
    await eventually(
        lambda: all(controller.convergence.is_alive(agent.host) or agent.farewell for agent in those)
    )


def alive(controller: Controller, those: list[AgentDouble]) -> list[AgentDouble]:
    return [agent for agent in those if controller.convergence.is_alive(agent.host)]


async def leave(those: list[AgentDouble]) -> None:
    for agent in those:
        await agent.disconnect()


@pytest.mark.parametrize("count", [10, TOGETHER_MAX, 4 * TOGETHER_MAX])
async def test_hosts_that_come_together_cost_few_commits(store: SlowStore, controller: Controller, count: int):
    those = agents(count)
    await come(controller, those)
    assert alive(controller, those) == those
    assert len(store.asked) <= 1 + -(-count // TOGETHER_MAX)
    assert max(len(write.inserts.hosts) for write in store.asked) <= TOGETHER_MAX
    assert {host.id: host.vtep for host in await hosts(store)} == {agent.host: agent.vtep for agent in those}
    await leave(those)


async def test_hosts_that_are_known_cost_none_and_those_that_changed_are_told_with_new_ones(
    store: SlowStore, controller: Controller
) -> None:
    those = agents(40)
    await come(controller, those[:30])
    await leave(those[:30])
    store.asked.clear()
    for agent in those[20:30]:
        agent.zone = "elsewhere"
    await come(controller, those)
    assert alive(controller, those) == those
    assert sum(len(write.updates.hosts) for write in store.asked) == 10
    assert sum(len(write.inserts.hosts) for write in store.asked) == 10
    assert len(store.asked) <= 2
    await leave(those)


async def test_a_record_that_is_refused_fails_its_own_host_alone(
    store: SlowStore, controller: Controller
) -> None:
    those = agents(TOGETHER_MAX)
    guilty = [those[7], those[200]]
    store.refuses = {agent.host for agent in guilty}
    await come(controller, those)
    assert alive(controller, those) == [agent for agent in those if agent not in guilty]
    assert [agent.farewell for agent in those if agent.farewell] == ["a value cannot be stored"] * len(guilty)
    assert len(store.asked) <= 2 + 2 * len(guilty) * TOGETHER_MAX.bit_length(), "halves, not each alone"
    await leave(those)


async def test_what_another_process_wrote_meanwhile_is_kept(store: SlowStore, controller: Controller) -> None:
    those = agents(20)
    await come(controller, those[:10])
    await leave(those[:10])
    record = (await store.get(Host, [those[3].host]))[those[3].host]
    described = msgspec.structs.replace(record, description="rack 7", revision_number=2)
    newcomer = msgspec.structs.replace(record, id=those[15].host, revision_number=1)
    await store.commit_elsewhere(write_of(inserts=RecordSet(hosts=(newcomer,))))
    await store.commit_elsewhere(write_of(updates=RecordSet(hosts=(described,))))
    for agent in those:
        agent.zone = "elsewhere"
    await come(controller, those)
    assert alive(controller, those) == those
    found = {host.id: host for host in await hosts(store)}
    assert found[those[3].host].description == "rack 7"
    assert {host.zone for host in found.values()} == {"elsewhere"}
    assert found[those[15].host].vtep == those[15].vtep
    await leave(those)


async def test_hosts_wait_while_the_store_is_busy(store: SlowStore, controller: Controller) -> None:
    those = agents(20)
    store.is_away = True
    coming = asyncio.create_task(come(controller, those))
    await asyncio.sleep((TRIES - 2) * RETRY_S)
    store.is_away = False
    await coming
    assert alive(controller, those) == those
    assert not any(agent.farewell for agent in those)
    await leave(those)


async def test_hosts_are_refused_together_while_the_store_is_away_and_come_in_with_their_next_attempt(
    store: SlowStore, controller: Controller
) -> None:
    those = agents(3 * TOGETHER_MAX)
    known, others = those[:10], those[10:]
    await come(controller, known)
    await leave(known)
    store.asked.clear()
    store.is_away = True
    await come(controller, those)
    assert alive(controller, those) == known, "what is known already needs no store"
    assert {agent.farewell for agent in others} == {"the store does not answer"}
    assert len(store.asked) == TRIES, "nobody waits for the store to fail once more for him"
    store.is_away = False
    for agent in others:
        agent.farewell = ""
        await agent.disconnect()
    await come(controller, others)
    assert alive(controller, those) == those
    await leave(those)


async def test_an_agent_that_gave_up_waiting_does_not_take_the_place_of_its_next_attempt(
    store: SlowStore, controller: Controller
) -> None:
    (agent,) = agents(1)
    agent.connect(controller)
    await asyncio.sleep(COMMIT_S / 2)
    assert agent.channel is not None
    agent.channel.close("the controller is silent")
    agent.connect(controller)
    await asyncio.sleep(4 * COMMIT_S)
    assert controller.convergence.is_alive(agent.host)
    assert not agent.farewell
    assert len(store.asked) == 1, "what was asked for the first time is not asked again"
    await agent.disconnect()


async def test_who_waits_when_the_controller_stops_is_told(store: SlowStore, controller: Controller) -> None:
    those = agents(5)
    for agent in those:
        agent.connect(controller)
    await asyncio.sleep(COMMIT_S / 2)
    await controller.stop()
    await asyncio.sleep(0)
    assert {agent.farewell for agent in those} == {"the controller stops"}
    late = agents(6)[-1]
    late.connect(controller)
    await asyncio.sleep(COMMIT_S)
    assert late.farewell == "the controller stops"
    await leave([*those, late])


async def test_who_is_cancelled_before_the_line_is_looked_at_does_not_hold_up_the_loop(
    store: SlowStore,
) -> None:
    line = Introductions(store, virtual.clock(), Region(), _know)
    running = asyncio.create_task(line.run())
    await asyncio.sleep(0)
    leaving, staying = [asyncio.create_task(line.introduce(agent.hello())) for agent in agents(2)]
    asyncio.get_running_loop().call_soon(leaving.cancel)  # after it woke the line, which looks in the next turn
    await staying
    alone = asyncio.create_task(line.introduce(agents(3)[2].hello()))
    asyncio.get_running_loop().call_soon(alone.cancel)
    await asyncio.sleep(COMMIT_S)
    assert leaving.cancelled()
    assert alone.cancelled()
    assert [[host.id for host in write.inserts.hosts] for write in store.asked] == [["h00002"]]
    running.cancel()


async def _know(revision: int) -> None:
    """Nothing follows this store."""


async def hosts(store: MemoryStore) -> list[Host]:
    async with store.snapshot() as snapshot:
        return [host async for chunk in snapshot.records(Host) for host in chunk]


def write_of(**parts: RecordSet) -> Write:
    return Write(request_id="another", project_id="", **parts)  # type: ignore[arg-type]
