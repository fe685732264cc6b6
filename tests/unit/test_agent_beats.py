"""How an agent's session beats: by datagrams as long as these are answered, else on the stream, too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from alcor.contracts.agent_channel import PROTOCOL, Beat, FromAgent, FromController, Hello, Pace, Welcome
from alcor.contracts.beat_datagram import BeatKey
from alcor.host_agent.session import Session
from alcor.host_agent.settings import AgentTiming
from alcor.model.ids import HostId
from doubles.control_plane import MemoryChannel, channel_pair

TIMING = AgentTiming(beat_s=0.02, silence_s=0.2)
KEY = BeatKey(7, b"k" * 32)
HELLO = Hello(PROTOCOL, HostId("a"), bytes(4), "", "", "", 0)
HELD = b"held now"


class Ears:
    """The controller's end, and a network for datagrams that answers or does not."""

    def __init__(self, ours: MemoryChannel, theirs: MemoryChannel) -> None:
        self.answers = True
        self.datagrams: list[bytes] = []
        self._ours, self._theirs = ours, theirs
        ours.beat = self._beat  # type: ignore[method-assign]

    def say(self, message: FromController) -> None:
        self._theirs.send(msgspec.msgpack.encode(message))

    def on_stream(self) -> list[FromAgent]:
        """What came on the stream since it was asked for last."""
        frames, self._ours.frames_sent[:] = list(self._ours.frames_sent), ()
        return [msgspec.msgpack.decode(frame, type=FromAgent) for frame in frames]

    def _beat(self, key: BeatKey, held: bytes) -> bool:
        assert key == KEY
        self.datagrams.append(held)
        if self.answers:
            self._ours.beat_at_s = asyncio.get_running_loop().time()
        return self.answers


@asynccontextmanager
async def conversation(key: BeatKey | None = KEY) -> AsyncIterator[tuple[Session, Ears]]:
    ours, theirs = channel_pair()
    session, ears = Session(HostId("a"), ours, TIMING, lambda: HELD), Ears(ours, theirs)

    async def ignore(*_: object) -> None:
        pass

    reading = asyncio.create_task(session.read(on_update=ignore, on_other=lambda _: None))
    await asyncio.sleep(0)
    session.introduce(HELLO)
    ears.say(Welcome(PROTOCOL, 1, 0, key))
    await asyncio.sleep(0.1)
    try:
        yield session, ears
    finally:
        session.close("over")
        await reading


async def test_without_a_key_beats_go_on_the_stream() -> None:
    async with conversation(key=None) as (_, ears):
        assert ears.datagrams == []
        assert Beat(HELD) in ears.on_stream()


async def test_answered_datagrams_are_all_that_is_sent_and_keep_the_session_open() -> None:
    async with conversation() as (session, ears):
        ears.on_stream()
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(3 * TIMING.silence_s)  # not a word on the stream
        assert session.is_open
        assert session.heard_at_s > began_s
        assert ears.on_stream() == []
        assert set(ears.datagrams) == {HELD}


async def test_while_they_are_not_answered_the_stream_carries_each_beat_too() -> None:
    async with conversation() as (session, ears):
        ears.answers = False
        ears.on_stream()
        ears.datagrams.clear()
        await asyncio.sleep(0.1)
        assert ears.on_stream() == [Beat(HELD)] * len(ears.datagrams) != []
        await asyncio.sleep(TIMING.silence_s)
        assert not session.is_open  # and a controller that says nothing at all is silent


async def test_who_is_told_again_what_it_does_already_says_on_the_stream_that_it_is_there() -> None:
    async with conversation() as (_, ears):
        ears.on_stream()
        ears.say(Pace(TIMING.beat_s))
        await asyncio.sleep(0.01)
        assert ears.on_stream() == [Beat(HELD)]
