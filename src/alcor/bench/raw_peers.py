"""The floor of one change for all: as many bare streams, whose other ends answer each frame at once."""

import asyncio
import sys
import time

import msgspec
import uvloop

from alcor.adapters import stream
from alcor.contracts.agent_channel import Acknowledgement, Channel, Outcome, SectionResult, Update
from alcor.model import errors
from alcor.model.goal_state import GroupChange, Rule, SectionUpdate, group_key
from alcor.model.ids import RuleId
from alcor.model.version import Version

CONNECTING_MAX = 64


def frames() -> tuple[bytes, bytes]:
    """Give an update that adds one rule to a group, and its answer: the bytes that the region sends too."""
    key, version = group_key("0" * 36), Version(1, 1_000_000)
    rule = Rule(RuleId("0" * 36), True, 4, 6, 443, 443, None, (bytes(4), 8))
    section = SectionUpdate(key, Version(1, 999_999), version, GroupChange(set_rules=(rule,)))
    answer = Acknowledgement(100, (SectionResult(key, version, Outcome.IN_FORCE),))
    encode = msgspec.msgpack.encode
    return encode(Update(100, (section,))), encode(answer)


async def answer_for_ever(url: str, count: int, answer: bytes) -> None:
    """Open so many streams and answer each frame that comes, until all have ended."""
    room = asyncio.Semaphore(CONNECTING_MAX)

    async def one() -> None:
        async with room:
            channel = await _connected(url)
        while await channel.receive() is not None:
            channel.send(answer)

    await asyncio.gather(*(one() for _ in range(count)))


async def _connected(url: str) -> Channel:
    """Connect, again when the other side is not that fast: a full line of a Unix socket refuses at once."""
    while True:
        try:
            return await stream.connect(url, timeout_s=60)
        except errors.Unavailable:
            await asyncio.sleep(0.05)


class RawRing:
    """The sender's side: all streams, and how long a frame to each takes until all have answered."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self._missing = 0
        self._all = asyncio.Event()

    async def serve(self, channel: Channel) -> None:
        """Keep a stream and count its answers."""
        self.channels.append(channel)
        while await channel.receive() is not None:
            self._missing -= 1
            if self._missing == 0:
                self._all.set()

    async def once(self, channels: list[Channel]) -> float:
        """Send the update to these; give the milliseconds until all have answered."""
        update, _ = frames()
        self._missing = len(channels)
        self._all.clear()
        started = time.perf_counter()
        for channel in channels:
            channel.send(update)
        await self._all.wait()
        return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    uvloop.run(answer_for_ever(sys.argv[1], int(sys.argv[2]), frames()[1]))
