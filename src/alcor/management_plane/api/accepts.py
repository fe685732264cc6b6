"""Parse functions that say what they take, as a JSON schema: the API's description is made from it."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from typing import Literal as OneOf

T = TypeVar("T")
Literal = OneOf["string", "integer", "boolean"]
Schema = Mapping[str, Any]  # of JSON Schema 2020-12


class Accepting(Generic[T]):
    """A parse function with the schema of what it takes, and what that is when it comes as text."""

    __slots__ = ("_parse", "literal", "schema")

    def __init__(self, parse: Callable[[object], T], schema: Schema, literal: Literal = "string") -> None:
        self._parse = parse
        self.schema = schema
        self.literal = literal

    def __call__(self, value: object) -> T:
        return self._parse(value)


def accepts(schema: Schema, literal: Literal = "string") -> Callable[[Callable[[object], T]], Accepting[T]]:
    """Say what a parse function takes."""
    return lambda parse: Accepting(parse, schema, literal)


def schema_of(parse: object) -> Schema | None:
    """Give what a parse function takes; None when it does not say."""
    return parse.schema if isinstance(parse, Accepting) else None


def literal_of(parse: object) -> Literal:
    """Tell what texts of a filter must be, to be compared with what a parse function takes."""
    return parse.literal if isinstance(parse, Accepting) else "string"


def or_null(schema: Schema) -> Schema:
    """Make the schema of something that may be missing."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema, *, most: int | None = None) -> Schema:
    """Make the schema of a list."""
    return {"type": "array", "items": schema} | ({} if most is None else {"maxItems": most})


def object_of(properties: Mapping[str, Schema], *required: str) -> Schema:
    """Make the schema of an object that has these properties and no others."""
    found: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return found | ({"required": list(required)} if required else {})
