"""Who may call a route: each states it, and the gate makes no route that does not."""

import msgspec

from alcor.contracts.identity import Identity
from alcor.model import errors
from alcor.model.roles import Level

_READING = frozenset({"GET", "HEAD"})


class Policy(msgspec.Struct, frozen=True):
    """The least level for GET, and for everything that changes something."""

    read: Level
    change: Level

    def needed(self, method: str) -> Level:
        """Give the least level for a method."""
        return self.read if method in _READING else self.change

    @property
    def is_public(self) -> bool:
        """May anybody read here without saying who they are?"""
        return self.read is Level.ANYONE


# What is the project's: services show and change nothing else, save for administrators.
TENANT = Policy(Level.READER, Level.MEMBER)
# What concerns the region as a whole.
OPERATOR = Policy(Level.ADMIN, Level.ADMIN)
# Where clients begin before they know how to authenticate.
PUBLIC = Policy(Level.ANYONE, Level.ADMIN)


def require(policy: Policy, identity: Identity, method: str) -> None:
    """Raise Invalid (403) when the caller's roles do not reach."""
    needed = policy.needed(method)
    if identity.level < needed:
        raise errors.Invalid(
            f"The role {needed.name.lower()} is needed for this request.", reason="PolicyNotAuthorized"
        )
