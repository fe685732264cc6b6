"""Takes in TLS connections a few at each turn of the loop, so that who has begun is served first.

A handshake costs a millisecond or two of processor. A controller that comes back meets ten thousand agents, and
a loop that accepts whoever is there begins with all of them before it goes on with any: nothing else has a turn
for seconds, and by then those that were begun have given up and come anew. So the others wait in the system's
queue, which is no longer than that whoever leaves it is still waiting.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from ssl import SSLContext

from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor

GREETED_PER_TURN = 4
WAITING_MAX = 1024  # greeted in two or three seconds; peers wait five, and who finds no room tries again
HANDSHAKE_S = 10.0
NO_FILES_S = 1.0  # then others may have closed theirs


class TlsDoor:
    """Listening sockets of one address. Owner of these, and of a task for each handshake."""

    def __init__(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        context: SSLContext,
        log: EventLog,
        *,
        handshake_s: float = HANDSHAKE_S,
        no_files_s: float = NO_FILES_S,
    ) -> None:
        self._sockets: list[socket.socket] = []
        self._make = make
        self._context = context
        self._log = log
        self._handshake_s = handshake_s
        self._no_files_s = no_files_s
        self._loop = asyncio.get_running_loop()
        self._handshakes = Supervisor(log, failure=None)
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}

    async def open(self, host: str | None, port: int) -> int:
        """Listen there, and give the port. Raises OSError when the address cannot be had."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            self._sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.setblocking(False)
            listening.bind(address)
            listening.listen(WAITING_MAX)
        for listening in self._sockets:
            self._watch(listening)
        chosen: int = self._sockets[0].getsockname()[1]
        return chosen

    async def close(self) -> None:
        """Listen no longer, and end the handshakes under way."""
        for timer in self._paused.values():
            timer.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()
        await self._handshakes.close()

    def _watch(self, listening: socket.socket) -> None:
        self._paused.pop(listening, None)
        self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(GREETED_PER_TURN):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no more files, or no memory: it would be said again at each turn
                self._log.warning("connections_wait", reason=str(error))
                self._loop.remove_reader(listening)
                self._paused[listening] = self._loop.call_later(self._no_files_s, self._watch, listening)
                return
            connection.setblocking(False)
            self._handshakes.start("handshake", self._greet(connection))

    async def _greet(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is none of ours, or gone: ssl.SSLError is one
            await self._loop.connect_accepted_socket(
                self._make, connection, ssl=self._context, ssl_handshake_timeout=self._handshake_s
            )
