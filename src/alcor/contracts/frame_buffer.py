"""What arrived on a channel and waits to be read: for channels that have no transport of their own."""

import asyncio
from collections import deque


class FrameBuffer:
    """Owner of the frames of one end of a channel, and of the reason why it ended. `room`: frames at most."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._frames: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self.end_reason: str | None = None

    def put(self, frame: bytes) -> bool:
        """Take a frame. False: it is dropped, because there is no room or the channel ended."""
        if self.end_reason is not None or len(self._frames) >= self._room:
            return False
        self._frames.append(frame)
        self._arrived.set()
        return True

    async def get(self) -> bytes | None:
        """Give the next frame; those that arrived before the end too, then None."""
        while not self._frames:
            if self.end_reason is not None:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()

    def end(self, reason: str) -> bool:
        """Take no more. False: it had ended before, for the reason given then."""
        if self.end_reason is not None:
            return False
        self.end_reason = reason
        self._arrived.set()
        return True
