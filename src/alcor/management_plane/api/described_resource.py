"""What the calls of a resource take and give, from its table of attributes and the type of its answers."""

import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from alcor.management_plane.api import form
from alcor.management_plane.api.accepts import Schema, object_of, or_null, schema_of
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.described import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    Body,
    Gift,
    Operation,
    Parameter,
    gives,
    one,
    words,
)

FIELDS = Parameter(
    name="fields", about="Only these attributes are in the answer.", schema={"type": "string"}, many=True
)
_PROJECT = {"type": "string", "minLength": 1, "maxLength": 255}
_TEXT: Schema = {"type": "string"}
_TAGS = (
    ("tags", "Only those with all of these tags (`a,b`)."),
    ("tags-any", "Only those with any of these tags."),
    ("not-tags", "Not those with all of these tags."),
    ("not-tags-any", "Not those with any of these tags."),
)
PAGE = (
    Parameter(
        name="limit",
        about="At most so many on a page; 0: as many as a page can hold.",
        schema={"type": "integer", "minimum": 0, "maximum": 999_999_999},
    ),
    Parameter(name="marker", about="The last object of the page before, by its id.", schema=_TEXT),
)
_PAGES = (
    *PAGE,
    Parameter(
        name="page_reverse",
        about="`True`: the page that comes before the marker instead of the one after it.",
        schema=_TEXT,
    ),
)


def operations(
    resource: Resource[Any], answer: type[msgspec.Struct], *, is_bulk: bool = True
) -> Mapping[str, Operation]:
    """Describe the five calls, by the names that `Collection` has for them."""
    name, many = words(resource.singular), words(resource.plural)
    created = gives(201, resource.singular, of=answer, about=f"The {name} as it was made.")
    if is_bulk:
        created = msgspec.structs.replace(
            created, about=f"The {name}, or all {many} if there were many.", is_many_too=resource.plural
        )
    return {
        "list": listing(resource, answer),
        "show": showing(resource, answer),
        "create": Operation(
            summary=f"Create {one(resource.singular)}",
            about=f"Many at once as `{resource.plural}`: all are made, or none." if is_bulk else "",
            gives=(created,),
            takes=(IDEMPOTENCY_KEY,),
            body=create_body(resource, is_bulk=is_bulk),
            refuses=(404, 409, 422),
        ),
        "update": Operation(
            summary=f"Update {one(resource.singular)}",
            gives=(gives(200, resource.singular, of=answer),),
            takes=(IF_MATCH,),
            body=update_body(resource),
            refuses=(409, 412),
        ),
        "delete": Operation(
            summary=f"Delete {one(resource.singular)}",
            gives=(gives(204, about="It is gone."),),
            takes=(IF_MATCH,),
            refuses=(409, 412),
        ),
    }


def answer_of(answers: Callable[..., Any]) -> type[msgspec.Struct]:
    """Give the type of the answers that a function makes: what is shown is what mypy has checked."""
    shown: type[msgspec.Struct] = typing.get_args(typing.get_type_hints(answers)["return"])[0]
    return shown


def listing(resource: Resource[Any], answer: type[msgspec.Struct]) -> Operation:
    """Describe a list."""
    many = words(resource.plural)
    return Operation(
        summary=f"List {many}",
        gives=(_page(resource, answer, f"The {many} that match, a page of them."),),
        takes=_listing_parameters(resource),
        refuses=(404,),  # the marker
    )


def showing(resource: Resource[Any], answer: type[msgspec.Struct]) -> Operation:
    """Describe a look at one."""
    return Operation(
        summary=f"Show {one(resource.singular)}",
        gives=(gives(200, resource.singular, of=answer, is_partial=True),),
        takes=(FIELDS,),
    )


def _page(resource: Resource[Any], answer: type[msgspec.Struct], about: str) -> Gift:
    return Gift(
        status=200,
        about=about,
        schema=answer,
        within=(resource.plural,),
        links=f"{resource.plural}_links",
        is_partial=True,
        is_many=True,
    )


def _listing_parameters(resource: Resource[Any]) -> tuple[Parameter, ...]:
    filters = [
        Parameter(name=each.name, about=_filter_words(each), schema=_TEXT, many=True)
        for each in resource.attributes
        if each.filterable
    ]
    if "project_id" in resource.by_name:
        filters.append(
            Parameter(name="tenant_id", about="Another name of `project_id`.", schema=_TEXT, many=True)
        )
    if "tags" in resource.by_name:
        filters += [Parameter(name=name, about=about, schema=_TEXT) for name, about in _TAGS]
    keys = [each.name for each in resource.attributes if each.sortable]
    sorting = [
        Parameter(name="sort_key", about="Sorted by this, then by the next.", schema={"enum": keys}, many=True),
        Parameter(
            name="sort_dir", about="One for each `sort_key`.", schema={"enum": ["asc", "desc"]}, many=True
        ),
    ]
    return (*filters, FIELDS, *(sorting if keys else ()), *_PAGES)


def _filter_words(attribute: Attribute) -> str:
    if attribute.name == "fixed_ips":
        return "`ip_address=A`, `subnet_id=ID` or `ip_address_substr=TEXT`."
    return f"Only those with this `{attribute.name}`; several: with any of them."


def create_body(resource: Resource[Any], *, is_bulk: bool = True) -> Body:
    """Give the body of a POST."""
    item = _item(resource, is_create=True)
    return Body(
        name=f"{_camel(resource.singular)}Create",
        item=item,
        singular=resource.singular,
        plural=resource.plural if is_bulk else "",
        most=form.BATCH_MAX,
    )


def update_body(resource: Resource[Any]) -> Body:
    """Give the body of a PUT."""
    item = _item(resource, is_create=False)
    return Body(name=f"{_camel(resource.singular)}Update", item=item, singular=resource.singular)


def _item(resource: Resource[Any], *, is_create: bool) -> Schema:
    said = {each.name: _said(each) for each in resource.attributes if (each.post if is_create else each.put)}
    if is_create and "project_id" in resource.by_name:
        said |= dict.fromkeys(("project_id", "tenant_id"), or_null(_PROJECT))
    required = [each.name for each in resource.attributes if each.required] if is_create else []
    return object_of(said, *required)


def _said(attribute: Attribute) -> Schema:
    schema = dict(schema_of(attribute.parse) or {})
    return schema | {"x-alcor-admin": True} if attribute.admin_only else schema


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
