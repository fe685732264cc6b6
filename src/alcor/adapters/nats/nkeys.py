"""Keys as NATS writes them, and the statements (JWT) signed by them.

A key is Ed25519; its text is base32 of a byte that says what it is for, the 32 bytes, and a CRC-16. A
statement is a JWT whose algorithm is `ed25519-nkey` and whose issuer is the text of the key that signed it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from enum import IntEnum

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alcor.model import errors

_SEED = 18 << 3
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


class Kind(IntEnum):
    """What a key is for. The value makes the text begin with O, A or U."""

    OPERATOR = 14 << 3
    ACCOUNT = 0
    USER = 20 << 3


class Key:
    """A private key. Its seed is a secret, its `name` is what others know it by."""

    def __init__(self, kind: Kind, private: Ed25519PrivateKey) -> None:
        self.kind = kind
        self._private = private
        self.name = _text(bytes([kind]) + _raw_public(private))

    @classmethod
    def new(cls, kind: Kind) -> "Key":
        """Make a key."""
        return cls(kind, Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: str) -> "Key":
        """Read a key. Raises Invalid."""
        try:
            data = base64.b32decode(seed + "=" * (-len(seed) % 8))
            kind = Kind((data[0] & 7) << 5 | data[1] >> 3)
            if data[0] & 0xF8 != _SEED or len(data) != 36 or _text(data[:-2]) != seed:
                raise ValueError("it is none")
            return cls(kind, Ed25519PrivateKey.from_private_bytes(data[2:34]))
        except (ValueError, IndexError) as error:
            raise errors.Invalid("the queue's key cannot be read: it is no NATS seed") from error

    @property
    def seed(self) -> str:
        """Give the secret text that `from_seed` reads."""
        raw = self._private.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        return _text(bytes([_SEED | self.kind >> 5, (self.kind & 31) << 3]) + raw)

    def sign(self, data: bytes) -> bytes:
        """Give the 64 bytes of a signature."""
        return self._private.sign(data)

    def state(
        self, subject: str, name: str, claims: Mapping[str, object], *, issued_at_s: int, expires_at_s: int = 0
    ) -> str:
        """Sign that `subject` (the name of a key) is called `name` and may do what `claims` say."""
        body: dict[str, object] = {
            "iat": issued_at_s,
            "iss": self.name,
            "sub": subject,
            "name": name,
            "nats": {**claims, "version": 2},
        }
        if expires_at_s:
            body["exp"] = expires_at_s
        digest = hashes.Hash(hashes.SHA256())
        digest.update(_json(body))
        body["jti"] = base64.b32encode(digest.finalize()).decode().rstrip("=")
        signed = f"{_url64(_json(_HEADER))}.{_url64(_json(body))}"
        return f"{signed}.{_url64(self.sign(signed.encode()))}"


def _raw_public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _text(data: bytes) -> str:
    checked = data + binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
