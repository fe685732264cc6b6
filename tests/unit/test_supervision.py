"""What becomes of a task that fails: it is told, and whoever runs the process hears of it."""

import asyncio
import contextlib
import inspect
import io

import msgspec
import pytest

from alcor.contracts.agent_channel import Hello
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.control_plane.port_watch import Nobody
from alcor.runtime import supervision
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor
from doubles.control_plane import AgentDouble


class BrokenWatcher(Nobody):
    """Breaks its contract with the first host that comes."""

    def came(self, hello: Hello) -> None:
        raise KeyError(hello.host)


async def _fails(error: BaseException) -> None:
    raise error


async def test_what_fails_first_is_the_reason_and_is_told_once() -> None:
    told: list[str] = []
    failure = Failure(told.append)
    tasks = Supervisor(EventLog(stream=io.StringIO()), failure=failure)
    tasks.start("intake", _fails(KeyError("port")))
    await failure.wait()
    tasks.start("flusher", _fails(ValueError()))
    await asyncio.sleep(0)
    assert failure.reason == "'intake' failed: KeyError: 'port'"
    assert told == [failure.reason]
    await tasks.close()


def test_what_fails_for_one_message_is_told_and_left_undone() -> None:
    stream = io.StringIO()
    with supervision.contained(EventLog(stream=stream), "queue message 7"):
        raise KeyError("port")
    told = stream.getvalue()
    assert "queue message 7" in told
    assert "KeyError" in told


def test_who_is_cancelled_in_the_middle_of_a_message_is_cancelled() -> None:
    with (
        pytest.raises(asyncio.CancelledError),
        supervision.contained(EventLog(stream=io.StringIO()), "a message"),
    ):
        raise asyncio.CancelledError


async def test_a_task_that_is_cancelled_has_not_failed() -> None:
    failure = Failure()
    tasks = Supervisor(EventLog(stream=io.StringIO()), failure=failure)
    tasks.start("intake", asyncio.sleep(60))
    await asyncio.sleep(0)
    await tasks.close()
    assert not failure.is_set()


async def test_a_task_that_is_cancelled_before_its_turn_leaves_no_work_that_was_never_begun() -> None:
    tasks = Supervisor(EventLog(stream=io.StringIO()), failure=None)
    work = asyncio.sleep(60)
    tasks.start("rescue", work)
    await tasks.close()
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervision, "CANCEL_AGAIN_S", 0.01)
    swallowed = []

    async def swallow() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        swallowed.append(1)
        await asyncio.sleep(60)

    tasks = Supervisor(EventLog(stream=io.StringIO()), failure=None)
    task = tasks.start("intake", swallow())
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.close(), 5)
    assert swallowed
    assert task.cancelled()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError(), "ValueError"),
        (ExceptionGroup("of two", [KeyError(1), ValueError("bad")]), "KeyError: 1; ValueError: bad"),
    ],
)
async def test_an_error_is_one_line(error: BaseException, words: str) -> None:
    failure = Failure()
    Supervisor(EventLog(stream=io.StringIO()), failure=failure).start("agent", _fails(error))
    await failure.wait()
    assert failure.reason == f"'agent' failed: {words}"


async def test_a_failure_in_serving_a_host_is_logged_with_its_name() -> None:
    log = io.StringIO()
    controller = Controller(
        MemoryStore(), SystemClock(), EventLog(stream=io.StringIO()), watcher=BrokenWatcher()
    )
    await controller.start()
    peers = Supervisor(EventLog(stream=log), failure=None)
    agent = AgentDouble("compute-7", b"\x0a\0\0\7")
    agent.connect(controller, start=lambda work: peers.start("channel", work))
    assert agent.channel is not None
    assert await asyncio.wait_for(agent.channel.receive(), 5) is None
    await asyncio.sleep(0)
    (line,) = log.getvalue().splitlines()
    told = msgspec.json.decode(line)
    assert (told["event"], told["task"]) == ("task_failed", "agent of compute-7")
    assert "KeyError" in told["stack"]
    assert not controller.failed.is_set()
    await controller.stop()
