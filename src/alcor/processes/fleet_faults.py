"""Faults of a fleet on demand: streams that break or are slow, agents that are killed."""

import asyncio
import random

import msgspec

from alcor.contracts.agent_channel import Channel
from alcor.contracts.beat_datagram import BeatKey


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong, and how often. All zero: nothing.

    `loss`: chance of each frame that the network loses it for good, which ends the stream, as streams do not
    skip. `slow_ms`: each frame to an agent takes up to so long. `crash`: chance of each agent in each second.
    """

    loss: float = 0.0
    slow_ms: float = 0.0
    crash: float = 0.0
    seed: int = 1


NO_FAULTS = Faults()


class FaultMaker:
    """Makes streams go wrong, and says who is killed. Owner of the chance."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._chance = random.Random(faults.seed)

    def over(self, channel: Channel) -> Channel:
        """Give the stream as it is with its faults."""
        return _FaultyChannel(channel, self._faults, self._chance)

    def kills(self) -> bool:
        """Does an agent crash in this second?"""
        return self._chance.random() < self._faults.crash


class _FaultyChannel:
    """One stream. Implements `Channel`."""

    def __init__(self, channel: Channel, faults: Faults, chance: random.Random) -> None:
        self._channel = channel
        self._faults = faults
        self._chance = chance

    async def receive(self) -> bytes | None:
        frame = await self._channel.receive()
        if frame is None:
            return None
        if self._faults.slow_ms:
            await asyncio.sleep(self._chance.random() * self._faults.slow_ms / 1000)
        return None if self._is_lost() else frame

    def send(self, frame_body: bytes) -> None:
        if not self._is_lost():
            self._channel.send(frame_body)

    def close(self, reason: str = "") -> None:
        self._channel.close(reason)

    @property
    def backlog_bytes(self) -> int:
        return self._channel.backlog_bytes

    @property
    def close_reason(self) -> str | None:
        return self._channel.close_reason

    @property
    def beat_at_s(self) -> float:
        return self._channel.beat_at_s

    @property
    def hears_datagrams(self) -> bool:
        return self._channel.hears_datagrams

    def new_beat_key(self) -> BeatKey | None:
        return self._channel.new_beat_key()

    def beat(self, key: BeatKey, held: bytes) -> bool:
        lost = self._chance.random() < self._faults.loss  # for good, which ends no stream, and nobody notices
        return lost or self._channel.beat(key, held)

    def _is_lost(self) -> bool:
        if self._chance.random() >= self._faults.loss:
            return False
        self._channel.close("a frame was lost")
        return True
