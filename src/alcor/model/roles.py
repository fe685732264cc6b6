"""What a caller may do: three levels, from the names of roles."""

from collections.abc import Iterable
from enum import IntEnum


class Level(IntEnum):
    """Each may do what the one before may."""

    ANYONE = 0  # nothing is known of the caller, or nothing that counts
    READER = 1  # may look at what is the project's
    MEMBER = 2  # may change it
    ADMIN = 3  # may look at and change everything


_LEVELS = {"reader": Level.READER, "member": Level.MEMBER, "admin": Level.ADMIN}
ROLES = tuple(_LEVELS)


def level_of(roles: Iterable[str]) -> Level:
    """Give the highest level among roles; others than these three count for nothing."""
    return max((_LEVELS.get(role.lower(), Level.ANYONE) for role in roles), default=Level.ANYONE)
