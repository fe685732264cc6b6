"""Errors as Neutron writes them: the body's form, the type and the status."""

import math

import msgspec
from starlette.responses import Response

from alcor.model import errors

# Reasons whose status is not their kind's.
_STATUS_OF_REASON = {
    "HTTPUnauthorized": 401,
    "PolicyNotAuthorized": 403,
    "HTTPMethodNotAllowed": 405,
    "ChangesNotRetained": 410,
    "RevisionNumberConstraintFailed": 412,
    "HTTPRequestEntityTooLarge": 413,
    "HTTPUnsupportedMediaType": 415,
    "IdempotencyKeyReused": 422,
}
_INTERNAL = "Request Failed: internal server error while processing your request."


def status_of(error: errors.AlcorError) -> int:
    """Give the HTTP status of an error."""
    return _STATUS_OF_REASON.get(error.reason, error.http_status)


def response(error: errors.AlcorError, *, challenge: str | None = None) -> Response:
    """Answer with an error. What is broken here is not told to the client: the log has it.

    `challenge`: how clients can say who they are, for a 401."""
    if isinstance(error, errors.Broken):
        return internal()
    headers = {}
    if isinstance(error, errors.Unavailable | errors.LimitReached) and error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if challenge is not None and error.reason == "HTTPUnauthorized":
        headers["WWW-Authenticate"] = challenge
    if error.reason == "HTTPRequestEntityTooLarge":
        headers["Connection"] = "close"
    return _written(status_of(error), error.reason, error.message, headers)


def internal() -> Response:
    """Answer that it is our mistake."""
    return _written(500, "HTTPInternalServerError", _INTERNAL, {})


def _written(status: int, reason: str, message: str, headers: dict[str, str]) -> Response:
    body = msgspec.json.encode({"NeutronError": {"type": reason, "message": message, "detail": ""}})
    return Response(body, status, headers, media_type="application/json")
