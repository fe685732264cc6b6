"""Who may call the API: the settings, and the source of identities that they name. Wiring only."""

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from alcor.adapters import token_file
from alcor.adapters.keystone import KeystoneValidator
from alcor.adapters.token_file import TokenFile
from alcor.contracts.identity import IdentitySource
from alcor.management_plane.api.limits import ATTEMPTS, UNLIMITED, Rate
from alcor.management_plane.identity.believed_headers import BelievedHeaders
from alcor.management_plane.identity.keystone import KeystoneTokens
from alcor.management_plane.identity.tokens import TokenTable
from alcor.model import errors
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.tls import ServerCertificate

LOOK_S = 0.5  # between looks at the files: how long a revoked token goes on


class Kind(StrEnum):
    """Who knows the callers."""

    NONE = "none"
    TOKENS = "tokens"
    KEYSTONE = "keystone"


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How callers are known, and what protects what they say."""

    kind: Kind = Kind.NONE
    tokens: Path | None = None  # the file; None: in the data directory
    keystone_url: str = ""
    keystone_ca: Path | None = None  # None: the authorities that the machine trusts
    certificate: Path | None = None
    key: Path | None = None
    allow_plain_http: bool = False
    project_rate: Rate = UNLIMITED
    attempt_rate: Rate = ATTEMPTS


class Identities:
    """The source that the settings name, and what keeps it up to date. Owner of both."""

    def __init__(self, settings: IdentitySettings, data_dir: Path, clock: Clock, log: EventLog) -> None:
        """Raises Invalid for files that cannot be used."""
        self._log = log
        self._stack = contextlib.AsyncExitStack()
        self._refused = ""  # why the certificate's files are not taken up
        self._looks: list[Callable[[], None]] = []
        self.certificate = _certificate(settings)
        if self.certificate is not None:
            self._looks.append(self._renew)
        self.source = self._source(settings, data_dir, clock)

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._stack.aclose()

    async def follow(self) -> None:
        """Take up changed files for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            for look in self._looks:
                look()

    def _source(self, settings: IdentitySettings, data_dir: Path, clock: Clock) -> IdentitySource:
        match settings.kind:
            case Kind.NONE:
                return BelievedHeaders()
            case Kind.TOKENS:
                return self._token_table(settings.tokens or data_dir / token_file.NAME, clock)
            case Kind.KEYSTONE:
                return self._keystone(settings, clock)

    def _token_table(self, path: Path, clock: Clock) -> TokenTable:
        file = TokenFile(path)
        file.read()  # at the start, a file that cannot be believed is the operator's to mend
        table = TokenTable(clock, token_file.following(file, self._log))
        table.reload()
        self._looks.append(table.reload)
        return table

    def _keystone(self, settings: IdentitySettings, clock: Clock) -> KeystoneTokens:
        validator = KeystoneValidator(settings.keystone_url, self._log, ca_file=settings.keystone_ca)
        self._stack.push_async_callback(validator.close)
        source = KeystoneTokens(validator, clock, self._log)
        self._stack.push_async_callback(source.close)
        return source

    def _renew(self) -> None:
        assert self.certificate is not None
        try:
            if self.certificate.reload():
                self._log.info("certificate_renewed")
            self._refused = ""
        except errors.Invalid as error:
            if error.message != self._refused:  # said once, not at every look
                self._refused = error.message
                self._log.error("certificate_refused", reason=self._refused)


def _certificate(settings: IdentitySettings) -> ServerCertificate | None:
    if settings.certificate is None or settings.key is None:
        return None
    return ServerCertificate(settings.certificate, settings.key)
