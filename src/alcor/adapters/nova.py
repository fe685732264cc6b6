"""Nova's external events: `POST /os-server-external-events` of the Compute API."""

import ssl
from collections.abc import Sequence
from typing import Protocol

import httpx
import msgspec

from alcor.contracts.server_events import CHANGED, DELETED, ServerEvent
from alcor.model import errors

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
RETRY_S = 1.0
_NOT_FOUND = 404
_NO_SERVER = b"itemNotFound"  # in Nova's own words; any other 404 says that the address is wrong


class Tokens(Protocol):
    """Who we are for the compute service."""

    async def token(self) -> str:
        """Give a token that is good now; empty: none is needed. Raises Unavailable."""
        ...

    def forget(self) -> None:
        """The token was refused: the next one is to be another."""
        ...


class _NoTokens:
    async def token(self) -> str:
        return ""

    def forget(self) -> None:
        return


class _Judged(msgspec.Struct):
    code: int = 0
    name: str = ""
    server_uuid: str = ""
    tag: str | None = None


class _Answer(msgspec.Struct):
    events: list[_Judged] = []


_decoder = msgspec.json.Decoder(_Answer)


class NovaEvents:
    """Implements `ServerEvents`. Owner of the connections to Nova."""

    def __init__(self, url: str, tokens: Tokens | None = None, *, verify: ssl.SSLContext | bool = True) -> None:
        """`tokens` None: Nova asks nobody who they are. Raises Invalid for what is no address."""
        try:
            self._url = httpx.URL(url.rstrip("/") + "/os-server-external-events")
        except httpx.InvalidURL as error:
            raise errors.Invalid(f"'{url}' is no address of Nova: {error}") from error
        self.host = self._url.host
        self._tokens = tokens or _NoTokens()
        self._client = httpx.AsyncClient(
            verify=verify,
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
            follow_redirects=False,  # a token goes where the operator said, and nowhere else
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def tell(self, events: Sequence[ServerEvent]) -> list[int]:
        response = await self._post(events)
        if response.status_code == 401:  # a token may end before its time
            self._tokens.forget()
            response = await self._post(events)
        status = response.status_code
        if status in (200, 202, 207):
            return _codes(response.content, events)
        if status == _NOT_FOUND and _NO_SERVER in response.content:  # none of them is known, any more or yet
            return [_NOT_FOUND] * len(events)
        if status in (400, 413, 422):
            raise errors.Invalid(f"Nova refuses the request ({status}): {response.text[:200]}")
        raise errors.Unavailable(f"Nova answers {status}: {response.text[:200]}", retry_after_s=RETRY_S)

    async def _post(self, events: Sequence[ServerEvent]) -> httpx.Response:
        token = await self._tokens.token()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["X-Auth-Token"] = token
        body = msgspec.json.encode({"events": [_written(event) for event in events]})
        try:
            return await self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            reason = f"Nova does not answer ({type(error).__name__}: {error})"
            raise errors.Unavailable(reason, retry_after_s=RETRY_S) from error


def _written(event: ServerEvent) -> dict[str, str]:
    """Write an event as Neutron does: of changes and removals it gives no status."""
    written = {"name": event.name, "server_uuid": event.server_uuid, "tag": event.tag}
    if event.name not in (CHANGED, DELETED):
        written["status"] = event.status
    return written


def _codes(content: bytes, events: Sequence[ServerEvent]) -> list[int]:
    """Give the code of each event; Nova answers in the order asked, and we look at the names to be sure."""
    try:
        judged = _decoder.decode(content).events
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.Unavailable(f"not an answer of Nova: {error}", retry_after_s=RETRY_S) from error
    codes = {(each.name, each.server_uuid, each.tag): each.code for each in judged}
    return [codes.get((event.name, event.server_uuid, event.tag), 200) for event in events]
