"""One stream of length-prefixed frames, over TCP or a Unix socket, with or without TLS.

An asyncio BufferedProtocol, not StreamReader and StreamWriter: frames sent in one turn of the loop leave in one
system call, and what is read goes into one buffer of the thread. Under TLS the loop would else ask for 256 KiB
with each read and give most of it back.
"""

import asyncio
import socket
import struct
import threading
from array import array
from collections import deque
from collections.abc import Callable
from typing import cast

import msgspec

from alcor.adapters.beat_sockets import BeatListener, BeatSender
from alcor.contracts.agent_channel import BEAT_HEAD, BEAT_S, FRAME_MAX, UNANSWERED_S, Beat
from alcor.contracts.beat_datagram import BeatKey

BACKLOG_MAX = 2 * FRAME_MAX  # one frame under way and the largest one behind it
UNREAD_MAX = 4 * 1024 * 1024  # above it the peer is made to wait: its own backlog grows, not our memory
ANSWER_BEATS_S = 0.9 * BEAT_S  # as often as peers expect to hear a word, however often they speak
BUFFER_BYTES = 256 * 1024  # read at once; a large frame comes in few pieces
_HEADER = struct.Struct(">I")
_NEVER = array("d", [0.0])
_encoder = msgspec.msgpack.Encoder()


class _Buffer(threading.local):
    """Where a thread's channels read into. What is in it is taken before the loop reads for another one."""

    def __init__(self) -> None:
        self.bytes = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.bytes)


_buffer = _Buffer()


class FrameChannel(asyncio.BufferedProtocol):
    """One connection. Owner of its transport and of the frames not yet read or sent."""

    __slots__ = (
        "_answer_due_s",
        "_answers_beats",
        "_backlog_max",
        "_beat",
        "_beat_at_s",
        "_beat_session",
        "_buffer",
        "_close_reason",
        "_datagrams_at_s",
        "_flush_due",
        "_frames",
        "_listener",
        "_loop",
        "_on_open",
        "_partial",
        "_partial_bytes",
        "_paused",
        "_pending",
        "_pending_bytes",
        "_place",
        "_sender",
        "_transport",
        "_unread_bytes",
        "_view",
        "_waiter",
    )

    def __init__(
        self,
        on_open: Callable[["FrameChannel"], None] | None = None,
        *,
        backlog_max: int = BACKLOG_MAX,
        answers_beats: bool = False,
        listener: BeatListener | None = None,
        sender: BeatSender | None = None,
    ) -> None:
        """`listener` hears the peer's beats that come as datagrams, or `sender` sends ours."""
        self._loop = asyncio.get_running_loop()
        self._on_open = on_open
        self._buffer, self._view = _buffer.bytes, _buffer.view
        self._backlog_max = backlog_max
        self._answers_beats = answers_beats
        self._beat = b""  # what came last, if it was one beat alone
        self._beat_at_s = 0.0
        self._answer_due_s = 0.0
        self._listener, self._sender = listener, sender
        self._beat_session: int | None = None  # of the datagrams
        self._datagrams_at_s, self._place = _NEVER, 0  # where it is noted when one was heard
        self._transport: asyncio.Transport | None = None
        self._frames: deque[bytes] = deque()
        self._unread_bytes = 0
        self._paused = False
        self._partial: list[bytes] = []  # pieces of a frame that has not arrived whole
        self._partial_bytes = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flush_due = False
        self._waiter: asyncio.Future[None] | None = None
        self._close_reason: str | None = None

    async def receive(self) -> bytes | None:
        while not self._frames:
            if self._close_reason is not None:
                return None
            assert self._waiter is None, "a channel has one reader"
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        frame = self._frames.popleft()
        self._unread_bytes -= len(frame)
        if self._paused and self._unread_bytes < UNREAD_MAX // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return frame

    def send(self, frame_body: bytes) -> None:
        if self._close_reason is not None or self._transport is None:
            return
        if len(frame_body) > FRAME_MAX:
            self.close(f"a frame of {len(frame_body)} bytes is too large to send")
            return
        self._pending.append(_HEADER.pack(len(frame_body)))
        self._pending.append(frame_body)
        self._pending_bytes += _HEADER.size + len(frame_body)
        if self.backlog_bytes > self._backlog_max:
            self._abort("the peer does not keep up: backlog above its bound")
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def close(self, reason: str = "") -> None:
        if self._close_reason is not None:
            return
        self._flush()
        self._end(reason or "closed here")
        if self._transport is not None:
            self._transport.close()

    def new_beat_key(self) -> BeatKey | None:
        if self._listener is None or self._close_reason is not None:
            return None
        key = self._listener.new_session(self)
        if key is not None:
            self._beat_session = key.session
            self._datagrams_at_s, self._place = self._listener.times(key.session)
        return key

    def beat(self, key: BeatKey, held: bytes) -> bool:
        if self._sender is None or self._transport is None or self._close_reason is not None:
            return False
        if self._beat_session is None:
            if not self._sender.begin_beside(key, self, self._transport.get_extra_info("socket")):
                return False
            self._beat_session = key.session
        return self._sender.beat(key.session, held)

    @property
    def beat_at_s(self) -> float:
        datagram_at_s = self._datagrams_at_s[self._place]
        return datagram_at_s if datagram_at_s > self._beat_at_s else self._beat_at_s

    @property
    def hears_datagrams(self) -> bool:
        return self._datagrams_at_s[self._place] > 0.0

    def hear_beat(self, held: bytes) -> None:
        """Take what the peer's datagram says that is new. It is said again: so much unread, it is dropped."""
        if self._unread_bytes > UNREAD_MAX and self._listener is not None and self._beat_session is not None:
            self._listener.pass_on(self._beat_session)
            return
        self._beat = b""
        frame = _encoder.encode(Beat(held))
        self._frames.append(frame)
        self._unread_bytes += len(frame)
        self._wake()

    def hear_answer(self, now_s: float) -> None:
        """Take it that our datagrams are heard."""
        self._beat_at_s = now_s

    @property
    def backlog_bytes(self) -> int:
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return self._pending_bytes + unsent

    @property
    def close_reason(self) -> str | None:
        return self._close_reason

    @property
    def peer_certificate(self) -> object:
        """What the peer's certificate says, as `SSLSocket.getpeercert` describes it; None without one."""
        return None if self._transport is None else self._transport.get_extra_info("peercert")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # the loop makes stream transports for us
        _tune(transport.get_extra_info("socket"))
        if self._on_open is not None:
            self._on_open(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        beat = self._beat
        # Tens of thousands a second: no reader wakes for them, and nothing is copied.
        if nbytes == len(beat) and not self._partial and self._buffer.startswith(beat):
            now_s = self._loop.time()
            if now_s < self._answer_due_s:
                self._beat_at_s = now_s
            else:
                self._answer_beat(beat)
            return
        self._take(bytes(self._view[:nbytes]))

    def _take(self, data: bytes) -> None:
        if self._close_reason is not None:
            return
        self._beat = b""
        if self._listener is not None and self._beat_session is not None:
            self._listener.pass_on(self._beat_session)
        if self._answers_beats and self._is_lone_beat(data):
            self._answer_beat(data)
            self._beat = data  # what it says is passed on once, and again after anything else was said
        if self._partial:
            self._partial.append(data)
            self._partial_bytes += len(data)
            if self._partial_bytes < _HEADER.size or self._partial_bytes < self._expected_bytes():
                return
            data = b"".join(self._partial)
            self._partial.clear()
        self._take_frames(data)
        if self._frames or self._close_reason:
            self._wake()
        if self._unread_bytes > UNREAD_MAX and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost: {exc}" if exc else "closed by the peer")
        self._transport = None
        self._pending.clear()
        self._pending_bytes = 0

    def _is_lone_beat(self, data: bytes) -> bool:
        return data[4:10] == BEAT_HEAD and not self._partial and len(data) == _HEADER.size + data[3]

    def _answer_beat(self, data: bytes) -> None:
        """Let the peer hear a word in return, now and then and not for each."""
        now_s = self._beat_at_s = self._loop.time()
        if now_s >= self._answer_due_s and self._transport is not None:
            self._answer_due_s = now_s + ANSWER_BEATS_S
            if not self.backlog_bytes:  # else a word is on its way already
                self._transport.write(data)

    def _expected_bytes(self) -> int:
        """Length of the frame that the partial pieces begin, header included. Joins tiny pieces first."""
        if len(self._partial[0]) < _HEADER.size:
            self._partial[:] = [b"".join(self._partial)]
        (length,) = _HEADER.unpack_from(self._partial[0])
        return int(length) + _HEADER.size

    def _take_frames(self, data: bytes) -> None:
        """Cut the frames out of `data`, which begins with a header; keep what is left of it."""
        offset, size = 0, len(data)
        while size - offset >= _HEADER.size:
            (length,) = _HEADER.unpack_from(data, offset)
            if length == 0 or length > FRAME_MAX:
                self._abort(f"malformed frame: a length of {length}")
                return
            end = offset + _HEADER.size + length
            if end > size:
                break
            self._frames.append(data[offset + _HEADER.size : end])
            self._unread_bytes += length
            offset = end
        if offset < size:
            self._partial.append(data[offset:] if offset else data)
            self._partial_bytes = size - offset

    def _flush(self) -> None:
        self._flush_due = False
        if not self._pending or self._transport is None:
            return
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        if self._transport.is_closing():
            return
        self._transport.write(b"".join(pending))

    def _abort(self, reason: str) -> None:
        self._end(reason)
        self._pending.clear()
        self._pending_bytes = 0
        if self._transport is not None:
            self._transport.abort()

    def _end(self, reason: str) -> None:
        self._beat = b""  # what comes now counts no longer
        if self._close_reason is None:
            self._close_reason = reason
        if self._beat_session is not None:
            self._beat_at_s = self.beat_at_s
            self._datagrams_at_s, self._place = _NEVER, 0  # the place is another's
            for datagrams in (self._listener, self._sender):
                if datagrams is not None:
                    datagrams.forget(self._beat_session)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _tune(connection: socket.socket | None) -> None:
    """Send at once, and let the kernel notice peers whose machine is gone, or streams that nothing passes."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNANSWERED_S * 1000))
