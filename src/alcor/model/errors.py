"""The six kinds of error, and nothing else crosses a plane.

`reason` is the short machine-readable type that the API shows (Neutron's exception name, such as
`NetworkNotFound`); the message is a sentence that says what to do next where that helps.
"""


class AlcorError(Exception):
    """Base of the six kinds. Never raised itself."""

    http_status = 500
    default_reason = "Broken"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason


class Invalid(AlcorError):
    """The request cannot be right: change it."""

    http_status = 400
    default_reason = "HTTPBadRequest"


class Missing(AlcorError):
    """It does not exist, or not for you."""

    http_status = 404
    default_reason = "HTTPNotFound"


class Conflict(AlcorError):
    """The state moved or forbids it: reload and decide again."""

    http_status = 409
    default_reason = "Conflict"


class LimitReached(AlcorError):
    """A quota, pool or bound is used up: wait, or raise the limit."""

    http_status = 429
    default_reason = "LimitReached"

    def __init__(self, message: str, *, reason: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s  # None: waiting alone does not help


class Unavailable(AlcorError):
    """Not now: retry after `retry_after_s`."""

    http_status = 503
    default_reason = "ServiceUnavailable"

    def __init__(self, message: str, *, retry_after_s: float, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class Broken(AlcorError):
    """Our own mistake: report it."""
