"""Subscriptions at a real queue that fail the first time are made the next: neither end stays deaf."""

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from alcor.adapters import identity
from alcor.adapters.nats import access
from alcor.adapters.nats.agent_queue import NatsAgentQueue
from alcor.adapters.nats.connection import NatsConnection
from alcor.adapters.nats.embedded import EmbeddedNats
from alcor.adapters.nats.goal_queue import NatsGoalQueue
from alcor.model.goal_state import network_key
from alcor.model.ids import HostId
from alcor.runtime.event_log import SILENT, EventLog
from alcor.runtime.supervision import Failure
from doubles.waiting import eventually

HOST = HostId("host-0")


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path / "nats", tmp_path / "authority")
    await server.start()
    yield server
    await server.stop()


def fail_subscription(connection: NatsConnection, number: int) -> None:
    """Have the connection's subscription of this number fail, once."""
    original, calls = connection.client.subscribe, 0

    async def subscribe(*arguments: object, **named: object) -> Subscription:
        nonlocal calls
        calls += 1
        if calls == number:
            raise NatsError("the connection is lost in between")
        return await original(*arguments, **named)  # type: ignore[arg-type]

    connection.client.subscribe = subscribe  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("failing", [1, 2])
async def test_a_controller_hears_agents_and_confirmations_all_the_same(
    nats: EmbeddedNats, tmp_path: Path, failing: int
) -> None:
    queue = NatsGoalQueue(nats.controller_access(), SILENT)
    fail_subscription(queue, failing)
    agents = _agents(nats, tmp_path)
    heard: list[bytes] = []
    queue.listen(lambda host, session, frame: heard.append(frame), lambda: None)
    place = agents.subscribe(HOST, lambda session, frame: None, lambda: None)
    queue.start()
    agents.start()
    try:
        await eventually(lambda: queue.is_up and place.is_up)
        place.answer(b"here", session=1)
        await eventually(lambda: heard == [b"here"])
        queue.publish(HOST, network_key("n"), b"goal", session=1)
        await eventually(lambda: queue.state.unconfirmed == 0)
    finally:
        await agents.close()
        await queue.close()


async def test_agents_hear_beats_all_the_same(nats: EmbeddedNats, tmp_path: Path) -> None:
    queue, agents = NatsGoalQueue(nats.controller_access(), SILENT), _agents(nats, tmp_path)
    fail_subscription(agents, 1)
    heard: list[bytes] = []
    place = agents.subscribe(HOST, lambda session, frame: heard.append(frame), lambda: None)
    queue.start()
    agents.start()
    try:
        await eventually(lambda: queue.is_up and place.is_up)
        async with asyncio.timeout(5):
            while not heard:
                queue.tell_all(b"beat")
                await asyncio.sleep(0.05)
    finally:
        await agents.close()
        await queue.close()


async def test_a_message_that_cannot_be_taken_is_in_the_log_and_the_next_is_heard(
    nats: EmbeddedNats, tmp_path: Path
) -> None:
    said = io.StringIO()
    queue = NatsGoalQueue(nats.controller_access(), EventLog(stream=said))
    agents = _agents(nats, tmp_path)
    heard: list[bytes] = []

    def take(_host: HostId, _session: int, frame: bytes) -> None:
        if frame == b"bad":
            raise KeyError("a mistake of ours")
        heard.append(frame)

    queue.listen(take, lambda: None)
    place = agents.subscribe(HOST, lambda session, frame: None, lambda: None)
    queue.start()
    agents.start()
    try:
        await eventually(lambda: queue.is_up and place.is_up)
        place.answer(b"bad", session=1)
        place.answer(b"here", session=1)
        await eventually(lambda: heard == [b"here"])
        assert "a mistake of ours" in said.getvalue()
        assert "host-0" in said.getvalue()
    finally:
        await agents.close()
        await queue.close()


async def test_what_fails_when_a_connection_comes_back_ends_the_process(
    nats: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = Failure()
    queue = NatsGoalQueue(nats.controller_access(), SILENT, failure=failure)
    queue.start()
    try:
        await eventually(lambda: queue.is_up)

        async def fails() -> None:
            raise KeyError("a mistake of ours")

        monkeypatch.setattr(queue, "connected", fails)
        assert nats.pid is not None
        os.kill(nats.pid, signal.SIGKILL)
        await eventually(lambda: not nats.is_running)
        await nats.ensure_running()
        async with asyncio.timeout(10):
            await failure.wait()
        assert "a mistake of ours" in failure.reason
    finally:
        await queue.close()


async def test_a_connection_that_is_lost_while_it_is_prepared_is_not_up(
    nats: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = NatsGoalQueue(nats.controller_access(), SILENT)
    begun, goes_on, prepare = asyncio.Event(), asyncio.Event(), queue.connected

    async def slowly() -> None:
        begun.set()
        await goes_on.wait()

    monkeypatch.setattr(queue, "connected", slowly)
    queue.start()
    try:
        await begun.wait()
        assert nats.pid is not None
        os.kill(nats.pid, signal.SIGKILL)
        await eventually(lambda: not queue.client.is_connected)
        monkeypatch.setattr(queue, "connected", prepare)
        goes_on.set()
        await asyncio.sleep(0.05)
        assert not queue.is_up
        assert not queue.send("subject", b"lost")
        await eventually(lambda: not nats.is_running)
        await nats.ensure_running()
        await eventually(lambda: queue.is_up)
    finally:
        await queue.close()


def _agents(nats: EmbeddedNats, directory: Path) -> NatsAgentQueue:
    identity.issue_fleet(directory / "authority", directory / "fleet")
    reached = access.choose(nats.url, certificates=directory / "fleet", credentials=None)
    return NatsAgentQueue(reached, SILENT, name="fleet")
