"""Beats on real streams: a server's channel answers those that come alone, and passes everything else on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from alcor.adapters import stream
from alcor.contracts.agent_channel import BEAT_HEAD, Beat, Channel, Farewell

BEAT = msgspec.msgpack.encode(Beat(7))
OTHER = msgspec.msgpack.encode(Farewell("x"))


@asynccontextmanager
async def ends(directory: Path) -> AsyncIterator[tuple[Channel, Channel]]:
    """Give the client's end and the server's."""
    served: asyncio.Queue[Channel] = asyncio.Queue()

    async def keep(channel: Channel) -> None:
        served.put_nowait(channel)
        await asyncio.Event().wait()

    server = await stream.serve([f"unix://{directory}/socket"], keep)
    client = await stream.connect(server.urls[0])
    try:
        yield client, await served.get()
    finally:
        client.close()
        await server.close()


def test_every_encoded_beat_begins_as_it_is_recognised() -> None:
    assert all(msgspec.msgpack.encode(Beat(number)).startswith(BEAT_HEAD) for number in (0, 127, 128, 1 << 40))


async def test_a_beat_alone_is_answered_and_wakes_no_reader(tmp_path: Path) -> None:
    async with ends(tmp_path) as (client, server):
        reading = asyncio.create_task(server.receive())
        client.send(BEAT)
        assert await asyncio.wait_for(client.receive(), 5) == BEAT
        assert abs(server.beat_at_s - asyncio.get_running_loop().time()) < 5
        client.send(OTHER)
        assert await asyncio.wait_for(reading, 5) == OTHER


async def test_beats_among_other_frames_are_passed_on_in_order(tmp_path: Path) -> None:
    async with ends(tmp_path) as (client, server):
        for frame in (OTHER, BEAT, OTHER):
            client.send(frame)  # in one turn: they arrive together
        assert [await asyncio.wait_for(server.receive(), 5) for _ in range(3)] == [OTHER, BEAT, OTHER]


async def test_a_client_s_channel_passes_beats_on(tmp_path: Path) -> None:
    async with ends(tmp_path) as (client, server):
        server.send(BEAT)
        assert await asyncio.wait_for(client.receive(), 5) == BEAT
        assert client.beat_at_s == 0.0
