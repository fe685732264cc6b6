"""`ToldMarks` in memory, for tests."""

import msgspec

from alcor.contracts.server_events import Told
from alcor.model.ids import HostId


class MemoryToldMarks:
    """Owner of what was told."""

    def __init__(self) -> None:
        self._told: Told | None = None

    async def load(self) -> Told | None:
        return self._told

    async def keep(self, told: Told) -> None:
        marks: dict[HostId, int] = dict(self._told.marks) if self._told is not None else {}
        marks.update(told.marks)
        kept = {host: mark for host, mark in marks.items() if mark}
        self._told = msgspec.structs.replace(told, marks=kept)
