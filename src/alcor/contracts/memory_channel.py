"""Channels in memory, with the semantics of real ones: for tests, and for parts that share a process."""

import asyncio

from alcor.contracts.agent_channel import FRAME_MAX, BeatsInFrames
from alcor.contracts.frame_buffer import FrameBuffer

UNREAD_MAX = 1 << 20  # frames: a double of a stream, whose reader is held back by other means


class MemoryChannel(BeatsInFrames):
    """One end of a pair; see `pair`. Frames arrive in the next turn of the loop, in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer: MemoryChannel | None = None
        self._buffer = FrameBuffer(UNREAD_MAX)

    async def receive(self) -> bytes | None:
        return await self._buffer.get()

    def send(self, frame_body: bytes) -> None:
        if self.close_reason is not None or self._peer is None:
            return
        if len(frame_body) > FRAME_MAX or not frame_body:
            self.close(f"a frame of {len(frame_body)} bytes cannot be sent")
            return
        self._loop.call_soon(self._peer._arrive, frame_body)

    def close(self, reason: str = "") -> None:
        if not self._buffer.end(reason or "closed here"):
            return
        if self._peer is not None:
            self._loop.call_soon(self._peer._buffer.end, "closed by the peer")

    @property
    def backlog_bytes(self) -> int:
        return 0

    @property
    def close_reason(self) -> str | None:
        return self._buffer.end_reason

    def _arrive(self, frame_body: bytes) -> None:
        if not self._buffer.put(frame_body) and self.close_reason is None:
            self.close("more than is read")


def pair() -> tuple[MemoryChannel, MemoryChannel]:
    """Make two channels, each the other's peer."""
    one, other = MemoryChannel(), MemoryChannel()
    one._peer, other._peer = other, one
    return one, other
