"""Servers and clients of streams (`frame_channel`): who listens where, who is let in, who dials."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ssl import SSLContext
from urllib.parse import urlsplit

from alcor.adapters.beat_sockets import BeatListener, BeatSender
from alcor.adapters.frame_channel import BACKLOG_MAX, FrameChannel
from alcor.adapters.tls_door import TlsDoor
from alcor.contracts.agent_channel import Channel
from alcor.model import errors
from alcor.runtime import tls
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor

CONNECT_TIMEOUT_S = 5.0
LISTEN_QUEUE = 4096  # a controller that comes back meets all its agents at once

OnChannel = Callable[[Channel], Awaitable[None]]


class Server:
    """Listening sockets and the channels accepted on them. Owner of one task per channel.

    `urls`: where it listens, with the ports that were chosen. `doors`: where that is over TLS.
    """

    def __init__(self, on_channel: OnChannel, log: EventLog, listener: BeatListener | None) -> None:
        self.urls: list[str] = []
        self._on_channel = on_channel
        self._supervisor = Supervisor(log, failure=None)  # a task for each peer
        self._servers: list[asyncio.Server] = []
        self.doors: list[TlsDoor] = []
        self._log = log
        self._listener = listener
        self._channels: set[FrameChannel] = set()

    @property
    def channels(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    async def close(self) -> None:
        """Stop listening, end the channels and their tasks."""
        for server in self._servers:
            server.close()
        for door in self.doors:
            await door.close()
        if self._listener is not None:
            self._listener.close()
        for channel in list(self._channels):
            channel.close("the server ends")
        await self._supervisor.close()

    async def _listen(self, url: str, ssl: SSLContext | None, backlog_max: int) -> None:
        loop = asyncio.get_running_loop()
        parts = urlsplit(url)

        def make() -> FrameChannel:
            listener = None if parts.scheme == "unix" else self._listener
            return FrameChannel(self._opened, backlog_max=backlog_max, answers_beats=True, listener=listener)

        if parts.scheme == "unix":
            server = await loop.create_unix_server(make, parts.path, ssl=ssl, backlog=LISTEN_QUEUE)
            self._servers.append(server)
            self.urls.append(url)
        elif parts.scheme in ("tcp", "tcps"):
            _require_certificates(url, ssl)
            if ssl is None:
                server = await loop.create_server(make, parts.hostname, parts.port or 0, backlog=LISTEN_QUEUE)
                self._servers.append(server)
                port = server.sockets[0].getsockname()[1]
            else:
                door = TlsDoor(make, ssl, self._log)
                self.doors.append(door)
                port = await door.open(parts.hostname, parts.port or 0)
            await self._listen_to_datagrams(parts.hostname, port)
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
            self.urls.append(f"{parts.scheme}://{host}:{port}")
        else:
            raise errors.Invalid(f"'{url}' is neither tcp[s]://HOST:PORT nor unix:///PATH")

    async def _listen_to_datagrams(self, host: str | None, port: int) -> None:
        if self._listener is None:
            return
        try:
            await self._listener.open(host, port)
        except OSError as error:  # then beats come on the streams, and cost more
            self._log.warning("beat_datagrams_not_heard", url=f"udp://{host}:{port}", reason=str(error))

    def _opened(self, channel: FrameChannel) -> None:
        self._channels.add(channel)
        self._supervisor.start("channel", self._serve(channel))

    async def _serve(self, channel: FrameChannel) -> None:
        try:
            await self._on_channel(channel)
        finally:
            channel.close()
            self._channels.discard(channel)


async def serve(
    listen: Sequence[str],
    on_channel: OnChannel,
    log: EventLog,
    *,
    ssl: SSLContext | None = None,
    backlog_max: int = BACKLOG_MAX,
    hears_datagrams: bool = False,
) -> Server:
    """Listen on all urls; `on_channel` runs as a task per channel, which ends when it returns.

    If it fails, the log is told, and that channel is closed; the others go on. `hears_datagrams`: beats may
    also come as these, to the same addresses and port numbers.

    Urls: `tcp://HOST:PORT` (port 0: a free one, see `Server.urls`), `tcps://HOST:PORT` (with `ssl` only),
    `unix:///PATH` (an old socket file is replaced). Raises Unavailable when an address cannot be had, Invalid
    when it is none.
    """
    server = Server(on_channel, log, BeatListener(log) if hears_datagrams else None)
    try:
        for url in listen:
            await server._listen(url, ssl, backlog_max)
    except OSError as error:
        await server.close()
        raise errors.Unavailable(f"cannot listen on {url}: {error}", retry_after_s=1.0) from error
    except errors.Invalid:
        await server.close()
        raise
    return server


async def connect(
    url: str,
    *,
    ssl: SSLContext | None = None,
    backlog_max: int = BACKLOG_MAX,
    timeout_s: float = CONNECT_TIMEOUT_S,
    sender: BeatSender | None = None,
) -> Channel:
    """Open a channel. Raises Unavailable when nobody answers in time, Invalid when the url is none.

    `sender` sends its beats as datagrams, where the peer hears them.
    """
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)

    def make() -> FrameChannel:
        return FrameChannel(backlog_max=backlog_max, sender=sender)

    try:
        async with asyncio.timeout(timeout_s):
            if parts.scheme == "unix":
                name = "" if ssl else None  # a socket file has no host name to verify
                _, channel = await loop.create_unix_connection(make, parts.path, ssl=ssl, server_hostname=name)
            elif parts.scheme in ("tcp", "tcps") and parts.hostname and parts.port:
                _require_certificates(url, ssl)
                # The certificate names the controller, wherever it is today.
                name = tls.CONTROLLER_NAME if parts.scheme == "tcps" else None
                _, channel = await loop.create_connection(
                    make, parts.hostname, parts.port, ssl=ssl, server_hostname=name
                )
            else:
                raise errors.Invalid(f"'{url}' is neither tcp[s]://HOST:PORT nor unix:///PATH")
    except (OSError, TimeoutError) as error:
        raise errors.Unavailable(f"cannot connect to {url}: {error}", retry_after_s=1.0) from error
    return channel


def peer_name(channel: Channel) -> str | None:
    """Give whom the certificate of a channel's peer names; None without one."""
    return tls.common_name(channel.peer_certificate) if isinstance(channel, FrameChannel) else None


def peer_role(channel: Channel) -> str | None:
    """Give the role that the certificate of a channel's peer was issued for; None without one."""
    return tls.role(channel.peer_certificate) if isinstance(channel, FrameChannel) else None


def _require_certificates(url: str, ssl: SSLContext | None) -> None:
    if url.startswith("tcps:") and ssl is None:
        raise errors.Invalid(f"'{url}' needs certificates")
