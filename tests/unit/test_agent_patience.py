"""How long an agent waits: longer for a welcome than for a beat."""

import asyncio

import msgspec

from alcor.contracts.agent_channel import PROTOCOL, Beat, Update, Welcome
from alcor.host_agent.session import UNWELCOMED_PATIENCE, Other, Session, next_tick_s
from alcor.host_agent.settings import AgentTiming
from alcor.model.ids import HostId
from doubles.control_plane import channel_pair

TIMING = AgentTiming(beat_s=0.01, silence_s=0.05)


async def turns_until_left(*, is_welcomed: bool) -> int:
    """Give how many beats the agent sends to a controller that is silent but for its welcome."""
    ours, theirs = channel_pair()
    session = Session(HostId("a"), ours, TIMING, bytes)
    session.introduce(Beat())

    async def on_update(update: Update, frame: bytes) -> None:
        raise AssertionError("nothing is sent")

    def on_other(message: Other) -> None:
        assert isinstance(message, Welcome)

    if is_welcomed:
        theirs.send(msgspec.msgpack.encode(Welcome(PROTOCOL, 1)))
    async with asyncio.timeout(5):
        reason = await session.read(on_update=on_update, on_other=on_other)
    assert reason == "the controller is silent"
    return len(ours.frames_sent) - 1


async def test_an_agent_waits_longer_for_a_welcome_than_for_a_beat() -> None:
    welcomed = await turns_until_left(is_welcomed=True)
    assert welcomed == 5
    assert await turns_until_left(is_welcomed=False) == UNWELCOMED_PATIENCE * welcomed


def test_ticks_keep_their_rhythm_whatever_was_late() -> None:
    assert next_tick_s(10.25, now_s=10.25, beat_s=1.0) == 11.25
    assert next_tick_s(10.25, now_s=10.2, beat_s=1.0) == 11.25  # a timer that was early
    assert next_tick_s(10.25, now_s=10.75, beat_s=1.0) == 11.25
    assert next_tick_s(10.25, now_s=14.0, beat_s=1.0) == 14.25
