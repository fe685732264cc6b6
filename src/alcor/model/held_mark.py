"""Eight bytes for which sections are held in which versions, kept in step with each change. Pure.

    mark of all = xor of mark(key, version) of each section held

Equal versions mean equal content (`Version`), so two sides that hold the same have the same mark, and a change
costs one section's mark, however many there are. Content itself is compared by `goal_state.digest`.
"""

import hashlib
from functools import lru_cache

from alcor.model.goal_state import SectionKey
from alcor.model.version import Version

SIZE = 8
NOTHING = bytes(SIZE)
MARKS_KEPT_MAX = 1024  # a change concerns a section in one version on thousands of hosts


class HeldMark:
    """Owner of the marks of one host's sections."""

    __slots__ = ("_all", "_marks")

    def __init__(self) -> None:
        self._marks: dict[SectionKey, int] = {}
        self._all = 0

    @property
    def value(self) -> bytes:
        """The mark of all that is held."""
        return self._all.to_bytes(SIZE, "big")

    def hold(self, key: SectionKey, version: Version) -> None:
        """Take note that a section is held in this version, and in no other. O(1)."""
        mark = _mark(key, version)
        self._all ^= mark ^ self._marks.get(key, 0)
        self._marks[key] = mark

    def drop(self, key: SectionKey) -> None:
        """Take note that a section is not held. O(1)."""
        self._all ^= self._marks.pop(key, 0)

    def clear(self) -> None:
        """Nothing is held."""
        self._marks.clear()
        self._all = 0


@lru_cache(MARKS_KEPT_MAX)
def _mark(key: SectionKey, version: Version) -> int:
    name = f"{version.epoch}.{version.revision}.{version.step} {key}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=SIZE).digest(), "big")
