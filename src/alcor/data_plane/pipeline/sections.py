"""Turning an update into what differs, shared by everything that mirrors a section."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def merge(held: dict[K, V], entries: Iterable[tuple[K, V]], gone: Iterable[K], *, is_full: bool) -> list[K]:
    """Apply set and gone entries to what is held, and name the keys whose entry differs now.

    `is_full`: everything that is not set is gone. O(entries), or O(held) for a full section.
    """
    wanted = dict(entries)
    if is_full:
        gone = [key for key in held if key not in wanted]
    changed = [key for key in gone if key not in wanted and held.pop(key, None) is not None]
    for key, entry in wanted.items():
        if held.get(key) != entry:
            held[key] = entry
            changed.append(key)
    return changed
