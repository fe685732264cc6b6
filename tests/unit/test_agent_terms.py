"""Which controller an agent listens to, when more than one is alive."""

import asyncio

import msgspec
import pytest

from alcor.contracts.agent_channel import (
    PROTOCOL,
    Beat,
    Channel,
    Farewell,
    FromController,
    Hello,
    Update,
    Welcome,
    epoch_of,
    token_of,
)
from alcor.contracts.data_plane import HostFacts
from alcor.contracts.queue import OnFrame, OnLost
from alcor.host_agent import inbox
from alcor.host_agent.agent import Agent
from alcor.host_agent.journal import NoJournal
from alcor.host_agent.session import Other, Session
from alcor.host_agent.settings import AgentTiming
from alcor.model import errors
from alcor.model.goal_state import HostState
from alcor.model.ids import HostId
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.agent import Conversation, FailingDataPlane, full
from doubles.control_plane import channel_pair
from doubles.waiting import eventually

TIMING = AgentTiming(beat_s=0.01, silence_s=0.05)


class Heard:
    """What a session over the queue passed on of what controllers sent, and why it ended."""

    def __init__(self) -> None:
        self.updates: list[int] = []
        self.welcomes: list[int] = []
        self.reason = ""
        self.newest_epoch = 0


async def hear(*messages: FromController, newest_epoch: int = 0) -> Heard:
    """Let a shared session hear messages, then silence."""
    ours, theirs = channel_pair()
    session = Session(HostId("a"), ours, TIMING, bytes, newest_epoch=newest_epoch, is_shared=True)
    session.introduce(Beat())
    heard = Heard()

    async def on_update(update: Update, frame: bytes) -> None:
        heard.updates.append(update.number)

    def on_other(message: Other) -> None:
        assert isinstance(message, Welcome)
        heard.welcomes.append(message.epoch)

    for message in messages:
        theirs.send(msgspec.msgpack.encode(message))
    async with asyncio.timeout(5):
        heard.reason = await session.read(on_update=on_update, on_other=on_other)
    heard.newest_epoch = session.newest_epoch
    return heard


def update(number: int, epoch: int) -> Update:
    return Update(number, (full("a", number, epoch=epoch),), epoch=epoch)


async def test_over_the_queue_an_older_controller_is_not_listened_to() -> None:
    heard = await hear(
        Welcome(PROTOCOL, 6),
        update(1, 6),
        Welcome(PROTOCOL, 5),
        update(2, 5),
        Farewell("unknown", 5),
        update(3, 6),
    )
    assert (heard.welcomes, heard.updates) == ([6], [1, 3])
    assert heard.reason == "the controller is silent"


async def test_over_the_queue_a_newer_controller_ends_the_session_and_is_remembered() -> None:
    heard = await hear(Welcome(PROTOCOL, 5), update(1, 5), Welcome(PROTOCOL, 6), update(2, 6), update(3, 5))
    assert (heard.welcomes, heard.updates) == ([5], [1])
    assert (heard.reason, heard.newest_epoch) == ("a newer controller answers", 6)


async def test_over_the_queue_nothing_is_taken_before_the_welcome() -> None:
    assert (await hear(update(1, 6), Welcome(PROTOCOL, 6), update(2, 6))).updates == [2]


async def test_a_controller_older_than_the_newest_known_is_not_listened_to() -> None:
    heard = await hear(Welcome(PROTOCOL, 5), update(1, 5), newest_epoch=6)
    assert (heard.welcomes, heard.updates) == ([], [])


def test_a_token_tells_the_term_that_granted_it() -> None:
    assert epoch_of(token_of(7, 3)) == 7
    assert epoch_of(0) == 0
    assert token_of(7, 2**32 - 1) < token_of(8, 1)


class KeptQueue:
    """A queue that keeps one value for an agent, and hears what it says. Implements `HostSubscription`, too."""

    is_up = True

    def __init__(self, kept: Update) -> None:
        self.kept = msgspec.msgpack.encode(kept)
        self.heard: list[bytes] = []

    def subscribe(self, host: HostId, on_frame: OnFrame, on_lost: OnLost) -> "KeptQueue":
        return self

    async def last_values(self) -> list[bytes]:
        return [self.kept]

    def answer(self, frame: bytes, *, session: int) -> None:
        self.heard.append(frame)

    def close(self) -> None:
        pass


class Remembering(NoJournal):
    def load(self) -> HostState:
        state = HostState()
        inbox.receive(state, full("a", 1))
        return state


@pytest.mark.parametrize(("granted_by", "revision"), [(4, 5), (3, 1)])
async def test_what_the_queue_kept_is_taken_only_under_a_token_of_its_controller(
    granted_by: int, revision: int
) -> None:
    data_plane = FailingDataPlane()
    data_plane.tokens.append(token_of(granted_by, 1))
    queue = KeptQueue(Update(1, (full("a", 5, epoch=4),), epoch=4))
    agent = Agent(
        HostFacts(HostId("h"), b"\x7f\x00\x00\x01", 0x020000000001),
        "zone-1",
        data_plane,
        Remembering(),
        no_stream,
        SystemClock(),
        SILENT,
        urls=(),
        agent_queue=queue,
    )
    task = asyncio.create_task(agent.run())
    try:
        hello = msgspec.msgpack.decode(await eventually(lambda: queue.heard and queue.heard[0]), type=Hello)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [held.version.revision for held in hello.held] == [revision]


@pytest.mark.parametrize("fenced", [False, True])
async def test_what_the_queue_kept_since_the_last_session_is_not_taken_when_another_wrote_meanwhile(
    fenced: bool,
) -> None:
    """A neighbour's rescue had newer values by a stream; its lease has lapsed since."""
    data_plane = FailingDataPlane()
    queue = KeptQueue(Update(0, ()))
    conversations: list[Conversation] = []
    tasks: list[asyncio.Task[None]] = []

    async def connect(url: str) -> Channel:
        if conversations:
            raise errors.Unavailable("nobody there", retry_after_s=0.01)
        ours, theirs = channel_pair()
        conversations.append(Conversation(theirs))
        tasks.append(asyncio.create_task(conversations[-1].run()))
        return ours

    agent = Agent(
        HostFacts(HostId("h"), b"\x7f\x00\x00\x01", 0x020000000001),
        "zone-1",
        data_plane,
        NoJournal(),
        connect,
        SystemClock(),
        SILENT,
        urls=("tcp://controller:1",),
        agent_queue=queue,
    )
    tasks.append(asyncio.create_task(agent.run()))
    try:
        first = await eventually(lambda: conversations and conversations[0].hello)
        queue.kept = msgspec.msgpack.encode(Update(first.session, (full("a", 5),), epoch=1))
        data_plane.lose()
        if fenced:
            agent.fenced("neighbour")
        conversations[0].channel.close()
        data_plane.recover()
        frame = await eventually(lambda: [frame for frame in queue.heard if b"hello" in frame[:12]])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    hello = msgspec.msgpack.decode(frame[0], type=Hello)
    assert [held.version.revision for held in hello.held] == ([] if fenced else [5])


async def no_stream(url: str) -> Channel:
    raise AssertionError("there is no address to dial")


async def test_a_session_ends_when_the_data_plane_was_written_to_for_a_newer_controller() -> None:
    """As when a neighbour's lapsed record is passed: whose order it had is found out after our Hello."""
    data_plane = FailingDataPlane()
    conversations: list[Conversation] = []
    tasks: list[asyncio.Task[None]] = []

    async def connect(url: str) -> Channel:
        ours, theirs = channel_pair()
        conversations.append(Conversation(theirs, epoch=3))
        tasks.append(asyncio.create_task(conversations[-1].run()))
        return ours

    agent = Agent(
        HostFacts(HostId("h"), b"\x7f\x00\x00\x01", 0x020000000001),
        "zone-1",
        data_plane,
        NoJournal(),
        connect,
        SystemClock(),
        SILENT,
        urls=("tcp://controller:1",),
    )
    tasks.append(asyncio.create_task(agent.run()))
    try:
        await eventually(lambda: conversations and conversations[0].hello)
        await conversations[0].outcomes(full("a", 1, epoch=3), complete=True)
        data_plane.tokens.append(token_of(4, 2))
        conversations[0].update(full("a", 2, epoch=3))
        await eventually(lambda: len(conversations) > 1 and conversations[1].hello)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    hello = conversations[1].hello
    assert hello is not None
    assert hello.epoch == 4, "it says whom it knows of"
    assert [held.version.revision for held in hello.held] == [1], "and took nothing more of the older one"
