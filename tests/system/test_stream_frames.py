"""Frames over real sockets: order, sizes, bounds and ends."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alcor.adapters import stream
from alcor.adapters.frame_channel import BACKLOG_MAX
from alcor.contracts.agent_channel import FRAME_MAX, Channel
from alcor.model import errors
from alcor.runtime.event_log import SILENT
from doubles.waiting import eventually


async def echo(channel: Channel) -> None:
    while (frame := await channel.receive()) is not None:
        channel.send(frame)


@asynccontextmanager
async def server_of(
    on_channel: stream.OnChannel = echo, url: str = "tcp://127.0.0.1:0", backlog_max: int = BACKLOG_MAX
) -> AsyncIterator[stream.Server]:
    server = await stream.serve([url], on_channel, SILENT, backlog_max=backlog_max)
    try:
        yield server
    finally:
        await server.close()


async def received(channel: Channel) -> bytes | None:
    return await asyncio.wait_for(channel.receive(), 5)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_frames_of_all_sizes_come_back_in_order(kind: str, tmp_path: Path) -> None:
    url = "tcp://127.0.0.1:0" if kind == "tcp" else f"unix://{tmp_path}/socket"
    frames = [bytes([size % 251 + 1]) * size for size in (1, 3, 65_535, 5_000_000, 2, 300_000, 1)]
    async with server_of(url=url) as server:
        channel = await stream.connect(server.urls[0])
        for frame in frames:
            channel.send(frame)
        assert [await received(channel) for _ in frames] == frames
        channel.close()
        await eventually(lambda: server.channels == 0)


async def test_a_frame_that_arrives_byte_by_byte_is_put_together() -> None:
    got: list[bytes | None] = []

    async def keep(channel: Channel) -> None:
        while (frame := await channel.receive()) is not None:
            got.append(frame)

    async with server_of(keep) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", int(server.urls[0].rsplit(":")[-1]))
        for byte in struct.pack(">I", 3) + b"abc" + struct.pack(">I", 2) + b"de":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.001)
        await eventually(lambda: len(got) == 2)
        assert got == [b"abc", b"de"]
        writer.close()


@pytest.mark.parametrize("length", [0, FRAME_MAX + 1])
async def test_a_malformed_length_closes_the_channel_with_a_reason(length: int) -> None:
    reasons: list[str | None] = []

    async def keep(channel: Channel) -> None:
        while await channel.receive() is not None:
            pass
        reasons.append(channel.close_reason)

    async with server_of(keep) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.urls[0].rsplit(":")[-1]))
        writer.write(struct.pack(">I", length) + b"xxxx")
        with pytest.raises(ConnectionResetError):  # noqa: PT012 - the end may come as either
            if await asyncio.wait_for(reader.read(1), 5) == b"":
                raise ConnectionResetError
        await eventually(lambda: bool(reasons))
        assert "malformed" in (reasons[0] or "")
        writer.close()


async def test_too_large_a_frame_is_not_sent_and_ends_the_channel() -> None:
    async with server_of() as server:
        channel = await stream.connect(server.urls[0])
        channel.send(bytes(FRAME_MAX + 1))
        assert "too large" in (channel.close_reason or "")
        assert await received(channel) is None


async def test_a_peer_that_does_not_read_costs_a_bounded_backlog() -> None:
    ended = asyncio.Event()
    reasons: list[str | None] = []

    async def flood(channel: Channel) -> None:
        while channel.close_reason is None:
            channel.send(bytes(100_000))
            assert channel.backlog_bytes <= 1_200_000
            await asyncio.sleep(0)
        reasons.append(channel.close_reason)
        ended.set()

    async with server_of(flood, backlog_max=1_000_000) as server:
        silent = socket.create_connection(("127.0.0.1", int(server.urls[0].rsplit(":")[-1])))
        await asyncio.wait_for(ended.wait(), 10)
        assert "backlog" in (reasons[0] or "")
        silent.close()


async def test_a_reader_that_does_not_read_makes_the_sender_wait() -> None:
    held: list[Channel] = []

    async def hold(channel: Channel) -> None:
        held.append(channel)
        await asyncio.sleep(3600)

    async with server_of(hold) as server:
        channel = await stream.connect(server.urls[0])
        for _ in range(40):
            channel.send(bytes(1_000_000))
        await asyncio.sleep(0.2)
        assert channel.backlog_bytes > 10_000_000  # the rest waits here, not in the reader's memory
        for _ in range(40):
            assert len(await received(held[0]) or b"") == 1_000_000


async def test_what_was_sent_before_closing_still_arrives() -> None:
    async def farewell(channel: Channel) -> None:
        channel.send(b"bye")
        channel.close()

    async with server_of(farewell) as server:
        channel = await stream.connect(server.urls[0])
        assert await received(channel) == b"bye"
        assert await received(channel) is None
        channel.send(b"into the void")
        assert channel.close_reason == "closed by the peer"


async def test_nobody_there_is_unavailable() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with pytest.raises(errors.Unavailable):
        await stream.connect(f"tcp://127.0.0.1:{port}")
    with pytest.raises(errors.Invalid):
        await stream.connect("udp://127.0.0.1:1")
