"""Groups that hold many, cut so that one query gives what is in each portion. Pure."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

PER_QUERY = 50_000  # a store answers at most 100,000 records to one query


class Group(Protocol):
    """Something that knows how many it holds."""

    @property
    def size(self) -> int: ...


G = TypeVar("G", bound=Group)


def of(groups: Sequence[G]) -> list[list[G]]:
    """Cut groups, in order, into portions that hold at most PER_QUERY, or are one group."""
    found: list[list[G]] = []
    room = 0
    for group in groups:
        if not found or group.size > room:
            found.append([])
            room = PER_QUERY
        found[-1].append(group)
        room -= group.size
    return found
