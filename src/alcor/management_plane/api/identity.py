"""Who asks, without authentication: the listener is bound to loopback, so whoever reaches it is trusted.

    headers                           project              administrator
    none of them                      admin                yes: the operator at the machine
    X-Project-Id: p                   p                    if X-Roles names admin
    X-Roles without X-Project-Id      admin, if X-Roles names admin; otherwise refused

`openstack --os-auth-type none` sends none of them. A header that is there but empty is refused: a proxy that
forgot to fill it in must not make an operator.
"""

from starlette.datastructures import Headers

from alcor.management_plane.caller import Caller
from alcor.model import errors
from alcor.model.ids import ProjectId, RequestId

OPERATOR_PROJECT = ProjectId("admin")
_PROJECT_LENGTH_MAX = 255
_IDENTITY = ("x-project-id", "x-roles", "x-user-id")


def caller_of(headers: Headers, request_id: RequestId) -> Caller:
    """Give the caller that the headers name. Raises Invalid (401)."""
    if not any(name in headers for name in _IDENTITY):
        return Caller(OPERATOR_PROJECT, True, request_id)
    roles = {role.strip().lower() for role in headers.get("x-roles", "").split(",")}
    is_admin = "admin" in roles
    project = headers.get("x-project-id")
    if project is None and is_admin:
        return Caller(OPERATOR_PROJECT, True, request_id)
    if not project or len(project) > _PROJECT_LENGTH_MAX or not project.isprintable():
        raise errors.Invalid("X-Project-Id must name the project.", reason="HTTPUnauthorized")
    return Caller(ProjectId(project), is_admin, request_id)
