"""The seam between the API and whoever knows its callers."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from alcor.model import errors
from alcor.model.ids import ProjectId
from alcor.model.roles import Level


class Identity(msgspec.Struct, frozen=True):
    """Somebody who proved who they are."""

    project_id: ProjectId
    user_id: str
    roles: tuple[str, ...]
    level: Level


class Scheme(msgspec.Struct, frozen=True):
    """Something that a caller may show. `header` None: HTTP's Basic authentication."""

    name: str
    header: str | None
    about: str


class IdentitySource(Protocol):
    """Tells who sends a request. `headers`: by lower-case name, as ASGI has them."""

    @property
    def challenge(self) -> str | None:
        """How to prove it, for `WWW-Authenticate` of a 401."""
        ...

    @property
    def ways(self) -> tuple[tuple[Scheme, ...], ...]:
        """What callers may show: one of the ways, all that is in it. For the API's description."""
        ...

    def known(self, headers: Mapping[str, str]) -> Identity | None:
        """Give the caller if that needs no more than a look into memory; every request comes here. O(1)."""
        ...

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Find out who the caller is, after `known` did not know.

        Raises Invalid (HTTPUnauthorized: nobody; PolicyNotAuthorized: somebody without a project), Unavailable.
        """
        ...


def unauthorized(message: str) -> errors.Invalid:
    """Make the error for a caller who did not prove who they are."""
    return errors.Invalid(message, reason="HTTPUnauthorized")
