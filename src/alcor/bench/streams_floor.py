"""The floor of sending much to many: raw framed streams, each frame answered by one. Two processes."""

import asyncio
import multiprocessing
import time
from pathlib import Path

import uvloop

from alcor.bench import raw_peers
from alcor.contracts.agent_channel import Channel
from alcor.model import errors

FRAME_BYTES = 64 * 1024
START_TIMEOUT_S = 60.0
ANSWER = b"taken"


async def measure(
    directory: Path, *, streams: int, bytes_each: int, over_tls: bool = False
) -> tuple[float, float]:
    """Send so many bytes over each of so many streams; give seconds, and processor seconds of the sender."""
    channels: list[Channel] = []
    closed = asyncio.Event()

    async def keep(channel: Channel) -> None:
        channels.append(channel)
        await closed.wait()

    server, place = await raw_peers.listen(directory, keep, over_tls=over_tls)
    peers = multiprocessing.get_context("spawn").Process(target=_peers, args=(place, streams), daemon=True)
    peers.start()
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while len(channels) < streams:
                if not peers.is_alive():
                    raise errors.Broken("the floor's peers ended")
                await asyncio.sleep(0.01)
        started, used_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_send(channel, bytes_each) for channel in channels))
        return time.perf_counter() - started, time.process_time() - used_s
    finally:
        closed.set()
        await server.close()
        await asyncio.to_thread(peers.join, 10)
        peers.kill()


async def _send(channel: Channel, size: int) -> None:
    frames = 0
    for start in range(0, size, FRAME_BYTES):
        channel.send(bytes(min(FRAME_BYTES, size - start)))
        frames += 1
    for _ in range(frames):
        await channel.receive()


def _peers(place: raw_peers.Place, streams: int) -> None:
    uvloop.run(raw_peers.answer_for_ever(place, streams, ANSWER))
