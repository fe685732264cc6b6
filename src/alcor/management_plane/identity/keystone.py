"""Callers whom Keystone knows: what it said of a token is remembered, and asked again from time to time.

    age of what Keystone said      the request                          Keystone
    up to 60 s                     goes on                              is not asked
    up to 300 s                    goes on                              is asked beside it
    more                           waits for the answer                 is asked
    the token has expired          is refused                           is not asked

Keystone not reachable: known tokens go on until they expire, and unknown ones get 503. A token that was revoked
is therefore refused about a minute later, or at once when it was not used for five (decision 0014).
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

import msgspec

from alcor.contracts.identity import Identity, Scheme, unauthorized
from alcor.management_plane.identity import credentials
from alcor.model import errors
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor

UNREACHABLE = "KeystoneUnreachable"  # reason of an error that says that asking for other tokens is vain too
KNOWN_MAX = 20_000  # tokens, half a kilobyte each; the one asked for longest ago is forgotten first
UNDER_WAY_MAX = 64  # questions at the same time: Keystone's answer takes milliseconds


class Patience(msgspec.Struct, frozen=True):
    """After how long Keystone is asked again: beside a request, before it, and after it did not answer."""

    refresh_s: float = 60.0
    stale_s: float = 300.0
    retry_s: float = 2.0


class Validated(msgspec.Struct, frozen=True):
    """What Keystone says of a token. `expires_at`: microseconds since 1970 UTC."""

    identity: Identity
    expires_at: int


class Validator(Protocol):
    """Asks Keystone."""

    url: str

    async def validate(self, token: str) -> Validated:
        """Raises Invalid (HTTPUnauthorized, PolicyNotAuthorized), Unavailable (UNREACHABLE: no answer)."""
        ...


class _Known(msgspec.Struct, frozen=True):
    validated: Validated
    checked_at_s: float


Outcome = Validated | errors.Invalid | errors.Unavailable


class KeystoneTokens:
    """Remembers tokens by their hash. Owner of what it remembers, and of the questions under way."""

    def __init__(
        self, validator: Validator, clock: Clock, log: EventLog, patience: Patience | None = None
    ) -> None:
        self._validator = validator
        self._clock = clock
        self._log = log
        self._patience = patience or Patience()
        self._known: OrderedDict[bytes, _Known] = OrderedDict()  # by when Keystone was asked
        self._under_way: dict[bytes, asyncio.Task[Outcome]] = {}
        self._retry_at_s: float | None = None  # Keystone did not answer: not asked before
        self._tasks = Supervisor(log, failure=None)

    ways = ((Scheme("token", "X-Auth-Token", "A token of the cloud's Keystone, for a project."),),)

    @property
    def challenge(self) -> str:
        return f'Keystone uri="{self._validator.url}"'

    async def close(self) -> None:
        """End the questions under way."""
        await self._tasks.close()

    def known(self, headers: Mapping[str, str]) -> Identity | None:
        """Give what Keystone said of the token, unless that is too long ago. O(1)."""
        token = _token(headers)
        if token is None:
            return None
        key = _key(token)
        held = self._known.get(key)
        if held is None or held.validated.expires_at <= self._clock.now_us():
            return None
        age_s = self._clock.monotonic_s() - held.checked_at_s
        if age_s > self._patience.refresh_s and not self._is_waiting():
            if age_s > self._patience.stale_s:
                return None
            self._ask(key, token)
        return held.validated.identity

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Ask Keystone. Raises Invalid, Unavailable."""
        token = _token(headers)
        if token is None:
            raise unauthorized("The request you have made requires authentication.")
        key = _key(token)
        held = self._known.get(key)
        if held is not None and held.validated.expires_at <= self._clock.now_us():
            raise unauthorized("The token has expired.")
        outcome = await self._outcome(key, token)
        if isinstance(outcome, Validated):
            return outcome.identity
        if held is not None and isinstance(outcome, errors.Unavailable):
            return held.validated.identity
        raise outcome

    async def _outcome(self, key: bytes, token: str) -> Outcome:
        if self._is_waiting():
            assert self._retry_at_s is not None
            return _unavailable(self._retry_at_s - self._clock.monotonic_s())
        task = self._ask(key, token)
        # Several requests wait for one answer: one that is given up must not take it from the others.
        return _unavailable(self._patience.retry_s) if task is None else await asyncio.shield(task)

    def _ask(self, key: bytes, token: str) -> "asyncio.Task[Outcome] | None":
        """Start to ask, unless that is under way; None: too much is."""
        task = self._under_way.get(key)
        if task is None and len(self._under_way) < UNDER_WAY_MAX:
            task = self._tasks.start("keystone", self._asked(key, token))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return task

    async def _asked(self, key: bytes, token: str) -> Outcome:
        try:
            validated = await self._validator.validate(token)
        except errors.Unavailable as error:
            if error.reason == UNREACHABLE:
                self._missed(error)
            return error
        except errors.Invalid as error:
            self._reached()
            self._known.pop(key, None)
            return error
        self._reached()
        self._known[key] = _Known(validated, self._clock.monotonic_s())
        self._known.move_to_end(key)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return validated

    def _is_waiting(self) -> bool:
        return self._retry_at_s is not None and self._clock.monotonic_s() < self._retry_at_s

    def _missed(self, error: errors.Unavailable) -> None:
        if self._retry_at_s is None:
            self._log.warning("keystone_unreachable", url=self._validator.url, reason=error.message)
        self._retry_at_s = self._clock.monotonic_s() + self._patience.retry_s

    def _reached(self) -> None:
        if self._retry_at_s is not None:
            self._log.info("keystone_reached", url=self._validator.url)
        self._retry_at_s = None


def _token(headers: Mapping[str, str]) -> str | None:
    shown = credentials.shown(headers)
    return None if shown is None or shown.user is not None else shown.token


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()  # what is remembered opens nothing


def _unavailable(retry_after_s: float) -> errors.Unavailable:
    return errors.Unavailable(
        "The identity service does not answer: whoever it did not name before must wait.",
        retry_after_s=retry_after_s,
    )
