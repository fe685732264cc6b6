"""What arrived on a channel and waits to be read: for channels that have no transport of their own."""

import asyncio
from collections import deque


class FrameBuffer:
    """Owner of the frames of one end of a channel, and of the reason why it ended. `room`: frames at most.

    For one reader. A controller has one of these for each host, and every beat wakes it: an event of asyncio
    would be three more objects to visit.
    """

    __slots__ = ("_frames", "_reader", "_room", "end_reason")

    def __init__(self, room: int) -> None:
        self._room = room
        self._frames: deque[bytes] = deque()
        self._reader: asyncio.Future[None] | None = None  # that waits, or gave up
        self.end_reason: str | None = None

    def put(self, frame: bytes) -> bool:
        """Take a frame. False: it is dropped, because there is no room or the channel ended."""
        if self.end_reason is not None or len(self._frames) >= self._room:
            return False
        self._frames.append(frame)
        self._wake()
        return True

    async def get(self) -> bytes | None:
        """Give the next frame; those that arrived before the end too, then None."""
        while not self._frames:
            if self.end_reason is not None:
                return None
            assert self._reader is None or self._reader.done(), "one reads at a time"
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._frames.popleft()

    def end(self, reason: str) -> bool:
        """Take no more. False: it had ended before, for the reason given then."""
        if self.end_reason is not None:
            return False
        self.end_reason = reason
        self._wake()
        return True

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)
