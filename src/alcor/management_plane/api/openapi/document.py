"""The OpenAPI 3.1 document, from the routes, their policies and what endpoints say of themselves."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from alcor.contracts.identity import Scheme
from alcor.management_plane.api.described import Gift, Operation, Parameter, operation_of
from alcor.management_plane.api.errors import STATUS_WORDS
from alcor.management_plane.api.gate import GuardedRoute
from alcor.management_plane.api.openapi.schemas import ERROR, Components
from alcor.management_plane.api.openapi.words import INTRODUCTION, PATH_WORDS, TAG_WORDS

Ways = tuple[tuple[Scheme, ...], ...]
_BEGINNING = "discovery"  # the tag of what is no resource's
_WITH_BODY = frozenset({"POST", "PUT"})
_REQUEST_ID = "X-Openstack-Request-Id"
_HEADER_WORDS = {
    _REQUEST_ID: "The name of this request, as the audit trail and the events have it.",
    "X-Alcor-Revision": "The revision of the region that holds what was changed.",
    "X-Alcor-Wait": "Whether it was so in time: `satisfied` or `timeout`.",
    "Retry-After": "Seconds after which it is worth trying again.",
    "WWW-Authenticate": "How callers say who they are.",
}


def document(routes: Iterable[GuardedRoute], ways: Ways, version: str) -> dict[str, Any]:
    """Describe the routes. Endpoints that say nothing of themselves are left out: a test finds them."""
    found = [
        (route, method, endpoint, operation)
        for route in routes
        for method, endpoint in route.endpoints.items()
        if (operation := operation_of(endpoint)) is not None
    ]
    components = Components(operation for *_, operation in found)
    paths: dict[str, dict[str, Any]] = {}
    tags = {_BEGINNING: None}
    for route, method, _, operation in found:
        tag = _tag(route.path)
        tags.setdefault(tag)
        paths.setdefault(route.path, _path_item(route.path))[method.lower()] = _operation(
            route, method, operation, components, tag
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Alcor", "version": version, "description": INTRODUCTION},
        "servers": [{"url": "./"}],
        "security": [{scheme.name: [] for scheme in way} for way in ways],
        "tags": [{"name": tag, "description": TAG_WORDS.get(tag, "")} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "responses": {str(status): _refusal(status) for status in STATUS_WORDS},
            "headers": {
                name: {"description": about, "schema": {"type": "string"}}
                for name, about in _HEADER_WORDS.items()
            },
            "securitySchemes": {scheme.name: _scheme(scheme) for way in ways for scheme in way},
        },
    }


def _operation(
    route: GuardedRoute, method: str, operation: Operation, components: Components, tag: str
) -> dict[str, Any]:
    is_public = route.policy.is_public and method == "GET"
    found: dict[str, Any] = {
        "tags": [tag],
        "summary": operation.summary,
        "operationId": _operation_id(route.path, method),
        "x-alcor-role": "" if is_public else route.policy.needed(method).name.lower(),
    }
    if operation.about:
        found["description"] = operation.about
    if operation.takes:
        found["parameters"] = [_parameter(parameter) for parameter in operation.takes]
    if operation.body is not None:
        schema = components.body(operation.body)
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if is_public:
        found["security"] = []
    answers = {str(gift.status): _answer(gift, method, components) for gift in operation.gives}
    refused = {
        str(status): {"$ref": f"#/components/responses/{status}"}
        for status in _refused(route, method, operation)
    }
    found["responses"] = answers | refused
    return found


def _refused(route: GuardedRoute, method: str, operation: Operation) -> list[int]:
    """Give the statuses that an endpoint may refuse with."""
    found = {406, 414, *operation.refuses}
    if not (route.policy.is_public and method == "GET"):
        found |= {400, 401, 403, 429, 503}
    if "{" in route.path:
        found.add(404)
    if method in _WITH_BODY:
        found |= {400, 408, 413, 415}
    return sorted(found)


def _answer(gift: Gift, method: str, components: Components) -> dict[str, Any]:
    headers = [_REQUEST_ID, *gift.headers, *(() if method == "GET" else ("X-Alcor-Revision",))]
    found: dict[str, Any] = {
        "description": gift.about or "As asked.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
    }
    if gift.schema is not None:
        found["content"] = {gift.media_type: {"schema": components.answer(gift)}}
    return found


def _refusal(status: int) -> dict[str, Any]:
    headers = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}.get(status, ())
    return {
        "description": STATUS_WORDS[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in (_REQUEST_ID, *headers)},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{ERROR}"}}},
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": parameter.schema} if parameter.many else parameter.schema
    found = {"name": parameter.name, "in": parameter.place, "description": parameter.about, "schema": schema}
    return found | ({"style": "form", "explode": True} if parameter.many else {})


def _path_item(path: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    if not names:
        return {}
    return {
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": PATH_WORDS.get(name, ""),
                "schema": {"type": "string", "minLength": 1},
            }
            for name in names
        ]
    }


def _scheme(scheme: Scheme) -> Mapping[str, str]:
    if scheme.header is None:
        return {"type": "http", "scheme": "basic", "description": scheme.about}
    return {"type": "apiKey", "in": "header", "name": scheme.header, "description": scheme.about}


def _tag(path: str) -> str:
    parts = path.split("/")
    return parts[2].replace("_", "-") if len(parts) > 2 and parts[2] else _BEGINNING


def _operation_id(path: str, method: str) -> str:
    """Name an operation by its way: `get_networks_by_id`, unlike any other."""
    parts = [f"by_{part[1:-1]}" if part.startswith("{") else part for part in path.split("/")[1:]]
    if len(parts) > 1 and parts[1]:
        parts = parts[1:]  # without the version
    name = "_".join(part or "root" for part in parts)
    return f"{method.lower()}_{re.sub('[-.]', '_', name)}"
