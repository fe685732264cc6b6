"""Many connect over TLS at once: a few at each turn of the loop, so that who is connected goes on."""

import asyncio
import io
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import SSLContext

from alcor.adapters import stream
from alcor.adapters.certificates import Authority
from alcor.adapters.frame_channel import FrameChannel
from alcor.adapters.tls_door import GREETED_PER_TURN, TlsDoor
from alcor.contracts.agent_channel import Channel
from alcor.runtime import tls
from alcor.runtime.event_log import SILENT, EventLog
from doubles.agent import eventually

MANY = 200


def contexts(directory: Path) -> tuple[SSLContext, SSLContext]:
    """Give a controller's, and that of who connects to it."""
    authority = Authority.open(directory / "authority")
    authority.issue_fleet(directory / "fleet")
    return tls.controller_context(authority.issue_controller()), tls.agent_context(directory / "fleet")


class Scene:
    """A door with short times. `begun`: handshakes so far; `served`: those done; `log`: what was said."""

    def __init__(self, directory: Path) -> None:
        self.begun = 0
        self.port = 0
        self.served: list[Channel] = []
        self.log = io.StringIO()
        own, self.context = contexts(directory)
        self.door = TlsDoor(self._make, own, EventLog(stream=self.log), handshake_s=2.0, no_files_s=0.1)

    def _make(self) -> FrameChannel:
        self.begun += 1
        return FrameChannel(self.served.append)

    def knock(self) -> socket.socket:
        """Connect and say nothing: the system lets in who the loop has not."""
        return socket.create_connection(("127.0.0.1", self.port))


@asynccontextmanager
async def scene_in(directory: Path) -> AsyncIterator[Scene]:
    made = Scene(directory)
    made.port = await made.door.open("127.0.0.1", 0)
    try:
        yield made
    finally:
        await made.door.close()
        for channel in made.served:
            channel.close()


async def test_of_many_that_connect_a_few_are_begun_at_each_turn_of_the_loop(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        waiting = [scene.knock() for _ in range(MANY)]
        most = before = 0
        while scene.begun < MANY:
            await asyncio.sleep(0)
            most, before = max(most, scene.begun - before), scene.begun
        assert most <= GREETED_PER_TURN
        for each in waiting:
            each.close()


async def test_a_server_s_tls_is_behind_such_a_door_and_all_of_many_are_served(tmp_path: Path) -> None:
    served: list[Channel] = []

    async def serve(channel: Channel) -> None:
        served.append(channel)
        await channel.receive()

    own, context = contexts(tmp_path)
    server = await stream.serve(["tcps://127.0.0.1:0"], serve, SILENT, ssl=own)
    url = server.urls[0]
    assert len(server.doors) == 1
    channels = await asyncio.gather(*(stream.connect(url, ssl=context, timeout_s=60) for _ in range(MANY)))
    await eventually(lambda: len(served) == MANY)
    for channel in channels:
        channel.close()
    await server.close()


async def test_who_says_nothing_is_sent_away(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        silent = scene.knock()
        silent.setblocking(False)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(silent, 1), 10) == b""
        silent.close()
        assert scene.begun
        assert not scene.served


async def test_who_comes_while_no_file_can_be_opened_is_served_later(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        connection = scene.knock()
        connection.setblocking(False)
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, usual[1]))
        try:
            await eventually(lambda: scene.log.getvalue().count("connections_wait") >= 2)  # tried again, too
            assert not scene.begun
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, sock=connection, ssl=scene.context, server_hostname=tls.CONTROLLER_NAME
        )
        await eventually(lambda: len(scene.served) == 1)
