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
    "HTTPNotAcceptable": 406,
    "ChangesNotRetained": 410,
    "RevisionNumberConstraintFailed": 412,
    "HTTPRequestEntityTooLarge": 413,
    "HTTPRequestURITooLong": 414,
    "HTTPUnsupportedMediaType": 415,
    "IdempotencyKeyReused": 422,
}
STATUS_WORDS = {
    400: "The request cannot be right.",
    401: "It is not known who asks.",
    403: "Those who ask may not do this.",
    404: "It does not exist, or not for those who ask.",
    405: "The path does not have this method.",
    406: "No answer is of a kind that the client accepts.",
    408: "The request did not arrive in time.",
    409: "The state of things forbids it: it is in use, taken, used up, or has changed meanwhile.",
    410: "So far back nothing is kept.",
    412: "The object has changed: it has another revision number.",
    413: "The body is too long.",
    414: "The URL is too long.",
    415: "The body must be application/json.",
    422: "The idempotency key was used with another request.",
    429: "Too many requests, or too much at once.",
    503: "Not now; try again.",
}
MESSAGE_MAX = 2000
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


def body_of(reason: str, message: str) -> bytes:
    """Write the body of an error. A message that repeats what the client sent is cut, not sent back in full."""
    if len(message) > MESSAGE_MAX:
        message = f"{message[:MESSAGE_MAX]}..."
    return msgspec.json.encode({"NeutronError": {"type": reason, "message": message, "detail": ""}})


def _written(status: int, reason: str, message: str, headers: dict[str, str]) -> Response:
    return Response(body_of(reason, message), status, headers, media_type="application/json")
