"""One region's API over HTTP, with its errors as the six kinds."""

import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import msgspec

from alcor.model import errors

DEFAULT_URL = "http://127.0.0.1:9696"
URL_VARIABLE = "ALCOR_URL"
TOKEN_VARIABLE = "ALCOR_TOKEN"
CA_VARIABLE = "ALCOR_CACERT"


def url_from_environment() -> str:
    """Give the region's address: $ALCOR_URL, or loopback."""
    return os.environ.get(URL_VARIABLE, DEFAULT_URL)


class Endpoint(msgspec.Struct, frozen=True):
    """A region's API: where, whose token opens it, and who vouches for its certificate."""

    url: str
    token: str | None = None  # None: a region without authentication
    ca_file: Path | None = None  # None: the authorities that the machine trusts


class ServerEvent(msgspec.Struct, frozen=True):
    """One event of a stream. `last_id`: where to resume after it; without a name it says nothing else."""

    name: str
    data: Any
    last_id: int | None


class ApiClient:
    """Speaks to the API as who the token names; without one as a project, or as the operator."""

    def __init__(self, region: Endpoint | str, *, project: str | None = None, timeout_s: float = 60.0) -> None:
        endpoint = Endpoint(region) if isinstance(region, str) else region
        self.url = endpoint.url
        self._client = httpx.AsyncClient(
            base_url=endpoint.url,
            headers=_headers(endpoint.token, project),
            verify=_trust(endpoint.ca_file),
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=64),
        )

    async def get(self, path: str, **params: Any) -> Any:
        """Read. Raises the six kinds of error, with the API's own message."""
        return (await self.call("GET", path, params=params))[0]

    async def every(self, path: str, plural: str) -> list[dict[str, Any]]:
        """Read a list to its end, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.get(path)
            found += page[plural]
            links = page.get(f"{plural}_links", ())
            following = [link["href"] for link in links if link["rel"] == "next"]
            if not following:
                return found
            path = following[0]

    async def post(self, path: str, body: object, **params: Any) -> Any:
        """Create."""
        return (await self.call("POST", path, body=body, params=params))[0]

    async def put(self, path: str, body: object) -> Any:
        """Update."""
        return (await self.call("PUT", path, body=body))[0]

    async def delete(self, path: str) -> None:
        """Delete."""
        await self.call("DELETE", path)

    async def call(
        self, method: str, path: str, *, body: object = None, params: dict[str, Any] | None = None
    ) -> tuple[Any, httpx.Headers]:
        """Make a request; give the decoded answer and its headers."""
        content = None if body is None else msgspec.json.encode(body)
        try:
            response = await self._client.request(
                method,
                path,
                content=content,
                params=params or None,  # an empty mapping would take away the query of `path`
                headers={"Content-Type": "application/json"},
            )
        except httpx.HTTPError as error:
            raise errors.Unavailable(
                f"no answer from {self.url} ({error or type(error).__name__}); start a region with `alcor up`",
                retry_after_s=1,
            ) from error
        if response.status_code >= 400:
            raise _error_of(response)
        return (msgspec.json.decode(response.content) if response.content else None), response.headers

    async def events(self, **params: Any) -> AsyncIterator[ServerEvent]:
        """Follow `GET /v2.0/events`, or read it to its end with `follow=False`. Ends when the stream ends.

        Raises the six kinds of error; Unavailable when the connection is lost: resume from the last id.
        """
        last_id: int | None = None
        waits = httpx.Timeout(10.0, read=60.0)  # heartbeats come more often than that
        try:
            async with self._client.stream("GET", "/v2.0/events", params=params, timeout=waits) as response:
                if response.status_code >= 400:
                    await response.aread()
                    raise _error_of(response)
                name, data = "", None
                async for line in response.aiter_lines():
                    if not line:
                        yield ServerEvent(name, data, last_id)
                        name, data = "", None
                    field, _, value = line.partition(": ")  # a comment has no field
                    match field:
                        case "id":
                            last_id = int(value)
                        case "event":
                            name = value
                        case "data":
                            data = msgspec.json.decode(value)
        except httpx.HTTPError as error:
            raise errors.Unavailable(
                f"the stream from {self.url} broke ({error or type(error).__name__})", retry_after_s=1
            ) from error

    async def close(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> "ApiClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _headers(token: str | None, project: str | None) -> dict[str, str]:
    if token:
        return {"X-Auth-Token": token}
    return {"X-Project-Id": project} if project else {"X-Project-Id": "admin", "X-Roles": "admin"}


def _trust(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise errors.Invalid(f"{ca_file} names no authority: {error}") from error


def _error_of(response: httpx.Response) -> errors.AlcorError:
    try:
        fault = msgspec.json.decode(response.content)["NeutronError"]
        message, reason = fault["message"], fault["type"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message, reason = f"HTTP status {response.status_code}", None
    match response.status_code:
        case 404:
            return errors.Missing(message, reason=reason)
        case 409 | 412:
            return errors.Conflict(message, reason=reason)
        case 429:
            return errors.LimitReached(message, reason=reason)
        case 503:
            return errors.Unavailable(message, reason=reason, retry_after_s=1)
        case status if status >= 500:
            return errors.Broken(message, reason=reason)
        case _:
            return errors.Invalid(message, reason=reason)
