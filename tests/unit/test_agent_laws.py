"""The agent between a controller in memory and a data plane that fails when told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from alcor.contracts import memory_channel
from alcor.contracts.agent_channel import Channel, Farewell, Outcome, Update, token_of
from alcor.contracts.data_plane import HostFacts
from alcor.host_agent import inbox, waiting_updates
from alcor.host_agent.agent import Agent
from alcor.host_agent.journal import Journal, NoJournal
from alcor.host_agent.settings import AgentTiming
from alcor.model import errors
from alcor.model.goal_state import HostState, digest
from alcor.model.ids import HostId, PortId
from alcor.model.version import Version
from alcor.runtime.event_log import SILENT
from doubles import virtual
from doubles.agent import Conversation, FailingDataPlane, change, delta, full, key, removal
from doubles.waiting import eventually

pytestmark = pytest.mark.virtual_time

FACTS = HostFacts(HostId("host-1"), b"\x7f\x00\x00\x01", 0x020000000001)
FAST = AgentTiming(
    beat_s=0.02,
    silence_s=0.1,
    reconnect_min_s=0.001,
    reconnect_max_s=0.01,
    refused_retry_s=0.05,
    refused_retry_min_s=0.0,
    data_plane_retry_s=0.01,
    data_plane_answer_s=0.5,
)
IN_FORCE, REFUSED, SEND_ALL = Outcome.IN_FORCE, Outcome.REFUSED, Outcome.SEND_ALL


class MemoryJournal(NoJournal):
    """Keeps its frames, and begins from a given state."""

    def __init__(self, state: HostState | None = None) -> None:
        self.state = state or HostState()
        self.frames: list[bytes] = []

    def load(self) -> HostState:
        return self.state

    def append(self, frames: object) -> None:
        assert isinstance(frames, list)
        self.frames += frames


class Bench:
    """One agent, its data plane, and the conversations it had."""

    def __init__(self) -> None:
        self.data_plane = FailingDataPlane()
        self.conversations: list[Conversation] = []
        self.epoch = 1
        self.is_away = False
        self.beat_s = 0.02
        self.attempts = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, url: str) -> Channel:
        self.attempts += 1
        if self.is_away:
            raise errors.Unavailable("nobody there", retry_after_s=0.01)
        ours, theirs = memory_channel.pair()
        conversation = Conversation(ours, epoch=self.epoch, beat_s=self.beat_s)
        self.conversations.append(conversation)
        self._tasks.append(asyncio.create_task(conversation.run()))
        return theirs

    async def next(self, number: int = 1) -> Conversation:
        """Give a conversation by its number, from 1, once the agent introduced itself in it."""
        await eventually(lambda: len(self.conversations) >= number and self.conversations[number - 1].hello)
        return self.conversations[number - 1]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, AssertionError):
                raise result


@asynccontextmanager
async def running(bench: Bench, journal: Journal | None = None) -> AsyncIterator[Bench]:
    agent = Agent(
        FACTS,
        "zone-1",
        bench.data_plane,
        journal or MemoryJournal(),
        bench.connect,
        virtual.clock(),
        SILENT,
        urls=["memory:"],
        timing=FAST,
    )
    task = asyncio.create_task(agent.run())
    try:
        yield bench
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.close()
        assert bench.data_plane.is_closed


def journal_with(name: str, revision: int, *ports: str) -> MemoryJournal:
    state = HostState()
    inbox.receive(state, full(name, revision, *ports))
    return MemoryJournal(state)


async def test_sections_are_acknowledged_after_the_data_plane_holds_them() -> None:
    async with running(Bench()) as bench:
        controller = await bench.next()
        bench.data_plane.gate.clear()
        number = controller.update(full("a", 1, "p"), complete=True)
        await asyncio.sleep(0.03)
        assert controller.acknowledgements == []
        bench.data_plane.gate.set()
        assert [one.outcome for one in (await controller.answer(number)).results] == [IN_FORCE]
        assert bench.data_plane.holds == {key("a"): change("p", network="a")}


async def test_updates_that_wait_are_put_in_force_together_and_answered_each() -> None:
    async with running(Bench()) as bench:
        controller = await bench.next()
        await controller.outcomes(full("a", 1), complete=True)
        bench.data_plane.gate.clear()
        controller.update(delta("a", 1, 2, "p2"))
        await asyncio.sleep(0.01)
        for revision in range(3, 8):
            controller.update(delta("a", revision - 1, revision, f"p{revision}"))
        await asyncio.sleep(0.02)
        bench.data_plane.gate.set()
        await controller.answer(controller.numbers)
        assert [one.number for one in controller.acknowledgements] == [1, 2, 3, 4, 5, 6, 7]
        assert [len(call) for call in bench.data_plane.applied] == [1, 5]


async def test_a_delta_without_its_base_is_answered_send_all_and_the_full_section_heals() -> None:
    async with running(Bench()) as bench:
        controller = await bench.next()
        assert await controller.outcomes(delta("a", 1, 2, "p"), full("b", 2)) == [SEND_ALL, IN_FORCE]
        assert await controller.outcomes(full("a", 2, "p")) == [IN_FORCE]


async def test_hello_names_the_sections_in_force_with_their_digests() -> None:
    bench = Bench()
    bench.data_plane.plugged = [PortId("q"), PortId("p")]
    async with running(bench, journal_with("a", 4, "p")):
        hello = (await bench.next()).hello
        assert hello is not None
        assert (hello.host, hello.zone, hello.data_plane) == ("host-1", "zone-1", "failing")
        assert [(one.key, one.version, one.digest) for one in hello.held] == [
            (key("a"), Version(1, 4), digest(change("p", network="a")))
        ]
        assert hello.plugged == ("p", "q")


async def test_nothing_is_removed_before_the_first_synchronisation_is_complete() -> None:
    bench = Bench()
    bench.data_plane.holds = {key("old"): change("x")}
    async with running(bench, journal_with("a", 4, "p")):
        controller = await bench.next()
        await controller.outcomes(delta("a", 4, 5, "q"))
        assert bench.data_plane.synchronised == [False]
        assert set(bench.data_plane.holds) == {key("old"), key("a")}
        await controller.outcomes(complete=True)
        assert bench.data_plane.synchronised == [False, True]
        assert set(bench.data_plane.holds) == {key("a")}


async def test_a_removed_section_goes_and_leaves_a_tombstone() -> None:
    async with running(Bench()) as bench:
        controller = await bench.next()
        await controller.outcomes(full("a", 1, "p"), complete=True)
        assert await controller.outcomes(removal("a", 2)) == [IN_FORCE]
        assert bench.data_plane.holds == {}
        assert await controller.outcomes(full("a", 1, "p")) == [
            IN_FORCE
        ]  # older than what is in force: nothing
        assert bench.data_plane.holds == {}


async def test_a_refusal_is_told_with_its_reason_and_tried_again_by_itself() -> None:
    bench = Bench()
    bench.data_plane.refuses = {key("b"): "no such bridge"}
    async with running(bench):
        controller = await bench.next()
        answer = await controller.answer(controller.update(full("a", 1), full("b", 1, "p")))
        assert [(one.outcome, one.reason) for one in answer.results] == [
            (IN_FORCE, ""),
            (REFUSED, "no such bridge"),
        ]
        bench.data_plane.refuses = {}
        news = await controller.answer(0)
        assert [(one.key, one.version, one.outcome) for one in news.results] == [
            (key("b"), Version(1, 1), IN_FORCE)
        ]
        assert bench.data_plane.holds[key("b")] == change("p", network="b")


async def test_a_refused_section_is_tried_again_whole_with_the_next_change() -> None:
    bench = Bench()
    bench.data_plane.refuses = {key("b"): "full"}
    async with running(bench):
        controller = await bench.next()
        await controller.outcomes(full("a", 1), full("b", 1, "p"), complete=True)
        bench.data_plane.refuses = {}
        assert await controller.outcomes(delta("b", 1, 2, "q")) == [IN_FORCE]
        assert bench.data_plane.holds[key("b")] == change("p", "q", network="b")


async def test_refused_sections_are_named_in_hello_but_not_as_in_force() -> None:
    bench = Bench()
    bench.data_plane.refuses = {key("a"): "full"}
    async with running(bench, journal_with("a", 4, "p")):
        controller = await bench.next()
        hello = controller.hello
        assert hello is not None
        assert [(held.key, held.digest) for held in hello.held] == [(key("a"), b"")]
        # Only what is named can be removed; once unnamed, it would come in force and stay.
        await controller.outcomes(removal("a", 5), complete=True)
        bench.data_plane.refuses = {}
        await asyncio.sleep(0.1)
        assert bench.data_plane.holds == {}


async def test_nothing_is_in_force_while_the_data_plane_may_still_do_what_a_former_writer_told_it() -> None:
    bench = Bench()
    bench.data_plane.holds = {key("a"): change("p", "gone", network="a")}
    async with running(bench):
        controller = await bench.next()
        assert await controller.outcomes(full("a", 1, "p")) == []
        bench.data_plane.refuses = {key("b"): "full"}
        assert await controller.outcomes(full("b", 2), removal("c", 2)) == [REFUSED]
        bench.data_plane.refuses = {}
        await eventually(lambda: bench.data_plane.holds.keys() == {key("a"), key("b")})
        await asyncio.sleep(0.1)
        assert len(controller.acknowledgements) == 2, "what is not refused any more is not in force for that"
        assert await controller.outcomes(delta("a", 1, 3, "q")) == []
        answer = await controller.answer(controller.update(full("d", 4), complete=True))
        assert [(one.key, one.version, one.outcome) for one in answer.results] == [
            (key("d"), Version(1, 4), IN_FORCE),
            (key("a"), Version(1, 3), IN_FORCE),
            (key("b"), Version(1, 2), IN_FORCE),
            (key("c"), Version(1, 2), IN_FORCE),
        ], "of what was removed, too: what was left there of it is gone now"
        assert await controller.outcomes(delta("d", 4, 5, "r")) == [IN_FORCE]


async def test_what_a_journal_names_is_in_force_before_a_synchronisation_is_complete() -> None:
    bench = Bench()
    bench.data_plane.holds = {key("a"): change("p", network="a")}
    async with running(bench, journal_with("a", 4, "p")):
        controller = await bench.next()
        assert await controller.outcomes(delta("a", 4, 5, "q")) == [IN_FORCE]


async def test_a_lost_data_plane_ends_the_stream_and_hello_follows_its_synchronisation() -> None:
    async with running(Bench()) as bench:
        first = await bench.next()
        await first.outcomes(full("a", 1, "p"), complete=True)
        bench.data_plane.lose()
        await eventually(lambda: first.channel.close_reason)
        await asyncio.sleep(0.05)
        assert len(bench.conversations) == 1
        bench.data_plane.holds = {}
        bench.data_plane.recover()
        second = await bench.next(2)
        assert second.hello is not None
        assert [one.key for one in second.hello.held] == [key("a")]
        assert bench.data_plane.holds == {key("a"): change("p", network="a")}
        assert bench.data_plane.synchronised[-1] is True


async def test_a_data_plane_that_fails_an_update_gets_no_acknowledgement() -> None:
    async with running(Bench()) as bench:
        first = await bench.next()
        await first.outcomes(full("a", 1), complete=True)
        bench.data_plane.is_away = True
        first.update(delta("a", 1, 2, "p"))
        await eventually(lambda: first.channel.close_reason)
        assert [one.number for one in first.acknowledgements] == [1]
        bench.data_plane.is_away = False  # it never says that it is ready: the agent asks again by itself
        second = await bench.next(2)
        assert second.hello is not None
        assert [one.version for one in second.hello.held] == [Version(1, 2)]


async def test_a_data_plane_that_hangs_is_taken_for_lost() -> None:
    async with running(Bench()) as bench:
        first = await bench.next()
        bench.data_plane.gate.clear()
        first.update(full("a", 1))
        await eventually(lambda: first.channel.close_reason)
        assert first.acknowledgements == []
        bench.data_plane.gate.set()
        await bench.next(2)


async def test_an_answer_never_goes_to_another_stream_than_its_update_came_by() -> None:
    async with running(Bench()) as bench:
        first = await bench.next()
        bench.data_plane.gate.clear()
        first.update(full("a", 1))
        await asyncio.sleep(0.02)
        first.channel.close()
        await eventually(lambda: len(bench.conversations) == 2)
        bench.data_plane.gate.set()
        second = await bench.next(2)
        await second.outcomes(full("b", 2))
        assert [one.number for one in second.acknowledgements] == [1]
        assert [one.results[0].key for one in second.acknowledgements] == [key("b")]


async def test_plugs_of_one_turn_travel_together_and_the_last_word_counts() -> None:
    async with running(Bench()) as bench:
        controller = await bench.next()
        events = bench.data_plane.events
        assert events is not None
        for name in ("p", "q", "r"):
            events.plugged(PortId(name))
        events.unplugged(PortId("q"))
        await eventually(lambda: controller.plugs)
        assert [(one.plugged, one.unplugged) for one in controller.plugs] == [(("p", "r"), ("q",))]


async def test_a_silent_controller_is_left_for_another_stream() -> None:
    bench = Bench()
    bench.beat_s = 0.0
    async with running(bench):
        first = await bench.next()
        await eventually(lambda: first.channel.close_reason)
        assert first.beats > 0
        await bench.next(2)


async def test_a_long_apply_is_not_the_controllers_silence() -> None:
    async with running(Bench()) as bench:
        first = await bench.next()
        bench.data_plane.gate.clear()
        number = first.update(full("a", 1))
        await asyncio.sleep(0.3)
        bench.data_plane.gate.set()
        await first.answer(number)
        assert len(bench.conversations) == 1


async def test_a_controller_that_sends_more_than_is_taken_waits_and_is_not_called_silent() -> None:
    async with running(Bench()) as bench:
        first = await bench.next()
        await first.outcomes(full("a", 1), complete=True)
        bench.data_plane.gate.clear()
        for revision in range(2, 2 + 3 * waiting_updates.UPDATES_MAX):
            first.update(delta("a", revision - 1, revision, "p"))
        await asyncio.sleep(0.3)
        bench.data_plane.gate.set()
        assert (await first.answer(first.numbers)).results[0].outcome is IN_FORCE
        assert max(len(call) for call in bench.data_plane.applied) == waiting_updates.UPDATES_MAX
        assert len(bench.conversations) == 1


async def test_a_controller_behind_what_is_held_is_not_obeyed() -> None:
    bench = Bench()
    state = HostState()
    state.versions[key("gone")] = Version(3, 9)
    async with running(bench, MemoryJournal(state)):
        first = await bench.next()
        first.update(full("a", 1, "p"))
        await eventually(lambda: first.channel.close_reason)
        assert first.acknowledgements == []
        bench.epoch = 3
        await eventually(lambda: bench.conversations[-1].epoch == 3)
        await bench.next(len(bench.conversations))


async def test_an_agent_without_a_journal_knows_from_its_data_plane_that_a_controller_is_old() -> None:
    bench = Bench()
    bench.data_plane.tokens.append(token_of(3, 1))  # recorded by its former process
    bench.epoch = 2
    async with running(bench):
        assert (await bench.next()).hello.epoch == 3  # type: ignore[union-attr]
        await bench.next(2)
        await bench.next(3)
        assert bench.data_plane.tokens == [token_of(3, 1)]


async def test_a_fenced_agent_asks_for_a_token_even_if_a_call_ends_late() -> None:
    bench = Bench()
    bench.data_plane.starts_ready = False
    bench.data_plane.gate.clear()
    async with running(bench):
        await eventually(lambda: bench.data_plane.events)
        assert bench.data_plane.events is not None
        bench.data_plane.events.ready()  # synchronisation begins, and is not answered
        await asyncio.sleep(0.01)
        bench.data_plane.events.lost("demoted")
        bench.data_plane.events.fenced("a neighbour")
        bench.data_plane.is_away = True
        bench.data_plane.gate.set()
        hello = await eventually(lambda: next((one.hello for one in bench.conversations if one.hello), None))
        assert hello.held == ()


async def test_a_new_controller_confirms_and_goes_on() -> None:
    async with running(Bench()) as bench:
        first = await bench.next()
        await first.outcomes(full("a", 1, "p"), complete=True)
        bench.epoch = 2
        first.send(Farewell("restart"))
        second = await bench.next(2)
        confirmation = delta("a", 1, 1)
        confirmation = type(confirmation)(key("a"), Version(1, 1), Version(2, 1), confirmation.change)
        calls = len(bench.data_plane.applied)
        assert await second.outcomes(confirmation, complete=True) == [IN_FORCE]
        assert len(bench.data_plane.applied) == calls  # the data plane was not troubled
        assert await second.outcomes(delta("a", 1, 2, "q", epoch=2)) == [IN_FORCE]


@pytest.mark.parametrize("frame", [b"\xc1", b"\x93\xa6update\x01\x02", b"\x81\xa1a\x01"])
async def test_a_malformed_message_ends_the_stream_not_the_agent(frame: bytes) -> None:
    async with running(Bench()) as bench:
        first = await bench.next()
        first.channel.send(frame)
        await eventually(lambda: first.channel.close_reason)
        await bench.next(2)


async def test_without_a_controller_the_journal_is_put_in_force_and_attempts_go_on() -> None:
    bench = Bench()
    bench.is_away = True
    async with running(bench, journal_with("a", 4, "p")):
        await eventually(lambda: bench.attempts >= 3)
        assert set(bench.data_plane.holds) == {key("a")}
        bench.is_away = False
        await bench.next()


async def test_the_journal_keeps_the_frames_that_changed_the_state_and_no_others() -> None:
    journal = MemoryJournal()
    async with running(Bench(), journal) as bench:
        controller = await bench.next()
        await controller.outcomes(full("a", 1))
        await controller.outcomes(full("a", 1))
        await controller.outcomes(delta("a", 7, 8))
        await controller.outcomes(delta("a", 1, 2))
    kept = [msgspec.msgpack.decode(frame, type=Update).number for frame in journal.frames]
    assert kept == [1, 4]
