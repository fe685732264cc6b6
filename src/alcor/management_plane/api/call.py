"""One request, parsed as far as every resource needs it."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request

from alcor.management_plane.caller import Caller
from alcor.model import errors


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
        """The revision number that the client insists on. Raises Invalid for another If-Match."""
        if self.if_match is None:
            return None
        name, _, number = self.if_match.strip().strip('"').partition("=")
        if name != "revision_number" or not number.isascii() or not number.isdigit():
            raise errors.Invalid("Invalid If-Match: only revision_number=N is supported.")
        return int(number)


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
        headers.get("x-forwarded-host", headers.get("host", "localhost")),
    )


@functools.lru_cache(maxsize=256)  # clients use few addresses, in every request
def _parsed_base(schemes: str, hosts: str) -> str:
    scheme, host = schemes.split(",")[0].strip(), hosts.split(",")[0].strip()
    # What does not look like an address is not repeated into links.
    parts = urlsplit(f"{scheme if scheme in ('http', 'https') else 'http'}://{host}")
    return f"{parts.scheme}://{parts.netloc}"
