"""Digests of the sections held, each made once for as long as its content stays. Pure."""

from collections.abc import Iterable

from alcor.model import goal_state
from alcor.model.goal_state import Section, SectionKey


class Digests:
    """Owner of the digests. Who changes a section says so; a version that moves alone changes nothing."""

    def __init__(self) -> None:
        self._known: dict[SectionKey, bytes] = {}
        self.made = 0  # for the tests of law 4

    def of(self, key: SectionKey, section: Section) -> bytes:
        """Give the digest of a section. O(its entries) the first time, O(1) afterwards."""
        found = self._known.get(key)
        if found is None:
            self.made += 1
            found = self._known[key] = goal_state.digest(section.full())
        return found

    def changed(self, keys: Iterable[SectionKey]) -> None:
        """The content of sections is another now, or gone."""
        for key in keys:
            self._known.pop(key, None)

    def clear(self) -> None:
        """Nothing is held any longer."""
        self._known.clear()
