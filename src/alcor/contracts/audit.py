"""The audit trail: who did what, when, from where, with which result."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

TARGETS_MAX = 20  # ids in an entry; `count` and the change log know the rest


class Actor(msgspec.Struct, frozen=True, array_like=True):
    """Who sends a request, from where, and what it asks. Kept for years: fields are only ever appended."""

    project_id: str
    user_id: str
    roles: tuple[str, ...]
    address: str
    method: str
    path: str


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What became of a request, for one kind of record. Fields are only ever appended.

    `revision`: of the commit; 0: nothing was committed. `status`: the HTTP status where nothing was
    committed, 0 otherwise. `repeats`: how many requests of the same moment this entry stands for.
    """

    at: int  # microseconds since 1970 UTC
    request_id: str
    actor: Actor
    operation: str  # create | update | delete, or the method in small letters
    kind: str  # of the records; of a refusal, what its path says
    targets: tuple[str, ...]
    count: int
    revision: int
    status: int = 0
    reason: str = ""
    repeats: int = 1

    @property
    def id(self) -> str:
        """Its name, unique; in the order of time."""
        return f"{self.at:017d}.{self.request_id}.{self.revision}.{self.kind}.{self.operation}"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: from `since` (inclusive) to `until` (exclusive), after an entry's id, oldest first."""

    project_id: str | None = None  # of who did it; None: all
    kind: str | None = None
    since: int = 0
    until: int = 10**16
    after: str = ""
    limit: int = 1000


class AuditLog(Protocol):
    """Where the trail is kept. Raises Unavailable."""

    async def fold(self, *, limit: int) -> int:
        """Take up to `limit` committed changes over into the trail; give how many. Any process may."""
        ...

    async def add(self, entries: Sequence[Entry]) -> None:
        """Keep entries of requests that committed nothing."""
        ...

    async def entries(self, asked: Asked) -> list[Entry]:
        """Read by index, a page."""
        ...

    async def trim(self, *, before: int, limit: int) -> int:
        """Forget up to `limit` entries older than a moment; give how many."""
        ...
