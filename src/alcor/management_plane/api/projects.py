"""Projects on the wire: what the operator says of tenants. For administrators."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from alcor.management_plane.api import described_resource, form, gate, listing, policy, validation
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import JSON, written
from alcor.management_plane.api.described import IF_MATCH, described_as, describes, gives
from alcor.management_plane.project.service import ProjectService
from alcor.model import errors
from alcor.model.records import PRIORITY_MAX, Project

NAME_LENGTH_MAX = 255


class ProjectFields(msgspec.Struct, frozen=True):
    """What a PUT may say."""

    priority: int | msgspec.UnsetType = msgspec.UNSET


class ProjectAnswer(msgspec.Struct):
    """A project as it is shown."""

    id: str
    priority: int
    revision_number: int


PROJECTS = Resource(
    singular="project",
    plural="projects",
    kind=Project,
    fields=ProjectFields,
    attributes=(
        Attribute(name="id", filterable=True, sortable=True),
        Attribute(
            name="priority",
            put=True,
            parse=validation.integer(0, PRIORITY_MAX),
            filterable=True,
            sortable=True,
        ),
        Attribute(name="revision_number"),
    ),
)


class ProjectCollection:
    """Serves projects; they are not made or removed here, because tenants are not Alcor's."""

    def __init__(self, service: ProjectService) -> None:
        self._service = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes of all and of one."""
        return [
            entrance.route("/v2.0/projects", policy=policy.OPERATOR, get=self.list_projects),
            entrance.route("/v2.0/projects/{id}", policy=policy.OPERATOR, get=self.show, put=self.change),
        ]

    @described_as(described_resource.listing(PROJECTS, ProjectAnswer))
    async def list_projects(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the projects that something was said of."""
        answers: list[msgspec.Struct] = [_answer(project) for project in await self._service.all()]
        listed = listing.listed_from(PROJECTS, call, answers)
        return Response(listing.encoded(PROJECTS, listed), media_type=JSON)

    @described_as(described_resource.showing(PROJECTS, ProjectAnswer))
    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET one, with the defaults when nothing was said of it."""
        answer = _answer(await self._service.one(_name(path)))
        return written({"project": listing.shown(call, answer)}, 200)

    @describes(
        gives(200, "project", of=ProjectAnswer),
        summary="Update a project",
        takes=(IF_MATCH,),
        body=described_resource.update_body(PROJECTS),
        refuses=(409, 412),
    )
    async def change(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT what the operator says."""
        fields = form.updated(PROJECTS, call.body, call.caller)
        name, expected = _name(path), call.expected_revision
        if isinstance(fields.priority, msgspec.UnsetType):
            return written({"project": _answer(await self._service.one(name))}, 200)
        revision, project = await self._service.set_priority(
            call.caller, name, fields.priority, expected=expected
        )
        return written({"project": _answer(project)}, 200, revision=revision)


def _name(path: Mapping[str, str]) -> str:
    name = path["id"]
    if not name.isprintable() or len(name) > NAME_LENGTH_MAX:
        raise errors.Missing("Project could not be found.", reason="ProjectNotFound")
    return name


def _answer(project: Project) -> ProjectAnswer:
    return ProjectAnswer(project.id, project.priority, project.revision_number)
