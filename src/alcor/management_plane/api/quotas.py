"""Quotas on the wire."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from alcor.management_plane.api import described_resource, form, gate, listing, policy, validation
from alcor.management_plane.api.accepts import Schema, object_of, or_null, schema_of
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import bare, written
from alcor.management_plane.api.described import describes, gives
from alcor.management_plane.project.quotas import QuotaService
from alcor.model import errors, quota
from alcor.model.roles import Level

PROJECT_LENGTH_MAX = 255
_limit = validation.integer(quota.UNLIMITED, quota.LIMIT_MAX)
# A project reads its own; which one it may read, the endpoints decide.
_POLICY = policy.Policy(Level.READER, Level.ADMIN)
_SWITCHES = ("check_limit", "force")
_NUMBER: Schema = {"type": "integer", "minimum": quota.UNLIMITED}
_LIMITS = object_of(dict.fromkeys(quota.DEFAULT_LIMITS, _NUMBER))
_NAMES: dict[str, Schema] = {"project_id": {"type": "string"}, "tenant_id": {"type": "string"}}
_OWN_LIMITS = object_of(dict.fromkeys(quota.DEFAULT_LIMITS, _NUMBER) | _NAMES, *_NAMES)
_USE = object_of(dict.fromkeys(("limit", "used", "reserved"), _NUMBER), "limit", "used", "reserved")
_DETAILS = object_of(dict.fromkeys(quota.DEFAULT_LIMITS, _USE))
_CHANGE = object_of(
    dict.fromkeys(quota.DEFAULT_LIMITS, schema_of(_limit) or {})
    | dict.fromkeys(_SWITCHES, or_null(validation.BOOLEAN))
)


class QuotaCollection:
    """Serves quotas: a project sees its own, administrators see and change all."""

    def __init__(self, service: QuotaService) -> None:
        self._service = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes; those of the caller's own name come before those of projects."""
        one = "/v2.0/quotas/{id}"
        return [
            entrance.route("/v2.0/quotas", policy=policy.OPERATOR, get=self.list),
            entrance.route("/v2.0/quotas/tenant", policy=_POLICY, get=self.own_name),
            entrance.route("/v2.0/quotas/project", policy=_POLICY, get=self.own_name),
            entrance.route(one, policy=_POLICY, get=self.show, put=self.change, delete=self.forget),
            entrance.route(f"{one}/default", policy=_POLICY, get=self.default),
            entrance.route(f"{one}/details", policy=_POLICY, get=self.details),
            entrance.route(f"{one}/details.json", policy=_POLICY, get=self.details),
        ]

    @describes(
        gives(200, "quotas", of=_OWN_LIMITS, is_many=True, links="quotas_links"),
        summary="List the projects that have quotas of their own",
        takes=described_resource.PAGE,
    )
    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET those of the projects that have limits of their own."""
        found = await self._service.all()
        named = [{**limits, "project_id": it.id, "tenant_id": it.id} for it, limits in found]
        return written(listing.cut(call, "quotas", named, lambda each: str(each["project_id"])), 200)

    @describes(
        gives(200, of={"type": "object"}),
        summary="Show the name by which one's own quotas are found",
    )
    async def own_name(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the name under which the caller's quotas are found."""
        word = call.path.rpartition("/")[2]
        return written({word: {f"{word}_id": call.caller.project_id}}, 200)

    @describes(gives(200, "quota", of=_LIMITS), summary="Show a project's quotas")
    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the limits of one."""
        return written({"quota": await self._service.limits(_readable(call, path))}, 200)

    @describes(gives(200, "quota", of=_LIMITS), summary="Show the quotas of whom nothing else is said")
    async def default(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the limits that one has if nothing else is said."""
        _readable(call, path)
        return written({"quota": dict(self._service.defaults)}, 200)

    @describes(gives(200, "quota", of=_DETAILS), summary="Show what is used of a project's quotas")
    async def details(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET limits and use. Nothing is ever reserved: what is counted is made in the same transaction."""
        found = await self._service.details(_readable(call, path))
        shown = {kind: {"limit": each.limit, "used": each.used, "reserved": 0} for kind, each in found.items()}
        return written({"quota": shown}, 200)

    @describes(
        gives(200, "quota", of=_LIMITS),
        summary="Update a project's quotas",
        body=object_of({"quota": _CHANGE}, "quota"),
        refuses=(409,),
    )
    async def change(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT limits; kinds that are not named keep theirs."""
        name = _name(path)
        limits, check = self._asked(form.member(form.decoded(call.body), "quota"))
        if not limits:
            return written({"quota": await self._service.limits(name)}, 200)
        revision, changed = await self._service.change(call.caller, name, limits, check=check)
        return written({"quota": changed}, 200, revision=revision)

    @describes(gives(204), summary="Give a project the default quotas again", refuses=(409,))
    async def forget(self, call: Call, path: Mapping[str, str]) -> Response:
        """DELETE what was said of one: the defaults hold again."""
        revision = await self._service.forget(call.caller, _name(path))
        return bare(204, revision=revision)

    def _asked(self, item: Mapping[str, Any]) -> tuple[dict[str, int], bool]:
        form.check_known(item, (*self._service.defaults, *_SWITCHES))
        limits: dict[str, int] = {}
        switches = dict.fromkeys(_SWITCHES, False)
        for name, value in item.items():
            try:
                if name in _SWITCHES:
                    switches[name] = value is not None and validation.boolean(value)
                else:
                    limits[name] = int(str(_limit(value)))
            except ValueError as reason:
                raise form.invalid_input(name, reason) from None
        return limits, switches["check_limit"] and not switches["force"]


def _name(path: Mapping[str, str]) -> str:
    name = path["id"]
    if not name.isprintable() or len(name) > PROJECT_LENGTH_MAX:
        raise errors.Missing("Project could not be found.", reason="ProjectNotFound")
    return name


def _readable(call: Call, path: Mapping[str, str]) -> str:
    name = _name(path)
    if name != call.caller.project_id and not call.caller.is_admin:
        raise errors.Invalid("Quotas of other projects need the admin role.", reason="PolicyNotAuthorized")
    return name
