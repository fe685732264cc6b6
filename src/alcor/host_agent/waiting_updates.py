"""Updates that were read and not yet applied: bounded, so that the controller's backlog grows and not ours."""

import asyncio

from alcor.host_agent.applier import Received

UPDATES_MAX = 256
BYTES_MAX = 16 * 1024 * 1024


class WaitingUpdates:
    """Owner of the updates between the stream and the one loop that applies them."""

    def __init__(self) -> None:
        self._received: list[Received] = []
        self._bytes = 0
        self._room = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._received)

    async def add(self, received: Received) -> None:
        """Let one more wait; while there is no room the stream is read no further."""
        while len(self._received) >= UPDATES_MAX or self._bytes >= BYTES_MAX:
            self._room.clear()
            await self._room.wait()
        self._received.append(received)
        self._bytes += len(received.frame)

    def take(self) -> list[Received]:
        """Give all, in order, and hold them no longer."""
        taken, self._received, self._bytes = self._received, [], 0
        self._room.set()
        return taken

    def forget(self) -> None:
        """Let none of them be applied."""
        self.take()
