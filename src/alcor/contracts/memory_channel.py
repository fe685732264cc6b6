"""Channels in memory, with the semantics of real ones: for tests, and for parts that share a process."""

import asyncio
from collections import deque

from alcor.contracts.agent_channel import FRAME_MAX


class MemoryChannel:
    """One end of a pair; see `pair`. Frames arrive in the next turn of the loop, in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer: MemoryChannel | None = None
        self._frames: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._close_reason: str | None = None

    async def receive(self) -> bytes | None:
        while not self._frames:
            if self._close_reason is not None:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()

    def send(self, frame_body: bytes) -> None:
        if self._close_reason is not None or self._peer is None:
            return
        if len(frame_body) > FRAME_MAX or not frame_body:
            self.close(f"a frame of {len(frame_body)} bytes cannot be sent")
            return
        self._loop.call_soon(self._peer._arrive, frame_body)

    def close(self, reason: str = "") -> None:
        if self._close_reason is not None:
            return
        self._end(reason or "closed here")
        if self._peer is not None:
            self._loop.call_soon(self._peer._end, "closed by the peer")

    @property
    def beat_at_s(self) -> float:
        return 0.0

    @property
    def backlog_bytes(self) -> int:
        return 0

    @property
    def close_reason(self) -> str | None:
        return self._close_reason

    def _arrive(self, frame_body: bytes) -> None:
        if self._close_reason is None:
            self._frames.append(frame_body)
            self._arrived.set()

    def _end(self, reason: str) -> None:
        if self._close_reason is None:
            self._close_reason = reason
        self._arrived.set()


def pair() -> tuple[MemoryChannel, MemoryChannel]:
    """Make two channels, each the other's peer."""
    one, other = MemoryChannel(), MemoryChannel()
    one._peer, other._peer = other, one
    return one, other
