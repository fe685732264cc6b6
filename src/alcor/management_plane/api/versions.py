"""Where the API begins: its versions, its resources, and whether it answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from alcor.management_plane.api import gate, policy
from alcor.management_plane.api.attribute import Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import written
from alcor.management_plane.api.described import describes, gives


class LinkAnswer(msgspec.Struct):
    """Where something is."""

    rel: str
    href: str


class VersionAnswer(msgspec.Struct):
    """A version of the API."""

    id: str
    status: str
    links: list[LinkAnswer]


class ResourceAnswer(msgspec.Struct):
    """A kind of objects that the API has."""

    name: str
    collection: str
    links: list[LinkAnswer]


class ResourcesAnswer(msgspec.Struct):
    """What is below the version's root."""

    resources: list[ResourceAnswer]
    version: VersionAnswer


class HealthAnswer(msgspec.Struct):
    """Whether this process answers."""

    status: str = "ok"


class Directory:
    """Serves the root, the version's root and the health check."""

    def __init__(self, resources: Sequence[Resource[Any]]) -> None:
        self._resources = resources

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes."""
        return [
            entrance.route("/", policy=policy.PUBLIC, get=self.versions),
            entrance.route("/v2.0", policy=policy.TENANT, get=self.resources),
            entrance.route("/v2.0/", policy=policy.TENANT, get=self.resources),
            entrance.route("/healthz", policy=policy.PUBLIC, get=self.health),
        ]

    @describes(gives(200, "versions", of=VersionAnswer, is_many=True), summary="List the API's versions")
    async def versions(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the versions."""
        return written({"versions": [_version(call)]}, 200)

    @describes(gives(200, of=ResourcesAnswer), summary="List the resources")
    async def resources(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the resources; and the version itself, for clients that were given this as their endpoint."""
        root = f"{call.base_url}/v2.0"
        resources = [
            ResourceAnswer(
                each.singular, each.plural, [LinkAnswer("self", f"{root}/{each.plural.replace('_', '-')}")]
            )
            for each in self._resources
        ]
        return written(ResourcesAnswer(resources, _version(call)), 200)

    @describes(gives(200, of=HealthAnswer), summary="Tell whether this process answers")
    async def health(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET whether this process answers; it asks nobody else."""
        return written(HealthAnswer(), 200)


def _version(call: Call) -> VersionAnswer:
    return VersionAnswer("v2.0", "CURRENT", [LinkAnswer("self", f"{call.base_url}/v2.0/")])
