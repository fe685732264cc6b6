"""A socket to the switch or to its database: what is sent and asked over it, and its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar, cast

from alcor.data_plane.ovs.endpoint import Endpoint
from alcor.model.errors import Unavailable
from alcor.runtime.pending_requests import PendingRequests

ANSWER_S = 20.0  # a switch that commits 100,000 flows on a busy machine needs seconds
CONNECT_S = 5.0
RETRY_S = 0.2
WRITE_BUFFER_BYTES = 512 * 1024

T = TypeVar("T")


class Dialogue(asyncio.Protocol, Generic[T]):
    """A connection in use. Owner of its socket, and of the requests under way.

    `on_end` is called when it ends, whoever wanted that; `on_lost` once, and only when it ends unasked.
    """

    def __init__(
        self,
        peer: str,
        *,
        on_data: Callable[[bytes], None],
        on_lost: Callable[[str], None],
        on_end: Callable[[str], None] | None = None,
        greeting: bytes = b"",
    ) -> None:
        """`greeting`: what is sent before all else, whatever may come meanwhile."""
        self._peer = peer
        self._on_data = on_data
        self._on_lost = on_lost
        self._on_end = on_end
        self._greeting = greeting
        self._transport: asyncio.Transport | None = None
        self.pending = PendingRequests[T]()
        self.writable = asyncio.Event()  # also when there is nobody to write to any more
        self.is_closing = False

    async def open(self, endpoint: Endpoint, *, greeted: asyncio.Future[None] | None = None) -> None:
        """Connect, and wait for `greeted` if the other end is to greet us. Raises Unavailable."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await endpoint.connect(lambda: self)
                if greeted is not None:
                    await asyncio.shield(greeted)
        except (OSError, TimeoutError) as error:
            self.close()
            raise self._unavailable(f"the {self._peer} does not answer at {endpoint}") from error

    @contextlib.asynccontextmanager
    async def patience(self, late: str) -> AsyncIterator[None]:
        """End the connection, because of `late`, if what is done within takes too long. Raises Unavailable."""
        try:
            async with asyncio.timeout(ANSWER_S):
                yield
        except TimeoutError as error:
            raise self.give_up(late) from error

    async def ask(self, number: int, request: bytes) -> T:
        """Send a request as soon as the other end reads, and give its answer. Raises Unavailable."""
        if self.is_closing:
            raise self._unavailable(f"the connection to the {self._peer} is closed")
        with self.pending.expect(number) as answer:
            await self.writable.wait()
            self.send(request)
            return await answer

    def send(self, data: bytes) -> None:
        """Send what has no answer. Dropped when the socket is closed."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def give_up(self, reason: str) -> Unavailable:
        """End it for a reason of ours, and give the error that says so."""
        if not self.is_closing:
            self.is_closing = True
            self._on_lost(reason)
        self._abort()
        return self._unavailable(reason)

    def close(self) -> None:
        """Let go of the connection; `on_lost` is not called."""
        self.is_closing = True
        self._abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream's transport; uvloop's are asyncio.Transport in all but name.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.writable.set()
        if self._greeting:
            self.send(self._greeting)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.writable.set()
        reason = f"the connection to the {self._peer} ended: {error or 'closed'}"
        if self._on_end is not None:
            self._on_end(reason)
        self.pending.end(lambda: self._unavailable(reason))
        if not self.is_closing:
            self.is_closing = True
            self._on_lost(reason)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(reason, retry_after_s=RETRY_S)
