"""The floor of one change for all: as many bare streams, whose other ends answer each frame at once."""

import asyncio
import sys
import time
from pathlib import Path
from ssl import SSLContext

import msgspec
import uvloop

from alcor.adapters import stream
from alcor.adapters.certificates import Authority
from alcor.contracts.agent_channel import Acknowledgement, Channel, Outcome, SectionResult, Update
from alcor.model import errors
from alcor.model.goal_state import GroupChange, Rule, SectionUpdate, group_key
from alcor.model.ids import RuleId
from alcor.model.version import Version
from alcor.runtime import tls
from alcor.runtime.event_log import SILENT

CONNECTING_MAX = 64


def frames() -> tuple[bytes, bytes]:
    """Give an update that adds one rule to a group, and its answer: the bytes that the region sends too."""
    key, version = group_key("0" * 36), Version(1, 1_000_000)
    rule = Rule(RuleId("0" * 36), True, 4, 6, 443, 443, None, (bytes(4), 8))
    section = SectionUpdate(key, Version(1, 999_999), version, GroupChange(set_rules=(rule,)))
    answer = Acknowledgement(100, (SectionResult(key, version, Outcome.IN_FORCE),))
    encode = msgspec.msgpack.encode
    return encode(Update(100, (section,))), encode(answer)


class Place(msgspec.Struct, frozen=True):
    """Where the peers dial in. `certificates`: theirs; None where it is not over TLS."""

    url: str
    certificates: Path | None = None


async def listen(
    directory: Path, on_channel: stream.OnChannel, *, over_tls: bool
) -> tuple[stream.Server, Place]:
    """Be there for the peers: at a socket file, or on loopback over TLS, of one authority."""
    if not over_tls:
        place = Place(f"unix://{directory / 'floor.sock'}")
        return await stream.serve([place.url], on_channel, SILENT), place
    authority = Authority.open(directory / "floor")
    authority.issue_fleet(directory / "peers")
    context = tls.controller_context(authority.issue_controller())
    server = await stream.serve(["tcps://127.0.0.1:0"], on_channel, SILENT, ssl=context)
    return server, Place(server.urls[0], directory / "peers")


async def answer_for_ever(place: Place, count: int, answer: bytes) -> None:
    """Open so many streams and answer each frame that comes, until all have ended."""
    room = asyncio.Semaphore(CONNECTING_MAX)
    context = None if place.certificates is None else tls.agent_context(place.certificates)

    async def one() -> None:
        async with room:
            channel = await _connected(place.url, context)
        while await channel.receive() is not None:
            channel.send(answer)

    await asyncio.gather(*(one() for _ in range(count)))


async def _connected(url: str, context: SSLContext | None) -> Channel:
    """Connect, again when the other side is not that fast: a full line of a Unix socket refuses at once."""
    while True:
        try:
            return await stream.connect(url, ssl=context, timeout_s=60)
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
    url, count, *certificates = sys.argv[1:]
    uvloop.run(answer_for_ever(Place(url, *map(Path, certificates)), int(count), frames()[1]))
