"""How to get into a queue: where it is, as whom, and whom to believe."""

import base64
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from alcor.adapters.nats.nkeys import Key
from alcor.model import errors
from alcor.runtime import tls

FILE = "queue.creds"
_JWT = "NATS USER JWT"
_SEED = "USER NKEY SEED"


class Credentials(msgspec.Struct, frozen=True):
    """What an account says of a user, and the key that proves to be that user."""

    statement: str
    key: Key

    @classmethod
    def parse(cls, text: str) -> "Credentials":
        """Read a credentials file as NATS's own tools write it. Raises Invalid."""
        return cls(_part(text, _JWT), Key.from_seed(_part(text, _SEED)))

    @classmethod
    def read(cls, path: Path) -> "Credentials":
        """Read a credentials file. Raises Invalid."""
        try:
            return cls.parse(path.read_text())
        except OSError as error:
            raise errors.Invalid(f"the queue's credentials {path}: {error.strerror}") from error

    def text(self) -> str:
        """Give what `parse` reads."""
        return "\n".join(
            f"-----BEGIN {name}-----\n{value}\n------END {name}------\n"
            for name, value in ((_JWT, self.statement), (_SEED, self.key.seed))
        )


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Where a queue is and how to get in.

    `context` and `names` for a region's own: TLS from the first byte, and the server must be `names`. Without
    them it is somebody's cluster: TLS when it or the URL (tls://) wants that, believed as the system believes.
    """

    url: str
    credentials: Credentials | None = None
    context: ssl.SSLContext | None = None
    names: str | None = None

    def options(self) -> dict[str, Any]:
        """Give what the client library is to be told."""
        options: dict[str, Any] = {}
        if self.credentials is not None:
            options |= {"user_jwt_cb": self._statement, "signature_cb": _signer(self.credentials.key)}
        if self.context is not None:
            options |= {"tls": self.context, "tls_hostname": self.names, "tls_handshake_first": True}
        return options

    @property
    def wants_tls(self) -> bool:
        return self.context is not None or self.url.startswith("tls://")

    def _statement(self) -> bytes:
        assert self.credentials is not None
        return self.credentials.statement.encode()


def choose(url: str, *, certificates: Path | None, credentials: Path | None) -> Access:
    """Give an agent's access: to somebody's cluster by credentials, to its region's own by certificates.

    A cluster that wants neither is nats://. Raises Invalid.
    """
    if credentials is not None or not url.startswith("tls://"):
        return of_cluster(url, credentials)
    if certificates is None:
        raise errors.Invalid("the queue wants the host's certificates, or credentials of another cluster")
    if not (certificates / FILE).exists():
        raise errors.Invalid(f"{certificates} has no {FILE}: let `alcor certificate` write it again")
    return of_region_as(url, certificates, "agent", Credentials.read(certificates / FILE))


def of_region_as(url: str, certificates: Path, role: str, credentials: Credentials) -> Access:
    """Give the access to a region's own queue in a role. Raises Invalid."""
    context = tls.client_context(certificates, role)
    return Access(url=url, credentials=credentials, context=context, names=tls.QUEUE_NAME)


def of_cluster(url: str, credentials: Path | None) -> Access:
    """Give the access to a cluster that is not the region's own. Raises Invalid."""
    return Access(url=url, credentials=Credentials.read(credentials) if credentials else None)


def _part(text: str, name: str) -> str:
    _, begin, rest = text.partition(f"BEGIN {name}")
    lines = [line.strip() for line in rest.splitlines()[1:]]
    if not begin or not lines or not lines[0]:
        raise errors.Invalid(f"credentials without {name}")
    return lines[0]


def _signer(key: Key) -> Callable[[str], bytes]:
    return lambda nonce: base64.b64encode(key.sign(nonce.encode()))
