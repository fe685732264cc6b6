"""Many connect over TLS at once: a few at each turn of the loop, so that who is connected goes on."""

import asyncio
import io
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alcor.adapters import stream, tls_door
from alcor.adapters.certificates import Authority
from alcor.adapters.tls_door import GREETED_PER_TURN
from alcor.contracts.agent_channel import Channel
from alcor.runtime import tls
from alcor.runtime.event_log import EventLog
from doubles.agent import eventually

MANY = 200


@asynccontextmanager
async def server_at(
    directory: Path, log: io.StringIO | None = None
) -> AsyncIterator[tuple[str, list[Channel]]]:
    """Serve who has a certificate of `directory / "fleet"`; gives the url, and who was served."""
    authority = Authority.open(directory / "authority")
    authority.issue_fleet(directory / "fleet")
    served: list[Channel] = []

    async def serve(channel: Channel) -> None:
        served.append(channel)
        await channel.receive()

    context = tls.controller_context(authority.issue_controller())
    server = await stream.serve(
        ["tcps://127.0.0.1:0"], serve, EventLog(stream=log or io.StringIO()), ssl=context
    )
    try:
        yield server.urls[0], served
    finally:
        await server.close()


def knock(url: str) -> socket.socket:
    """Connect and say nothing: the system lets in who the loop has not."""
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))


async def test_of_many_that_connect_a_few_are_begun_at_each_turn_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0

    class Counted(stream.FrameChannel):
        def __init__(self, *given: object, **named: object) -> None:
            nonlocal begun
            begun += 1
            super().__init__(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(stream, "FrameChannel", Counted)
    async with server_at(tmp_path) as (url, _):
        waiting = [knock(url) for _ in range(MANY)]
        most = before = 0
        while begun < MANY:
            await asyncio.sleep(0)
            most, before = max(most, begun - before), begun
        assert most <= GREETED_PER_TURN
        channel = await stream.connect(url, ssl=tls.agent_context(tmp_path / "fleet"))
        channel.close()
        for each in waiting:
            each.close()


async def test_all_of_many_are_served(tmp_path: Path) -> None:
    async with server_at(tmp_path) as (url, served):
        context = tls.agent_context(tmp_path / "fleet")
        channels = await asyncio.gather(*(stream.connect(url, ssl=context, timeout_s=60) for _ in range(MANY)))
        await eventually(lambda: len(served) == MANY)
        for channel in channels:
            channel.close()


async def test_who_says_nothing_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_door, "HANDSHAKE_S", 0.2)
    async with server_at(tmp_path) as (url, served):
        silent = knock(url)
        silent.setblocking(False)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(silent, 1), 5) == b""
        silent.close()
        assert not served


async def test_who_comes_while_no_file_can_be_opened_is_served_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_door, "NO_FILES_S", 0.2)
    log = io.StringIO()
    async with server_at(tmp_path, log) as (url, served):
        context = tls.agent_context(tmp_path / "fleet")
        connection = knock(url)
        connection.setblocking(False)
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, usual[1]))
        try:
            await asyncio.sleep(0.5)  # tried again meanwhile
            assert log.getvalue().count("connections_wait") >= 2
            assert not served
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, sock=connection, ssl=context, server_hostname=tls.CONTROLLER_NAME
        )
        await eventually(lambda: len(served) == 1)
        transport.close()
