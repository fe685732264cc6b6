"""Tags on the wire, below every object that has them."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from alcor.management_plane.api import form, gate, policy, validation
from alcor.management_plane.api.accepts import Schema, object_of, schema_of
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import bare, written
from alcor.management_plane.api.described import IF_MATCH, describes, gives
from alcor.management_plane.tagging import TagService
from alcor.model import errors
from alcor.model.records import AnyRecord

Path = Mapping[str, str]
Decide = Callable[[tuple[str, ...]], tuple[str, ...]]

_TAGS: Schema = {"type": "array", "items": {"type": "string"}}
_BODY = object_of({"tags": schema_of(validation.tags) or {}}, "tags")
_CHANGES: Mapping[str, Any] = {"takes": (IF_MATCH,), "refuses": (409, 412)}


class TagCollection:
    """Serves the tags of one kind of object."""

    def __init__(self, plural: str, kind: type[AnyRecord], service: TagService) -> None:
        self._plural = plural
        self._kind = kind
        self._service = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes of all tags and of one."""
        path = f"/v2.0/{self._plural.replace('_', '-')}/{{id}}/tags"
        return [
            entrance.route(
                path, policy=policy.TENANT, get=self.list, put=self.replace, post=self.add, delete=self.clear
            ),
            entrance.route(
                path + "/{tag}", policy=policy.TENANT, get=self.has, put=self.add_one, delete=self.remove_one
            ),
        ]

    @describes(gives(200, "tags", of=_TAGS), summary="List the tags")
    async def list(self, call: Call, path: Path) -> Response:
        """GET all tags."""
        return written({"tags": await self._service.tags(call.caller, self._kind, path["id"])}, 200)

    @describes(gives(200, "tags", of=_TAGS), summary="Replace the tags", body=_BODY, **_CHANGES)
    async def replace(self, call: Call, path: Path) -> Response:
        """PUT all tags."""
        tags = _body_tags(call)
        return await self._changed(call, path, lambda held: tags, 200, shows=True)

    @describes(gives(201, "tags", of=_TAGS), summary="Add tags", body=_BODY, **_CHANGES)
    async def add(self, call: Call, path: Path) -> Response:
        """POST more tags."""
        tags = _body_tags(call)
        return await self._changed(call, path, lambda held: (*held, *tags), 201, shows=True)

    @describes(gives(204), summary="Remove all tags", **_CHANGES)
    async def clear(self, call: Call, path: Path) -> Response:
        """DELETE all tags."""
        return await self._changed(call, path, lambda held: (), 204)

    @describes(gives(204, about="It is there."), summary="Tell whether a tag is there")
    async def has(self, call: Call, path: Path) -> Response:
        """GET one tag: 204 when it is there."""
        if path["tag"] not in await self._service.tags(call.caller, self._kind, path["id"]):
            raise _no_tag(path["tag"])
        return Response(status_code=204)

    @describes(gives(201), summary="Add a tag", **_CHANGES)
    async def add_one(self, call: Call, path: Path) -> Response:
        """PUT one tag."""
        tags = _checked([path["tag"]])
        return await self._changed(call, path, lambda held: (*held, *tags), 201)

    @describes(gives(204), summary="Remove a tag", **_CHANGES)
    async def remove_one(self, call: Call, path: Path) -> Response:
        """DELETE one tag."""

        def without(held: tuple[str, ...]) -> tuple[str, ...]:
            if path["tag"] not in held:
                raise _no_tag(path["tag"])
            return tuple(tag for tag in held if tag != path["tag"])

        return await self._changed(call, path, without, 204)

    async def _changed(
        self, call: Call, path: Path, decide: Decide, status: int, *, shows: bool = False
    ) -> Response:
        def decided(held: tuple[str, ...]) -> tuple[str, ...]:
            return _checked(list(decide(held)))

        revision, tags = await self._service.change(
            call.caller, self._kind, path["id"], decided, expected=call.expected_revision
        )
        if shows:
            return written({"tags": tags}, status, revision=revision)
        return bare(status, revision=revision)


def _body_tags(call: Call) -> tuple[str, ...]:
    document = form.decoded(call.body)
    if set(document) != {"tags"}:
        raise errors.Invalid("Unable to find 'tags' in request body")
    return _checked(document["tags"])


def _checked(value: object) -> tuple[str, ...]:
    try:
        return validation.tags(value)
    except ValueError as reason:
        raise form.invalid_input("tags", reason) from None


def _no_tag(tag: str) -> errors.Missing:
    return errors.Missing(f"Tag {tag} could not be found.", reason="TagNotFound")
