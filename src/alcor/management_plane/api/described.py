"""What endpoints take and give, said beside them: the API's description is made from it.

The five calls of a collection are described by its resource's table. Whatever else is served says it here:

    @describes(gives(200, "change", ReceiptAnswer), takes=WAITING)
    async def show(self, call, path): ...
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from alcor.management_plane.api.accepts import Schema

C = TypeVar("C", bound=Callable[..., Any])


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of the query or among the headers."""

    name: str
    about: str
    schema: Schema
    place: str = "query"
    many: bool = False  # it may come several times


class Gift(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is no refusal."""

    status: int
    about: str = ""
    schema: Any = None  # a type that msgspec writes, or a schema; None: no body
    within: tuple[str, ...] = ()  # keys around it
    links: str = ""  # key of the links of a page
    is_partial: bool = False  # `fields` chooses what is in it
    is_many: bool = False
    is_many_too: str = ""  # or many, below this key
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: one object below `singular`, or, if there is a plural, many below that."""

    name: str  # of the schema
    item: Any
    singular: str
    plural: str = ""
    most: int = 1


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint."""

    summary: str
    about: str = ""
    gives: tuple[Gift, ...]
    takes: tuple[Parameter, ...] = ()
    body: "Body | Schema | None" = None
    refuses: tuple[int, ...] = ()  # beyond what every endpoint may answer


IF_MATCH = Parameter(
    name="If-Match",
    place="header",
    about="Carries the request out only if the object still has this revision number: `revision_number=7`.",
    schema={"type": "string", "pattern": r"revision_number=[-+]?[0-9]|^\s*\*\s*$"},
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    about="Sent again with the same key and body, the request makes nothing anew and gets the same answer.",
    schema={"type": "string", "pattern": "^[ -~]+$", "minLength": 1, "maxLength": 257},  # with quotes around it
)


def describes(*gives: Gift, **more: Any) -> Callable[[C], C]:
    """Describe an endpoint; `more` as in Operation."""
    return described_as(Operation(gives=gives, **more))


def described_as(operation: Operation) -> Callable[[C], C]:
    """Describe an endpoint by what was made elsewhere."""

    def described(endpoint: C) -> C:
        endpoint.operation = operation  # type: ignore[attr-defined]
        return endpoint

    return described


def takes(name: str, about: str, schema: Schema, *, many: bool = False) -> Parameter:
    """Make a parameter of the query."""
    return Parameter(name=name, about=about, schema=schema, many=many)


def gives(status: int, *within: str, of: Any = None, **more: Any) -> Gift:
    """Make an answer: `of` below the keys `within`; `more` as in Gift."""
    return Gift(status=status, within=within, schema=of, **more)


def operation_of(endpoint: Any) -> Operation | None:
    """Give the description of an endpoint; None when there is none."""
    own = getattr(endpoint, "operation", None)
    if isinstance(own, Operation):
        return own
    describe: Callable[[], Mapping[str, Operation]] | None
    describe = getattr(getattr(endpoint, "__self__", None), "operations", None)
    return None if describe is None else describe().get(endpoint.__name__)


def words(name: str) -> str:
    """Write a name as words: `security_groups` as `security groups`."""
    return name.replace("_", " ").replace("rbac", "RBAC")


def one(name: str) -> str:
    """Write a name with its article: `an address scope`."""
    written = words(name)
    return f"{'an' if written[0] in 'aeioAEIOR' else 'a'} {written}"
