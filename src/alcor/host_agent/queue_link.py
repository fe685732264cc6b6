"""The agent's place at the queue: a channel for its sessions there, and what comes there beside a stream.

    frame of this session ----> the channel, while the session is over the queue
                           \\--> updates, while it is over a stream
    frame for a host away ----> updates, as long as no session has begun
    frame of another session -> nobody: Hello has told since what is held

A session is one Hello and what follows it, over whichever path. Its number is in every message of the queue.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from alcor.contracts import packed_ids, queue
from alcor.contracts.agent_channel import BeatsInFrames, Farewell, Update
from alcor.contracts.frame_buffer import FrameBuffer
from alcor.contracts.queue import AgentQueue
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock

UNREAD_MAX = 1024  # frames; what is dropped is sent again
TO_ALL = -1

_encoder = msgspec.msgpack.Encoder()

TakeUpdate = Callable[[Update, bytes], Awaitable[None]]


class QueueChannel(BeatsInFrames):
    """One session over the queue. Implements `Channel`."""

    def __init__(self, link: "QueueLink") -> None:
        self._link = link
        self._buffer = FrameBuffer(UNREAD_MAX)

    async def receive(self) -> bytes | None:
        return await self._buffer.get()

    def send(self, frame_body: bytes) -> None:
        if self.close_reason is None:
            self._link.answer(frame_body)

    def close(self, reason: str = "") -> None:
        if self.close_reason is None:
            self._link.answer(_encoder.encode(Farewell(reason)))
        self.end(reason or "closed here")

    def end(self, reason: str) -> None:
        """End it without a word to the controller."""
        if self._buffer.end(reason):
            self._link.closed(self)

    @property
    def backlog_bytes(self) -> int:
        return 0

    @property
    def close_reason(self) -> str | None:
        return self._buffer.end_reason

    def arrive(self, frame: bytes) -> None:
        """Take a frame of this session."""
        self._buffer.put(frame)


class QueueLink:
    """Owner of the host's place at the queue and of the number of its session."""

    def __init__(self, host: HostId, agent_queue: AgentQueue, take: TakeUpdate, clock: Clock) -> None:
        self._take = take
        self._clock = clock
        self._session = queue.AWAY
        self._last_session = queue.AWAY
        self._is_superseded = False  # another has written to the data plane since the last session
        self._channel: QueueChannel | None = None
        self._beside: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._place = agent_queue.subscribe(host, self._on_frame, self._on_lost)

    @property
    def is_up(self) -> bool:
        return self._place.is_up

    def open(self) -> QueueChannel:
        """Begin to speak over the queue; Hello comes first."""
        self._channel = QueueChannel(self)
        return self._channel

    def begin(self) -> int:
        """Number a new session, over whichever path; Hello carries the number."""
        self._last_session = self._session = max(self._last_session + 1, self._clock.now_us())
        self._is_superseded = False
        self._beside.clear()
        return self._session

    def end(self) -> None:
        """End the session."""
        self._session = queue.AWAY
        self._beside.clear()

    def was_kept_since_last_session(self, update: Update) -> bool:
        """Was it made for the host as it is still, since this agent's last session ended?"""
        return update.number == self._last_session and not self._is_superseded

    def supersede(self) -> None:
        """Hear that another has written to the data plane: what was kept may be older than that."""
        self._is_superseded = True

    def answer(self, frame: bytes) -> None:
        """Say something in the session."""
        if self._session != queue.AWAY:
            self._place.answer(frame, session=self._session)

    def closed(self, channel: QueueChannel) -> None:
        """Hear that a channel ended."""
        if self._channel is channel:
            self._channel = None

    async def catch_up(self) -> None:
        """Take what the queue kept while the host was away, if it answers."""
        if self._session != queue.AWAY:
            return
        try:
            frames = await self._place.last_values()
        except errors.Unavailable:
            return
        for frame in frames:
            if self._session != queue.AWAY:
                break
            await self._take_frame(frame)

    async def pass_on(self) -> None:
        """Pass on what comes beside a stream, for ever."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._beside:
                    await self._take_frame(self._beside.popleft())
        finally:
            self._place.close()

    async def _take_frame(self, frame: bytes) -> None:
        try:
            update = packed_ids.read_update(frame)
        except msgspec.DecodeError:
            return  # Welcome, Beat and the like say nothing without a session over the queue
        await self._take(update, frame)

    def _on_frame(self, session: int, frame: bytes) -> None:
        if self._channel is not None:
            if session in (self._session, TO_ALL) and self._session != queue.AWAY:
                self._channel.arrive(frame)
        elif session == self._session and len(self._beside) < UNREAD_MAX:
            self._beside.append(frame)
            self._arrived.set()

    def _on_lost(self) -> None:
        if self._channel is not None:
            self._channel.end("the connection to the queue is lost")
