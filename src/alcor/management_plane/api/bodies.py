"""Reading what clients send: within bounds for each, for each project, and for all together."""

from collections import Counter

from starlette.requests import ClientDisconnect, Request

from alcor.model import errors

BODY_MAX = 4 * 1024 * 1024  # of an ordinary request; more is read away and refused
BATCH_BODY_MAX = 64 * 1024 * 1024  # of 10,000 ports; a longer body is never read
# What may be held while it arrives and is worked on: a process must not run out of memory by slow uploads.
HELD_MAX = 512 * 1024 * 1024
HELD_BY_PROJECT_MAX = 2 * BATCH_BODY_MAX


class Bodies:
    """Owner of the count of what is held."""

    def __init__(self, *, held_max: int = HELD_MAX, by_project_max: int = HELD_BY_PROJECT_MAX) -> None:
        self._held_max = held_max
        self._by_project_max = by_project_max
        self._held: Counter[str] = Counter()
        self._held_by_all = 0

    def hold(self, project: str, size: int) -> None:
        """Count more. Raises LimitReached, Unavailable."""
        if self._held[project] + size > self._by_project_max:
            raise errors.LimitReached(
                "The project sends too much at once.", reason="RequestRateExceeded", retry_after_s=1.0
            )
        if self._held_by_all + size > self._held_max:
            raise errors.Unavailable("Too much is being sent at once.", retry_after_s=1.0)
        self._held[project] += size
        self._held_by_all += size

    def release(self, project: str, size: int) -> None:
        """Count less."""
        self._held_by_all -= size
        self._held[project] -= size
        if not self._held[project]:
            del self._held[project]


class Body:
    """What one request sent, counted until it is released."""

    def __init__(self, bodies: Bodies, project: str) -> None:
        self._bodies = bodies
        self._project = project
        self._chunks: list[bytes] = []
        self._size = 0

    async def read(self, request: Request, body_max: int) -> None:
        """Read all of it. Raises Invalid when it is too long or not JSON by its header, and as `hold`."""
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:19]) > BATCH_BODY_MAX:
            raise _too_long(BATCH_BODY_MAX)
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > BATCH_BODY_MAX:
                    raise _too_long(BATCH_BODY_MAX)
                if size <= body_max:
                    self._add(chunk)
        except ClientDisconnect:
            raise errors.Invalid("The request body is incomplete.") from None
        if size > body_max:
            raise _too_long(body_max)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # Browsers cannot send this type to another site without asking first: a page that the operator happens
        # to visit cannot change networks through the listener on loopback. (They can send one without a type.)
        if size and media_type != "application/json":
            raise errors.Invalid(
                f"The media type '{media_type[:100]}' is not supported: send application/json.",
                reason="HTTPUnsupportedMediaType",
            )

    def release(self) -> None:
        """Hold nothing any more."""
        if self._size:
            self._bodies.release(self._project, self._size)
            self._size = 0
        self._chunks = []

    @property
    def content(self) -> bytes:
        """All of it."""
        return b"".join(self._chunks)

    def _add(self, chunk: bytes) -> None:
        if chunk:
            self._bodies.hold(self._project, len(chunk))
            self._size += len(chunk)
            self._chunks.append(chunk)


def _too_long(body_max: int) -> errors.Invalid:
    return errors.Invalid(
        f"The request body is longer than {body_max} bytes.", reason="HTTPRequestEntityTooLarge"
    )
