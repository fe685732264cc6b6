"""Our own token from Keystone: `POST /v3/auth/tokens` with a password or an application credential.

The credentials are read from a file of the form that clients of OpenStack use ("openrc"), as Horizon gives it
out: lines of `export OS_NAME=value`.
"""

import datetime
import shlex
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path

import httpx
import msgspec

from alcor.model import errors
from alcor.runtime.clock import Clock

TIMEOUT_S = 10.0
RETRY_S = 2.0
EARLY_US = 60_000_000  # a token is renewed before it ends: requests take time, and clocks differ


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are, and where that is checked."""

    auth_url: str
    identity: Mapping[str, object]
    scope: Mapping[str, object] | None  # an application credential has its own
    ca_file: Path | None


def read(path: Path) -> Credentials:
    """Read a file of credentials. Raises Invalid with what is wrong about it."""
    try:
        if path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise errors.Invalid(f"others may read or write {path}: chmod 600 it")
        return parsed(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise errors.Invalid(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise errors.Invalid(f"{path} is no file of credentials: {error}") from error


def parsed(text: str) -> Credentials:
    """Understand credentials in the form of openrc. Raises ValueError."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        for word in shlex.split(line, comments=True):
            name, separator, value = word.partition("=")
            if separator and name.startswith("OS_"):
                said[name] = value
    auth_url = said.get("OS_AUTH_URL", "")
    if not auth_url.startswith(("http://", "https://")):
        raise ValueError("OS_AUTH_URL is no http:// or https:// address")
    return Credentials(
        auth_url=auth_url.rstrip("/").removesuffix("/v3") + "/v3",
        identity=_identity(said),
        scope=None if _is_application(said) else {"project": _project(said)},
        ca_file=Path(said["OS_CACERT"]) if said.get("OS_CACERT") else None,
    )


def _is_application(said: Mapping[str, str]) -> bool:
    return bool(said.get("OS_APPLICATION_CREDENTIAL_SECRET"))


def _identity(said: Mapping[str, str]) -> dict[str, object]:
    if not _is_application(said):
        password = {"user": {**_user(said), "password": _needed(said, "OS_PASSWORD")}}
        return {"methods": ["password"], "password": password}
    credential: dict[str, object] = {"secret": said["OS_APPLICATION_CREDENTIAL_SECRET"]}
    if said.get("OS_APPLICATION_CREDENTIAL_ID"):
        credential["id"] = said["OS_APPLICATION_CREDENTIAL_ID"]
    else:
        credential["name"] = _needed(said, "OS_APPLICATION_CREDENTIAL_NAME")
        credential["user"] = _user(said)
    return {"methods": ["application_credential"], "application_credential": credential}


def _user(said: Mapping[str, str]) -> dict[str, object]:
    if said.get("OS_USER_ID"):
        return {"id": said["OS_USER_ID"]}
    return {"name": _needed(said, "OS_USERNAME"), "domain": _domain(said, "OS_USER_DOMAIN")}


def _project(said: Mapping[str, str]) -> dict[str, object]:
    if said.get("OS_PROJECT_ID"):
        return {"id": said["OS_PROJECT_ID"]}
    return {"name": _needed(said, "OS_PROJECT_NAME"), "domain": _domain(said, "OS_PROJECT_DOMAIN")}


def _domain(said: Mapping[str, str], name: str) -> dict[str, str]:
    if said.get(f"{name}_NAME"):
        return {"name": said[f"{name}_NAME"]}
    return {"id": said.get(f"{name}_ID") or said.get("OS_DEFAULT_DOMAIN") or "default"}


def _needed(said: Mapping[str, str], name: str) -> str:
    if not said.get(name):
        raise ValueError(f"{name} is missing")
    return said[name]


class _Token(msgspec.Struct):
    expires_at: datetime.datetime


class _Answer(msgspec.Struct):
    token: _Token


_decoder = msgspec.json.Decoder(_Answer)


class KeystoneLogin:
    """Gives tokens. Owner of the one in use and of the connections to Keystone."""

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        """Raises Invalid when the file of authorities names none."""
        self._credentials = credentials
        self._clock = clock
        self._token = ""
        self._ends_us = 0
        self.verify = _trust(credentials.ca_file)
        self._client = httpx.AsyncClient(verify=self.verify, timeout=TIMEOUT_S, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def token(self) -> str:
        """Give a token that is good for a while. Raises Unavailable."""
        if not self._token or self._clock.now_us() >= self._ends_us - EARLY_US:
            await self._log_in()
        return self._token

    def forget(self) -> None:
        """The token was refused."""
        self._token = ""

    async def _log_in(self) -> None:
        asked: dict[str, object] = {"identity": self._credentials.identity}
        if self._credentials.scope is not None:
            asked["scope"] = self._credentials.scope
        url = f"{self._credentials.auth_url}/auth/tokens?nocatalog"
        try:
            response = await self._client.post(url, content=msgspec.json.encode({"auth": asked}), headers=_JSON)
        except httpx.HTTPError as error:
            raise _unavailable(f"{type(error).__name__}: {error}") from error
        if response.status_code != 201:
            raise _unavailable(f"status {response.status_code}: {response.text[:200]}")
        try:
            ends = _decoder.decode(response.content).token.expires_at
            self._ends_us = int(ends.astimezone(datetime.UTC).timestamp() * 1_000_000)
            self._token = response.headers["X-Subject-Token"]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError, OverflowError) as error:
            raise _unavailable(f"not an answer of Keystone: {error!r}") from error


_JSON = {"Content-Type": "application/json"}


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise errors.Invalid(f"{ca_file} names no authority: {error}") from error


def _unavailable(detail: str) -> errors.Unavailable:
    return errors.Unavailable(f"Keystone gives no token ({detail})", retry_after_s=RETRY_S)
