"""Auto-allocated topologies on the wire: GET makes what is not there, as in Neutron."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from alcor.management_plane import access
from alcor.management_plane.api import gate
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import bare, written
from alcor.management_plane.api.described import describes, gives, takes
from alcor.management_plane.api.policy import Policy
from alcor.management_plane.auto_topology.service import TopologyService
from alcor.model import errors
from alcor.model.roles import Level

_DRY_RUN = "dry-run"
_OWN = ("None", "null")  # how clients name the caller's project
_PROJECT_LENGTH_MAX = 255


class TopologyAnswer(msgspec.Struct, frozen=True):
    """A topology: the id of its network, or `dry-run=pass`."""

    id: str
    project_id: str
    tenant_id: str


class TopologyCollection:
    """Serves the topology of each project."""

    def __init__(self, service: TopologyService) -> None:
        self._service = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the route. Reading makes something, so that readers may not."""
        members = Policy(Level.MEMBER, Level.MEMBER)
        path = "/v2.0/auto-allocated-topology/{id}"
        return [entrance.route(path, policy=members, get=self.get, delete=self.delete)]

    @describes(
        gives(200, "auto_allocated_topology", of=TopologyAnswer),
        summary="Give a project a network, subnet and router, if it has none",
        about="`fields=dry-run` tells whether that would be done.",
        takes=(takes("fields", "`dry-run`, or nothing.", {"enum": [_DRY_RUN]}),),
        refuses=(409,),
    )
    async def get(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the topology of a project."""
        project_id = _project(call, path["id"], "get_auto_allocated_topology")
        fields = {value for name, value in call.parameters if name == "fields"}
        if _DRY_RUN in fields:
            await self._service.check(call.caller, project_id)
            return _answer("dry-run=pass", project_id, None)
        if fields:
            raise errors.Invalid("Bad auto_allocate request: Unrecognized field.", reason="BadRequest")
        network_id, revision = await self._service.get(call.caller, project_id)
        return _answer(network_id, project_id, revision)

    @describes(gives(204), summary="Remove a project's network, subnet and router", refuses=(409,))
    async def delete(self, call: Call, path: Mapping[str, str]) -> Response:
        """DELETE the topology of a project; it need not be there."""
        project_id = _project(call, path["id"], "delete_auto_allocated_topology")
        revision = await self._service.delete(call.caller, project_id)
        return bare(204, revision=revision)


def _project(call: Call, asked: str, action: str) -> str:
    if asked in _OWN or asked == call.caller.project_id:
        return call.caller.project_id
    if not call.caller.is_admin:
        raise access.forbidden(action)
    if len(asked) > _PROJECT_LENGTH_MAX or not asked.isprintable():
        raise errors.Invalid(f"Invalid input for project. Reason: '{asked[:32]}' is not a project's name.")
    return asked


def _answer(network_id: str, project_id: str, revision: int | None) -> Response:
    answer = TopologyAnswer(network_id, project_id, project_id)
    return written({"auto_allocated_topology": answer}, 200, revision=revision)
