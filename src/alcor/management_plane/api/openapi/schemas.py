"""The components of the document: what objects look like, from the types of the answers and the bodies."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec

from alcor.management_plane.api.accepts import Schema
from alcor.management_plane.api.described import Body, Gift, Operation
from alcor.management_plane.api.openapi.words import WORDS

_PLACE = "#/components/schemas/"
LINKS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"rel": {"enum": ["next", "previous"]}, "href": {"type": "string"}},
        "required": ["rel", "href"],
    },
}
ERROR = "NeutronError"
_ERROR_SCHEMA: Schema = {
    "type": "object",
    "description": "Why a request was refused. Clients tell errors apart by `type`.",
    "properties": {
        ERROR: {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("type", "message", "detail")},
            "required": ["type", "message", "detail"],
            "additionalProperties": False,
        }
    },
    "required": [ERROR],
    "additionalProperties": False,
}


class Components:
    """The schemas of some operations, by name. A name belongs to one type."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        everything = list(operations)
        gifts = [gift for operation in everything for gift in operation.gives]
        types = list(dict.fromkeys(gift.schema for gift in gifts if isinstance(gift.schema, type)))
        self._partial = {gift.schema for gift in gifts if gift.is_partial and isinstance(gift.schema, type)}
        _, written = msgspec.json.schema_components(
            types, schema_hook=lambda _: {"description": "Anything."}, ref_template=_PLACE + "{name}"
        )
        self.schemas: dict[str, Any] = {_name(name): _answer(schema) for name, schema in written.items()}
        for each in types:
            if each in self._partial:
                self.schemas[_name(each.__name__)].pop("required", None)
            else:
                self.schemas[_name(each.__name__)]["required"] = _always(each)
        for operation in everything:
            if isinstance(operation.body, Body):
                self.schemas[operation.body.name] = _described(operation.body.item)
        self.schemas[ERROR] = _ERROR_SCHEMA

    def answer(self, gift: Gift) -> Any:
        """Give the schema of an answer's body, the keys around it included."""
        of = self._shown(gift)
        if gift.is_many_too:
            many = _within({"type": "array", "items": of}, (gift.is_many_too,))
            return {"oneOf": [_within(of, gift.within), many]}
        if gift.is_many:
            of = {"type": "array", "items": of}
        return _within(of, gift.within, gift.links)

    def body(self, body: Body | Schema) -> Any:
        """Give the schema of what is sent."""
        if not isinstance(body, Body):
            return _described(body)
        item = _ref(body.name)
        single = _within(item, (body.singular,))
        if not body.plural:
            return single
        many = {"type": "array", "items": item, "minItems": 1, "maxItems": body.most}
        return {"oneOf": [single, _within(many, (body.plural,))]}

    def _shown(self, gift: Gift) -> Any:
        if not isinstance(gift.schema, type):
            return gift.schema
        ref = _ref(_name(gift.schema.__name__))
        if gift.schema in self._partial and not gift.is_partial:
            return {"allOf": [ref, {"required": _always(gift.schema)}]}
        return ref


def _name(name: str) -> str:
    return name.removesuffix("Answer")


def _ref(name: str) -> Schema:
    return {"$ref": _PLACE + name}


def _within(schema: Any, keys: tuple[str, ...], links: str = "") -> Any:
    for key in reversed(keys):
        properties = {key: schema} | ({links: LINKS} if links else {})
        schema = {
            "type": "object",
            "properties": properties,
            "required": [key],
            "additionalProperties": False,
        }
    return schema


def _always(kind: type[Any]) -> list[str]:
    """Give the attributes that an answer has whoever asks: those that are never left out."""
    return [
        field.encode_name
        for field in msgspec.structs.fields(kind)
        if msgspec.UnsetType not in get_args(field.type)
    ]


def _answer(schema: Any) -> Any:
    """Mend what msgspec writes: names, what is not for answers, and that there is nothing else in them."""
    if isinstance(schema, list):
        return [_answer(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _answer(value) for key, value in schema.items() if key not in ("default", "title")}
    if "$ref" in found:
        found["$ref"] = _PLACE + _name(found["$ref"].removeprefix(_PLACE))
    if isinstance(schema.get("properties"), dict):
        found["properties"] = {name: _answer(each) for name, each in schema["properties"].items()}
        found["additionalProperties"] = False
    return _described(found)


def _described(schema: Any) -> Any:
    """Add what attributes mean."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return schema
    named = {
        name: {**each, "description": WORDS[name]} if name in WORDS and "$ref" not in each else each
        for name, each in properties.items()
    }
    return {**schema, "properties": named}
