"""The five calls that every resource has: list, create, show, update, delete."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, Protocol

import msgspec
from starlette.responses import Response

from alcor.contracts import columns
from alcor.contracts.store import Change, Store
from alcor.management_plane import access
from alcor.management_plane.api import bodies, described_resource, form, gate, idempotency, listing, policy
from alcor.management_plane.api.attribute import F, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.described import Operation
from alcor.management_plane.caller import Caller
from alcor.model import errors
from alcor.model.records import RecordSet

JSON = "application/json"


class Changes(Protocol):
    """How a service changes one kind; records are of the resource's own kind."""

    async def update(
        self, caller: Caller, record_id: str, fields: Any, *, expected: int | None
    ) -> tuple[int, Any]: ...
    async def delete(self, caller: Caller, record_id: str, *, expected: int | None) -> int: ...


Answers = Callable[[Call, Sequence[Any]], Awaitable[Sequence[msgspec.Struct]]]
MadeAnswers = Callable[[Call, RecordSet], Awaitable[Sequence[msgspec.Struct]]]
Create = Callable[[Caller, Sequence[Any]], Awaitable[tuple[int, list[Any]]]]
Before = Callable[[Call], Awaitable[None]]


class Collection(Generic[F]):
    """Serves one resource."""

    body_max = bodies.BODY_MAX  # bytes of a POST

    def __init__(
        self,
        resource: Resource[F],
        store: Store,
        changes: Changes,
        answers: Answers,
        *,
        create: Create | None = None,
        as_made: MadeAnswers | None = None,
        before_list: Before | None = None,
        has_update: bool = True,
    ) -> None:
        """`as_made`: the answers to a POST from all that it made; None: they show nothing but the records."""
        self.resource = resource
        self._store = store
        self._changes = changes
        self._answers = answers
        self._create = create
        self._as_made = as_made
        self._before_list = before_list
        self._has_update = has_update

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes of the collection and of one object."""
        path = f"/v2.0/{self.resource.plural.replace('_', '-')}"
        return [
            entrance.route(path, policy=policy.TENANT, body_max=self.body_max, get=self.list, post=self.create),
            entrance.route(
                path + "/{id}",
                policy=policy.TENANT,
                get=self.show,
                put=self.update if self._has_update else None,
                delete=self.delete,
            ),
        ]

    def operations(self) -> Mapping[str, Operation]:
        """Describe the calls."""
        return described_resource.operations(self.resource, described_resource.answer_of(self._answers))

    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the collection."""
        if self._before_list is not None:
            await self._before_list(call)
        page = await listing.listed(
            self.resource, call, self._store, lambda records: self._answers(call, records)
        )
        return Response(listing.encoded(self.resource, page), media_type=JSON)

    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET one object."""
        record = await access.fetch_one(self._store, call.caller, self.resource.kind, path["id"])
        answer = (await self._answers(call, [record]))[0]
        return written({self.resource.singular: listing.shown(call, answer)}, 200)

    async def create(self, call: Call, path: Mapping[str, str]) -> Response:
        """POST one object, or many: all are made, or none."""
        asks, is_bulk = form.created(self.resource, call.body, call.caller)

        async def make(caller: Caller) -> _Made:
            assert self._create is not None, "a collection that makes nothing by itself overrides this"
            return _Made(*await self._create(caller, asks))

        made = await idempotency.once(self._store, call, make, self.made_before)
        return await self.created(call, made.records, made.revision, is_bulk=is_bulk, before=made.before)

    def made_before(self, change: Change) -> "_Made":
        """Give what an earlier request has made."""
        return _Made(change.revision, columns.of_kind(change.puts, self.resource.kind), change.puts)

    async def created(
        self,
        call: Call,
        records: Sequence[Any],
        revision: int,
        *,
        is_bulk: bool,
        before: RecordSet | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Answer a POST in the form that was asked. `before`: all that it made, if it did so earlier."""
        if before is not None and self._as_made is not None:
            answers = await self._as_made(call, before)
        else:
            answers = await self._answers(call, records)
        document = {self.resource.plural: answers} if is_bulk else {self.resource.singular: answers[0]}
        return written(document, 201, revision=revision, headers=headers)

    async def update(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT one object."""
        fields = form.updated(self.resource, call.body, call.caller)
        revision, record = await self._changes.update(
            call.caller, path["id"], fields, expected=call.expected_revision
        )
        return await self.updated(call, record, revision)

    async def updated(
        self, call: Call, record: Any, revision: int, *, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Answer a PUT."""
        answer = (await self._answers(call, [record]))[0]
        return written({self.resource.singular: answer}, 200, revision=revision, headers=headers)

    async def delete(self, call: Call, path: Mapping[str, str]) -> Response:
        """DELETE one object."""
        revision = await self._changes.delete(call.caller, path["id"], expected=call.expected_revision)
        return bare(204, revision=revision)


class _Made(msgspec.Struct, frozen=True):
    """What a POST made; `before`: an earlier one, and this is all it made."""

    revision: int
    records: Sequence[Any]
    before: RecordSet | None = None


class Unchangeable:
    """For kinds that have no PUT."""

    async def update(
        self, caller: Caller, record_id: str, fields: Any, *, expected: int | None
    ) -> tuple[int, Any]:
        raise errors.Invalid("This resource cannot be updated.", reason="HTTPMethodNotAllowed")


def written(
    document: object, status: int, *, revision: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Write an answer; of a write with the revision that holds it."""
    all_headers = dict(headers or {})
    if revision is not None:
        all_headers["X-Alcor-Revision"] = str(revision)
    return Response(msgspec.json.encode(document), status, all_headers, media_type=JSON)


def bare(status: int, *, revision: int | None) -> Response:
    """Answer a write that leaves nothing to show; None: nothing was written."""
    return Response(status_code=status, headers={} if revision is None else {"X-Alcor-Revision": str(revision)})
