"""The way in for every request: its id, its body within bounds, its caller; and every way out in its form."""

import traceback
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from alcor.management_plane.api import call as calls
from alcor.management_plane.api import errors as error_form
from alcor.management_plane.api.call import Call
from alcor.model import errors
from alcor.runtime.clock import new_request_id
from alcor.runtime.event_log import EventLog

BODY_MAX = 4 * 1024 * 1024  # of an ordinary request; more is read away and refused
BATCH_BODY_MAX = 64 * 1024 * 1024  # of 10,000 ports; a longer body is never read
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]

Endpoint = Callable[[Call, Mapping[str, str]], Awaitable[Response]]


class Gate:
    """Turns endpoints into routes."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def route(
        self,
        path: str,
        *,
        get: Endpoint | None = None,
        post: Endpoint | None = None,
        put: Endpoint | None = None,
        delete: Endpoint | None = None,
        body_max: int = BODY_MAX,
    ) -> Route:
        """Make the route of a path from the endpoints of its methods."""
        endpoints = {"GET": get, "POST": post, "PUT": put, "DELETE": delete}

        async def answer(request: Request) -> Response:
            request_id = new_request_id()
            try:
                endpoint = endpoints.get("GET" if request.method == "HEAD" else request.method)
                if endpoint is None:
                    raise errors.Invalid(
                        "The method is not allowed for this resource.", reason="HTTPMethodNotAllowed"
                    )
                body = await _body(request, body_max) if request.method in _WITH_BODY else b""
                response = await endpoint(calls.from_request(request, body, request_id), request.path_params)
            except errors.AlcorError as error:
                self._note(error, request, request_id)
                response = error_form.response(error)
            response.headers["X-Openstack-Request-Id"] = request_id
            return response

        return Route(path, answer, methods=METHODS)

    async def not_found(self, request: Request, error: Exception) -> Response:
        """Answer for paths that do not exist."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        reason = "HTTPMethodNotAllowed" if status == 405 else "HTTPNotFound"
        return error_form.response(errors.Missing("The resource could not be found.", reason=reason))

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answer for our own mistakes; the stack goes to the log of whoever runs us, not to the client."""
        self._log.error(
            "request_failed",
            method=request.method,
            path=request.url.path,
            stack="".join(traceback.format_exception(error)),
        )
        return error_form.internal()

    def _note(self, error: errors.AlcorError, request: Request, request_id: str) -> None:
        if isinstance(error, errors.Broken):
            self._log.error("request_broken", request_id=request_id, path=request.url.path, error=error.message)


async def _body(request: Request, body_max: int) -> bytes:
    """Read the body. Raises Invalid when it is too long or not JSON by its header."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > BATCH_BODY_MAX:
        raise _too_long(BATCH_BODY_MAX)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > BATCH_BODY_MAX:
                raise _too_long(BATCH_BODY_MAX)
            if size <= body_max:
                chunks.append(chunk)
    except ClientDisconnect:
        raise errors.Invalid("The request body is incomplete.") from None
    if size > body_max:
        raise _too_long(body_max)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Browsers cannot send this type to another site without asking first: a page that the operator happens to
    # visit cannot change networks through the listener on loopback. (They can send a body without a type.)
    if size and media_type != "application/json":
        raise errors.Invalid(
            f"The media type '{media_type}' is not supported: send application/json.",
            reason="HTTPUnsupportedMediaType",
        )
    return b"".join(chunks)


def _too_long(body_max: int) -> errors.Invalid:
    return errors.Invalid(
        f"The request body is longer than {body_max} bytes.", reason="HTTPRequestEntityTooLarge"
    )
