"""Where the API begins: its versions, its resources, and whether it answers."""

from collections.abc import Mapping, Sequence

from starlette.responses import Response

from alcor.management_plane.api import gate, policy
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import written


class Directory:
    """Serves the root, the version's root and the health check."""

    def __init__(self, plurals: Sequence[str]) -> None:
        self._plurals = plurals

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes."""
        return [
            entrance.route("/", policy=policy.PUBLIC, get=self.versions),
            entrance.route("/v2.0", policy=policy.TENANT, get=self.resources),
            entrance.route("/v2.0/", policy=policy.TENANT, get=self.resources),
            entrance.route("/healthz", policy=policy.PUBLIC, get=self.health),
        ]

    async def versions(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the versions."""
        return written({"versions": [_version(call)]}, 200)

    async def resources(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the resources; and the version itself, for clients that were given this as their endpoint."""
        resources = [
            {
                "name": plural.removesuffix("s"),
                "collection": plural,
                "links": [{"rel": "self", "href": f"{call.base_url}/v2.0/{plural.replace('_', '-')}"}],
            }
            for plural in self._plurals
        ]
        return written({"resources": resources, "version": _version(call)}, 200)

    async def health(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET whether this process answers; it asks nobody else."""
        return written({"status": "ok"}, 200)


def _version(call: Call) -> dict[str, object]:
    links = [{"rel": "self", "href": f"{call.base_url}/v2.0/"}]
    return {"id": "v2.0", "status": "CURRENT", "links": links}
