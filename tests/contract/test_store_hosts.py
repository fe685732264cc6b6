"""Hosts that agents introduce, in every store: together in few commits, and none fails for another."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.store import Store
from alcor.control_plane.controller import Controller
from alcor.control_plane.introductions import TOGETHER_MAX
from alcor.model.records import Host
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import AgentDouble
from doubles.waiting import eventually

COUNT = 2 * TOGETHER_MAX


@pytest.fixture
async def controller(store: Store) -> AsyncIterator[Controller]:
    made = Controller(store, SystemClock(), SILENT)
    await made.start()
    yield made
    await made.stop()


def agents(names: list[str], zone: str) -> list[AgentDouble]:
    found = [AgentDouble(name, number.to_bytes(4, "big")) for number, name in enumerate(names, 1)]
    for agent in found:
        agent.zone = zone
    return found


async def come(controller: Controller, those: list[AgentDouble]) -> set[str]:
    """Let them in; name those that are not."""
    for agent in those:
        agent.connect(controller)
    await eventually(
        lambda: all(controller.convergence.is_alive(agent.host) or agent.farewell for agent in those)
    )
    refused = {agent.host for agent in those if not controller.convergence.is_alive(agent.host)}
    await asyncio.gather(*(agent.disconnect() for agent in those))
    return refused


async def test_hosts_that_come_and_that_changed_cost_few_commits(store: Store, controller: Controller) -> None:
    names = [f"h{number:05}" for number in range(COUNT)]
    assert not await come(controller, agents(names[: COUNT // 2], "one"))
    before = await store.revision()
    assert not await come(controller, agents(names, "other"))
    assert await store.revision() - before <= 1 + COUNT // TOGETHER_MAX
    found = await store.get(Host, names)
    assert [found[name].zone for name in names] == ["other"] * COUNT


async def test_what_another_process_wrote_is_in_nobodys_way(postgres_dsn: str) -> None:
    """Two controllers hear of each other's commits by the log only."""
    names = [f"h{number:05}" for number in range(60)]
    stores = [await PostgresStore.open(postgres_dsn, SystemClock(), SILENT) for _ in range(2)]
    controllers = [Controller(store, SystemClock(), SILENT) for store in stores]
    for each in controllers:
        await each.start()
    shares = agents(names[:40], "one"), agents(names[20:], "other")
    refused = await asyncio.gather(*map(come, controllers, shares))
    assert refused == [set(), set()]
    assert sorted(await stores[0].get(Host, names)) == names
    for each in controllers:
        await each.stop()
    for store in stores:
        await store.close()


async def test_a_name_that_postgres_cannot_store_fails_its_own_host_alone(
    postgres_store: PostgresStore,
) -> None:
    controller = Controller(postgres_store, SystemClock(), SILENT)
    await controller.start()
    names = [f"h{number:05}" for number in range(TOGETHER_MAX - 1)]
    assert await come(controller, agents([*names, "nul\0"], "")) == {"nul\0"}
    assert sorted(await postgres_store.get(Host, names)) == names
    await controller.stop()
