"""One request, parsed as far as every resource needs it."""

import functools
import re
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from starlette.requests import Request

from alcor.management_plane.caller import Caller
from alcor.model import errors

_TAG = re.compile(r'(W/)?"((?:[^"\\]|\\.)*)"')  # entity tags, RFC 9110, 8.8.3
_REVISION = "revision_number="
_NUMBER = re.compile(r"[-+]?[0-9]{1,100}")
_HOST = re.compile(r"([A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){0,8}")
_NEVER = 1 << 62  # more than any object's number will be


async def _is_as_before() -> None:
    """Say that nothing is known against the caller."""


class Call(msgspec.Struct, frozen=True):
    """A request: who asks, where, with which parameters and body."""

    caller: Caller
    method: str
    base_url: str  # as the client used it, without a slash at the end
    path: str
    parameters: Sequence[tuple[str, str]]  # of the query, in order
    if_match: str | None
    body: bytes
    idempotency_key: str | None = None  # as the client wrote it
    last_event_id: str | None = None
    # Asks again who the caller is, for answers that take long. Raises what the gate raises.
    admit_again: Callable[[], Awaitable[None]] = _is_as_before

    @property
    def expected_revision(self) -> int | None:
        """The revision number that the client insists on. Raises Invalid for tags of other kinds alone.

        Neutron ignores those; who sends one must not believe that it held anything."""
        if self.if_match is None:
            return None
        tags = _TAG.findall(self.if_match) or [("", self.if_match.strip())]
        numbers = [tag.removeprefix(_REVISION) for weak, tag in tags if not weak and tag.startswith(_REVISION)]
        if len(numbers) > 1:
            raise _bad_if_match("Multiple revision_number etags are not supported.")
        if self.if_match.strip() == "*":
            return None
        if not numbers or not _NUMBER.fullmatch(numbers[0].strip()):
            raise _bad_if_match("Revision number etag must be in the format of revision_number=<int>.")
        return min(int(numbers[0]), _NEVER)


def _bad_if_match(message: str) -> errors.Invalid:
    return errors.Invalid(f"Bad if-match request: {message}", reason="BadRequest")


def from_request(
    request: Request, body: bytes, caller: Caller, admit_again: Callable[[], Awaitable[None]]
) -> Call:
    """Make the call of a request."""
    return Call(
        caller=caller,
        method=request.method,
        base_url=_base_url(request),
        path=request.scope["path"],
        parameters=request.query_params.multi_items(),
        if_match=request.headers.get("if-match"),
        body=body,
        idempotency_key=request.headers.get("idempotency-key"),
        last_event_id=request.headers.get("last-event-id"),
        admit_again=admit_again,
    )


def _base_url(request: Request) -> str:
    headers = request.headers
    return _parsed_base(
        headers.get("x-forwarded-proto", request.scope["scheme"]),
        headers.get("x-forwarded-host", headers.get("host", "")),
        headers.get("x-forwarded-prefix", ""),
    )


@functools.lru_cache(maxsize=256)  # clients use few addresses, in every request
def _parsed_base(schemes: str, hosts: str, prefix: str) -> str:
    """Give the address that the client used. What does not look like one is not repeated into links."""
    scheme, host = schemes.split(",")[0].strip().lower(), hosts.split(",")[0].strip()
    scheme = scheme if scheme in ("http", "https") else "http"
    prefix = prefix.rstrip("/")
    if not _HOST.fullmatch(host):
        host = "localhost"
    return f"{scheme}://{host}{prefix if _PREFIX.fullmatch(prefix) else ''}"
