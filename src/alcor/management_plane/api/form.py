"""Bodies of POST and PUT: from JSON to the fields that services take."""

from collections.abc import Container, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from alcor.management_plane.api.attribute import IGNORED, Attribute, F, Resource
from alcor.management_plane.caller import Caller
from alcor.model import errors

BATCH_MAX = 10_000
_PROJECT_NAMES = ("project_id", "tenant_id")


def decoded(body: bytes) -> dict[str, Any]:
    """Decode a body that must be a JSON object. Raises Invalid."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.Invalid("Body contains invalid data: it is not valid JSON.") from None
    if not isinstance(value, dict):
        raise errors.Invalid("Body contains invalid data: it is not an object.")
    return value


def created(resource: Resource[F], body: bytes, caller: Caller) -> tuple[list[F], bool]:
    """Give what a POST asks for, and whether it was the plural form. Raises Invalid."""
    return created_from(resource, decoded(body), caller)


def created_from(resource: Resource[F], document: dict[str, Any], caller: Caller) -> tuple[list[F], bool]:
    """Give what a decoded POST asks for, and whether it was the plural form. Raises Invalid."""
    _check_envelope(document, resource.singular, resource.plural)
    if resource.plural not in document:
        return [fields_of(resource, document[resource.singular], caller, is_create=True)], False
    items = document[resource.plural]
    if not isinstance(items, list):
        raise errors.Invalid(f"Body contains invalid data: '{resource.plural}' is not a list.")
    if not items:
        raise errors.Invalid("Resources required")
    check_batch(len(items), resource.plural)
    return [
        fields_of(resource, _unwrapped(item, resource.singular), caller, is_create=True) for item in items
    ], True


def updated(resource: Resource[F], body: bytes, caller: Caller) -> F:
    """Give what a PUT asks for. Raises Invalid."""
    document = decoded(body)
    if resource.plural in document:
        raise errors.Invalid("Bulk operation not supported")
    _check_envelope(document, resource.singular)
    return fields_of(resource, document[resource.singular], caller, is_create=False)


def check_batch(size: int, plural: str) -> None:
    """Raise Invalid for more objects than one call may make."""
    if size > BATCH_MAX:
        raise errors.Invalid(
            f"{size} {plural} in one request: at most {BATCH_MAX} are accepted.", reason="BatchTooLarge"
        )


def member(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Give the object below the only key of an action's body. Raises Invalid."""
    _check_envelope(document, name)
    value = document[name]
    if not isinstance(value, dict):
        raise errors.Invalid(f"Body contains invalid data: '{name}' must be an object.")
    return value


def check_known(document: Mapping[str, Any], names: Container[str]) -> None:
    """Raise Invalid for what is none of the names."""
    unknown = [name for name in document if name not in names]
    if unknown:
        raise unrecognized(unknown)


def unrecognized(names: list[str]) -> errors.Invalid:
    """Make the error for attributes that nobody knows."""
    return errors.Invalid(f"Unrecognized attribute(s) '{', '.join(sorted(names))}'")


def invalid_input(name: str, reason: object) -> errors.Invalid:
    """Make the error for a value that cannot be."""
    return errors.Invalid(f"Invalid input for {name}. Reason: {reason}")


def _check_envelope(document: Mapping[str, Any], *names: str) -> None:
    if sum(name in document for name in names) != 1:
        raise errors.Invalid(f"Unable to find '{names[0]}' in request body")
    check_known(document, names)


def fields_of(resource: Resource[F], item: object, caller: Caller, *, is_create: bool) -> F:
    """Give what one object of a body asks for. Raises Invalid."""
    if not isinstance(item, dict):
        raise errors.Invalid(f"Object '{resource.singular}' contains invalid data")
    attributes = resource.by_name
    unknown = [name for name in item if name not in attributes and name not in _PROJECT_NAMES]
    if unknown:
        raise unrecognized(unknown)
    fields: dict[str, Any] = {}
    if is_create:
        project = _project(item, caller)
        if project is not None:
            fields["project_id"] = project
        _check_required(resource, item)
    elif any(name in item for name in _PROJECT_NAMES):
        name = next(name for name in _PROJECT_NAMES if name in item)
        raise errors.Invalid(f"Cannot update read-only attribute {name}")
    for name, value in item.items():
        if name not in _PROJECT_NAMES:
            parsed = _value(attributes[name], value, caller, is_create=is_create)
            field = attributes[name].field
            if field != IGNORED and parsed is not UNSET:
                fields[field or name] = parsed
    return resource.fields(**fields)


def _unwrapped(item: Any, name: str) -> Any:
    """Give what is in a batch: each object, or, as some clients write it, each below its name again."""
    return item[name] if isinstance(item, dict) and item.keys() == {name} else item


def _value(attribute: Attribute, value: object, caller: Caller, *, is_create: bool) -> object:
    allowed = attribute.post if is_create else attribute.put
    if attribute.parse is None or not allowed:
        if is_create:
            raise errors.Invalid(f"Attribute '{attribute.name}' not allowed in POST")
        raise errors.Invalid(f"Cannot update read-only attribute {attribute.name}")
    if attribute.admin_only and not caller.is_admin and attribute.default is UNSET:
        raise forbidden(attribute.name)
    try:
        parsed = attribute.parse(value)
    except ValueError as reason:
        raise invalid_input(attribute.name, reason) from None
    if attribute.admin_only and not caller.is_admin and (not is_create or parsed != attribute.default):
        raise forbidden(attribute.name)
    return parsed


def forbidden(name: str) -> errors.Invalid:
    """Make the error for what only administrators may say."""
    return errors.Invalid(f"Setting {name} requires the admin role.", reason="PolicyNotAuthorized")


def _project(item: Mapping[str, Any], caller: Caller) -> str | None:
    given = [item[name] for name in _PROJECT_NAMES if item.get(name) is not None]
    if not given:
        return None
    project = given[0]
    if any(other != project for other in given):
        raise errors.Invalid("'project_id' and 'tenant_id' do not match")
    if not isinstance(project, str) or not project or len(project) > 255 or not project.isprintable():
        raise invalid_input("project_id", "it must be a string of 1 to 255 characters.")
    if project != caller.project_id and not caller.is_admin:
        raise errors.Invalid(
            "Specifying 'project_id' or 'tenant_id' other than the authenticated project "
            "in request requires admin privileges"
        )
    return project


def _check_required(resource: Resource[F], item: Mapping[str, Any]) -> None:
    for attribute in resource.attributes:
        if attribute.required and attribute.name not in item:
            raise errors.Invalid(
                f"Failed to parse request. Required attribute '{attribute.name}' not specified"
            )
