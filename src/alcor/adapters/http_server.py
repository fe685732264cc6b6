"""uvicorn with bounds: how much a client may take up of the server, and for how long.

uvicorn itself waits for ever for a request that never comes to an end, takes headers of any size and any number
of connections. Deadlines are looked at together, once in `LOOK_S`: a request costs two notes of the time, no
timer.

    waiting --first byte--> headers --their end--> body --its end--> answering --answered--> waiting
     idle_s                 headers_s              body_s            unread_s
"""

import asyncio
import contextlib
import functools
import http
import resource
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import httptools
import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from alcor.adapters import joined_writes

LOOK_S = 0.25
Write = Callable[[str, str], bytes]  # type and message of an error to its body
_REASONS = {
    400: ("HTTPBadRequest", "The request is not HTTP."),
    408: ("HTTPRequestTimeout", "The request did not arrive in time."),
    431: ("HTTPRequestHeaderFieldsTooLarge", "The headers are too long."),
    503: ("HTTPServiceUnavailable", "There are too many connections: try again."),
}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What clients may take up."""

    connections_max: int = 4096  # more: who has waited longest without a request goes
    headers_max: int = 64 * 1024  # bytes, with the URL; Keystone's tokens with signatures are long
    headers_s: float = 10.0  # from the connection, or the first byte of the next request, to the end of headers
    body_s: float = 20.0  # for any body
    body_rate: float = 16 * 1024  # bytes a second that make this longer
    idle_s: int = 75  # between requests: opening a connection costs more than a call
    unread_s: float = 60.0  # in which some of an answer must be read
    unread_bytes: int = 32 * 1024  # so much of it


def for_this_process(bounds: Bounds) -> Bounds:
    """Keep a part of the files that the process may open for others than clients."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return msgspec.structs.replace(bounds, connections_max=min(bounds.connections_max, files * 3 // 4))


class _Connection(HttpToolsProtocol):
    """One client. `_since`: when what it is at began."""

    def __init__(self, door: "Door", *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._door = door
        self._since = 0.0
        self._is_at_headers = True  # or waits for them
        self._has_begun = True  # a new connection is there to say something
        self._is_at_body = False
        self._unparsed_bytes = 0  # of headers, or of one of them, that have no end yet
        self._header_bytes = 0
        self._body_bytes = 0
        self._refusal = 400
        self._unread = (0.0, 0)  # since when, how much

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(joined_writes.joining(transport))
        self._since = self.loop.time()
        self._door.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_at_headers and not self._has_begun:
            self._has_begun = True
            self._since = self.loop.time()
        if not self._is_at_body:  # so these are headers: of the next request, or of one that follows unasked
            self._unparsed_bytes += len(data)
        super().data_received(data)
        if not self._is_at_body and self._unparsed_bytes > self._door.bounds.headers_max:
            self.refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes + len(self.url) > self._door.bounds.headers_max:
            self._refusal = 431
            raise httptools.HttpParserError("the headers are too long")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unparsed_bytes = 0
        self._is_at_headers = False
        self._is_at_body = True
        self._body_bytes = 0
        self._since = self.loop.time()
        self._door.is_busy(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_at_body = False
        super().on_message_complete()
        if self.cycle.response_complete:  # refused before it was read
            self._wait()

    def on_response_complete(self) -> None:
        is_next_here = bool(self.pipeline)  # a request that was sent before this answer
        super().on_response_complete()
        if not is_next_here and not self._is_at_body:
            self._wait()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = (self.loop.time(), self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = (0.0, 0)

    def send_400_response(self, msg: str) -> None:
        self.refuse(self._refusal)

    def refuse(self, status: int) -> None:
        """Answer and close; where the client waits for another answer first, only close."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        is_answered = cycle is None or cycle.response_complete
        if self.pipeline or not (is_answered or (self._is_at_body and not cycle.response_started)):
            self.transport.abort()
            return
        reason, message = _REASONS[status]
        body = self._door.write(reason, message)
        phrase = http.HTTPStatus(status).phrase
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()

    def look(self, now_s: float) -> None:
        """Refuse to wait any longer, if it is time."""
        bounds = self._door.bounds
        waited_s = now_s - self._since
        # What is left of an answer that nobody reads keeps a connection that is closed, too.
        if self.flow.write_paused or self.transport.is_closing():
            if not self._is_read(now_s, bounds):
                self.transport.abort()
        elif self._is_at_headers:
            if self._has_begun and waited_s > bounds.headers_s:
                if self._unparsed_bytes:
                    self.refuse(408)
                else:
                    self.transport.close()  # a client that connects in advance has asked for nothing
            elif waited_s > bounds.idle_s:
                self.transport.close()
        elif self._is_at_body and self.flow.read_paused:
            self._since += LOOK_S  # it is we who do not read
        elif self._is_at_body and waited_s > bounds.body_s + self._body_bytes / bounds.body_rate:
            self.refuse(408)

    def _is_read(self, now_s: float, bounds: Bounds) -> bool:
        since_s, left = self._unread
        size = self.transport.get_write_buffer_size()
        if size <= left - bounds.unread_bytes or not since_s:
            self._unread = (now_s, size)
            return True
        return now_s - since_s <= bounds.unread_s

    def _wait(self) -> None:
        self._is_at_headers = True
        self._has_begun = False
        self._since = self.loop.time()
        self._door.is_waiting(self)


class Door:
    """Who is in. Owner of the order in which those without a request came to wait."""

    def __init__(self, bounds: Bounds, write: Write) -> None:
        self.bounds = bounds
        self.write = write
        self._all: set[_Connection] = set()
        self._waiting: OrderedDict[_Connection, None] = OrderedDict()

    def enter(self, connection: _Connection) -> None:
        """Let one more in; when there is no room, whoever waited longest goes. O(1)."""
        if len(self._all) >= self.bounds.connections_max:
            if not self._waiting:
                connection.refuse(503)
                return
            oldest, _ = self._waiting.popitem(last=False)
            self._all.discard(oldest)
            oldest.transport.abort()
        self._all.add(connection)
        self._waiting[connection] = None

    def leave(self, connection: _Connection) -> None:
        """Take note that one is gone."""
        self._all.discard(connection)
        self._waiting.pop(connection, None)

    def is_busy(self, connection: _Connection) -> None:
        """Take note that one has sent a request."""
        self._waiting.pop(connection, None)

    def is_waiting(self, connection: _Connection) -> None:
        """Take note that one was answered."""
        if connection in self._all:
            self._waiting[connection] = None

    async def watch(self) -> None:
        """Hold everybody to the deadlines, for ever. O(connections) each time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = loop.time()
            for connection in list(self._all):
                connection.look(now_s)


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process that owns it has its own."""

    def __init__(
        self,
        application: Any,
        write: Write,
        *,
        bounds: Bounds | None = None,
        tls: Callable[..., ssl.SSLContext] | None = None,
    ) -> None:
        """`write`: how errors are written that the application never sees."""
        bounds = for_this_process(bounds or Bounds())
        self.door = Door(bounds, write)
        config = uvicorn.Config(
            application,
            http=functools.partial(_Connection, self.door),  # type: ignore[arg-type]  # makes the protocol
            log_level="error",  # warnings are about what clients send, one for each time
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
            timeout_keep_alive=bounds.idle_s,
            server_header=False,
            ws="none",
            ssl_context_factory=tls,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
