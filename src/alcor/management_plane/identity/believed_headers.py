"""Who asks, without authentication: the listener is bound to loopback, so whoever reaches it is trusted.

    headers                           project              level
    none of them                      admin                administrator: the operator at the machine
    X-Project-Id: p                   p                    member
    X-Project-Id: p, X-Roles          p                    the highest that X-Roles names
    X-Roles without X-Project-Id      admin, if X-Roles names admin; otherwise refused

`openstack --os-auth-type none` sends none of them. A header that is there but empty is refused: a proxy that
forgot to fill it in must not make an operator.
"""

import functools
from collections.abc import Mapping

from alcor.contracts.identity import Identity, Scheme, unauthorized
from alcor.model.ids import ProjectId
from alcor.model.roles import Level, level_of

OPERATOR_PROJECT = ProjectId("admin")
_LENGTH_MAX = 255
_IDENTITY = ("x-project-id", "x-roles", "x-user-id")
_PROJECT = Scheme("project", "X-Project-Id", "The project that asks.")
_ROLES = Scheme("roles", "X-Roles", "The caller's roles, with commas between them: admin, member, reader.")
_OPERATOR = Identity(OPERATOR_PROJECT, "", ("admin",), Level.ADMIN)


class BelievedHeaders:
    """Takes callers at their word."""

    challenge = None
    ways = ((), (_PROJECT,), (_PROJECT, _ROLES))

    def known(self, headers: Mapping[str, str]) -> Identity | None:
        """Give the caller that the headers name. Raises Invalid (401)."""
        project, roles, user = (headers.get(name) for name in _IDENTITY)
        if project is None and roles is None and user is None:
            return _OPERATOR
        return _identity(project, roles, user)

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Refuse: what is not known from the headers never will be."""
        raise unauthorized("X-Project-Id must name the project.")


@functools.lru_cache(maxsize=1024)  # the same few callers come again and again
def _identity(project: str | None, named: str | None, user: str | None) -> Identity:
    roles = ("member",) if named is None else tuple(role.strip().lower() for role in named.split(","))
    level = level_of(roles)
    if project is None and level is Level.ADMIN:
        project = OPERATOR_PROJECT
    if not project or len(project) > _LENGTH_MAX or not project.isprintable():
        raise unauthorized("X-Project-Id must name the project.")
    return Identity(ProjectId(project), (user or "")[:_LENGTH_MAX], roles, level)
