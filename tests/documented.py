"""Holds answers against the document that the API serves about itself."""

import functools
from typing import Any

import httpx
import jsonschema_rs
from starlette.applications import Starlette
from starlette.routing import Match

from alcor.contracts.identity import IdentitySource
from alcor.management_plane.api.gate import GuardedRoute
from alcor.management_plane.api.openapi.document import Ways, document

_EXEMPT = {405, 500}  # no operation of the document; our own mistake, which tests provoke


class Documented:
    """The document of an application, and what it says of one answer."""

    def __init__(self, application: Starlette, identities: IdentitySource) -> None:
        self._routes = _Routes(route for route in application.routes if isinstance(route, GuardedRoute))
        self._ways = identities.ways
        self.seen: set[tuple[str, str, int]] = set()  # path, method, status

    async def check(self, response: httpx.Response) -> None:
        """Fail for an answer that the document does not foretell."""
        request = response.request
        route = self._route(request)
        if route is None or request.method not in route.endpoints or response.status_code in _EXEMPT:
            return
        await response.aread()
        answers = _document(self._routes, self._ways)["paths"][route.path][request.method.lower()]["responses"]
        where = f"{request.method} {route.path}: {response.status_code} {response.text[:500]}"
        assert str(response.status_code) in answers, f"the document does not have {where}"
        self.seen.add((route.path, request.method, response.status_code))
        media_type = response.headers.get("content-type", "").partition(";")[0]
        validator = _validator(self._routes, self._ways, route.path, request.method, response.status_code)
        if validator is None:
            assert not response.content, f"a body that the document does not have: {where}"
        elif media_type == "application/json":
            error = next(iter(validator.iter_errors(response.json())), None)
            assert error is None, f"{error.message} at {error.instance_path}: {where}"

    def _route(self, request: httpx.Request) -> GuardedRoute | None:
        scope = {"type": "http", "path": request.url.path, "method": request.method}
        return next((route for route in self._routes if route.matches(scope)[0] is Match.FULL), None)


class _Routes(tuple[GuardedRoute, ...]):
    """Routes, told apart by what they serve: a document is made once for all tests that have the same."""

    def __hash__(self) -> int:
        return hash(tuple((route.path, tuple(route.endpoints)) for route in self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Routes) and hash(self) == hash(other)


@functools.cache
def _document(routes: _Routes, ways: Ways) -> dict[str, Any]:
    return document(routes, ways, "0")


@functools.cache
def _validator(routes: _Routes, ways: Ways, path: str, method: str, status: int) -> Any:
    whole = _document(routes, ways)
    answer = whole["paths"][path][method.lower()]["responses"][str(status)]
    if "$ref" in answer:
        answer = whole["components"]["responses"][str(status)]
    content = answer.get("content")
    if content is None:
        return None
    (kind,) = content.values()
    return jsonschema_rs.validator_for({"allOf": [kind["schema"]], "components": whole["components"]})
