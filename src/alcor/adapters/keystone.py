"""A token's validation by Keystone: `GET /v3/auth/tokens` of the Identity API, in the name of the token itself.

Keystone lets everybody look at their own token (policy `identity:validate_token`, rule `token_subject`), so
that Alcor needs no account there and keeps no password.
"""

import datetime
import ssl
from pathlib import Path

import httpx
import msgspec

from alcor.contracts.identity import Identity, unauthorized
from alcor.management_plane.identity.keystone import UNDER_WAY_MAX, UNREACHABLE, Validated
from alcor.model import errors
from alcor.model.ids import ProjectId
from alcor.model.roles import Level, level_of
from alcor.runtime.event_log import EventLog

TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
_RETRY_S = 2.0
_ABSENT = (502, 503, 504)  # from what stands in front of Keystone, or Keystone itself on its way out


class _Named(msgspec.Struct):
    id: str


class _Role(msgspec.Struct):
    name: str


class _Token(msgspec.Struct):
    user: _Named
    expires_at: datetime.datetime
    roles: tuple[_Role, ...] = ()
    project: _Named | None = None
    is_admin_project: bool = True  # said only where one project's administrators are the cloud's


class _Answer(msgspec.Struct):
    token: _Token


_decoder = msgspec.json.Decoder(_Answer)


class KeystoneValidator:
    """Asks one Keystone. Owner of the connections to it."""

    def __init__(self, url: str, log: EventLog, *, ca_file: Path | None = None) -> None:
        """Raises Invalid when the file names no authority."""
        self.url = url.rstrip("/").removesuffix("/v3") + "/v3"
        self._log = log
        self._client = httpx.AsyncClient(
            verify=True if ca_file is None else _trust(ca_file),
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=UNDER_WAY_MAX, max_keepalive_connections=8),
            follow_redirects=False,  # a token goes where the operator said, and nowhere else
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def validate(self, token: str) -> Validated:
        """Ask whose token it is. Raises Invalid, Unavailable."""
        try:
            response = await self._client.get(
                f"{self.url}/auth/tokens?nocatalog",
                headers={"X-Auth-Token": token, "X-Subject-Token": token},
            )
        except httpx.HTTPError as error:
            raise _unavailable(f"{type(error).__name__}: {error}", reason=UNREACHABLE) from error
        status = response.status_code
        if status == 200:
            return _validated(response.content)
        if status == 403:
            self._log.warning("keystone_refuses_validation", url=self.url)  # its policy lacks `token_subject`
        if status in (400, 401, 403, 404):
            raise unauthorized("The request you have made requires authentication.")
        raise _unavailable(f"status {status}", reason=UNREACHABLE if status in _ABSENT else None)


def _validated(content: bytes) -> Validated:
    try:
        token = _decoder.decode(content).token
        expires_at = token.expires_at.astimezone(datetime.UTC)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise _unavailable(f"not an answer of Keystone: {error}") from error
    if token.project is None:
        raise errors.Invalid("The token is not scoped to a project.", reason="PolicyNotAuthorized")
    roles = tuple(role.name for role in token.roles)
    level = level_of(roles)
    if level is Level.ADMIN and not token.is_admin_project:
        level = Level.MEMBER
    identity = Identity(ProjectId(token.project.id), token.user.id, roles, level)
    return Validated(identity, int(expires_at.timestamp() * 1_000_000))


def _trust(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise errors.Invalid(f"{ca_file} names no authority: {error}") from error


def _unavailable(detail: str, *, reason: str | None = None) -> errors.Unavailable:
    return errors.Unavailable(
        f"The identity service does not answer ({detail}).", retry_after_s=_RETRY_S, reason=reason
    )
