"""Beats on real streams: a server's channel answers those that come alone, and passes everything else on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from alcor.adapters import stream
from alcor.adapters.frame_channel import ANSWER_BEATS_S
from alcor.contracts.agent_channel import BEAT_HEAD, Beat, Channel, Farewell
from alcor.runtime.event_log import SILENT

BEAT, NEWS = (msgspec.msgpack.encode(Beat(bytes([7] * 7 + [last]))) for last in (1, 2))
OTHER = msgspec.msgpack.encode(Farewell("x"))


@asynccontextmanager
async def ends(directory: Path) -> AsyncIterator[tuple[Channel, Channel]]:
    """Give the client's end and the server's."""
    served: asyncio.Queue[Channel] = asyncio.Queue()

    async def keep(channel: Channel) -> None:
        served.put_nowait(channel)
        await asyncio.Event().wait()

    server = await stream.serve([f"unix://{directory}/socket"], keep, SILENT)
    client = await stream.connect(server.urls[0])
    try:
        yield client, await served.get()
    finally:
        client.close()
        await server.close()


def test_every_encoded_beat_begins_as_it_is_recognised() -> None:
    assert all(msgspec.msgpack.encode(Beat(held)).startswith(BEAT_HEAD) for held in (b"", b"12345678"))


async def test_a_beat_is_passed_on_when_it_says_something_new_and_else_wakes_no_reader(tmp_path: Path) -> None:
    async with ends(tmp_path) as (client, server):
        passed_on: list[bytes | None] = []

        async def read() -> None:
            while True:
                passed_on.append(await server.receive())

        reading = asyncio.create_task(read())
        for frame in (BEAT, BEAT, BEAT, NEWS, NEWS, OTHER, NEWS, NEWS):
            client.send(frame)
            await asyncio.sleep(0.1)  # each arrives alone
        reading.cancel()
        assert passed_on == [BEAT, NEWS, OTHER, NEWS]  # after another word, what it says is passed on again
        assert abs(server.beat_at_s - asyncio.get_running_loop().time()) < 5
        assert await asyncio.wait_for(client.receive(), 5) == BEAT


async def test_beats_are_answered_once_in_a_while_however_many_come(tmp_path: Path) -> None:
    async with ends(tmp_path) as (client, server):
        began_s = asyncio.get_running_loop().time()
        for _ in range(40):
            client.send(BEAT)
            await asyncio.sleep(0.05)
        server.send(OTHER)
        answers = 0
        while await asyncio.wait_for(client.receive(), 5) == BEAT:
            answers += 1
        assert 1 <= answers <= 1 + (asyncio.get_running_loop().time() - began_s) / ANSWER_BEATS_S


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
