"""Access tokens of the region's own: made once, shown once, kept as a hash.

    alcor_<id>_<secret>       id: 16 hexadecimal digits, to find and name it;  secret: 256 random bits

The hash is a plain SHA-256. Slow hashes make up for passwords that can be guessed; nobody guesses 256 random
bits, however fast the hash, and a slow one would cost every request. A token is found by its id, which is no
secret, and its hash compared in constant time.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping

import msgspec

from alcor.contracts.identity import Identity, Scheme, unauthorized
from alcor.management_plane.identity import credentials
from alcor.model import errors
from alcor.model.ids import ProjectId
from alcor.model.roles import ROLES, level_of
from alcor.runtime.clock import Clock, random_bytes

PREFIX = "alcor"
TOKENS_MAX = 10_000  # in one file; who has more people than that has a Keystone
_NAME_LENGTH_MAX = 255


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a token. Moments are microseconds since 1970 UTC."""

    id: str
    sha256: str  # of the whole token, in hexadecimal digits
    project_id: str
    user_id: str
    roles: tuple[str, ...]
    created_at: int
    expires_at: int


class TokenTable:
    """The tokens that are in force. Owner of them; replaced as a whole."""

    challenge = 'Basic realm="alcor"'
    ways = (
        (Scheme("token", "X-Auth-Token", "A token of this region: `alcor token create`."),),
        (Scheme("basic", None, "The token's user, and the token as the password."),),
    )

    def __init__(self, clock: Clock, refresh: Callable[[], Iterable[TokenRecord] | None]) -> None:
        """`refresh` gives all tokens if they changed since it was asked last, otherwise None."""
        self._clock = clock
        self._refresh = refresh
        self._by_id: dict[str, tuple[bytes, int, str, Identity]] = {}  # hash, expires_at, user

    def reload(self) -> None:
        """Take up the tokens there are now."""
        records = self._refresh()
        if records is not None:
            self._by_id = {
                record.id: (bytes.fromhex(record.sha256), record.expires_at, record.user_id, _identity(record))
                for record in records
            }

    def known(self, headers: Mapping[str, str]) -> Identity | None:
        """Give whose token the headers show, while it has not expired. O(1): one look by the token's id."""
        shown = credentials.shown(headers)
        if shown is None:
            return None
        held = self._by_id.get(_id_of(shown.token))
        if held is None:
            return None
        digest, expires_at, user, identity = held
        is_right = hmac.compare_digest(_sha256(shown.token), digest)
        if not is_right or expires_at <= self._clock.now_us() or shown.user not in (None, user):
            return None
        return identity

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Look once more, after taking up what is new: a token works as soon as it is made. Raises Invalid."""
        self.reload()
        identity = self.known(headers)
        if identity is None:
            raise unauthorized("The request you have made requires authentication.")
        return identity


def issue(
    *, project_id: str, user_id: str, roles: Iterable[str], now_us: int, lifetime_s: int
) -> tuple[str, TokenRecord]:
    """Make a token and what is kept of it. Raises Invalid for a role that counts for nothing."""
    roles = tuple(sorted(set(roles)))
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise errors.Invalid(f"roles are {', '.join(ROLES)}; not {', '.join(unknown) or 'none at all'}")
    for name, value in (("project", project_id), ("user", user_id)):
        if not value or len(value) > _NAME_LENGTH_MAX or not value.isprintable() or ":" in value:
            raise errors.Invalid(f"a {name} is 1 to {_NAME_LENGTH_MAX} printable characters without a colon")
    token_id = random_bytes(8).hex()
    token = f"{PREFIX}_{token_id}_{random_bytes(32).hex()}"
    record = TokenRecord(
        id=token_id,
        sha256=_sha256(token).hex(),
        project_id=project_id,
        user_id=user_id,
        roles=roles,
        created_at=now_us,
        expires_at=now_us + lifetime_s * 1_000_000,
    )
    return token, record


def checked(records: Iterable[TokenRecord]) -> tuple[TokenRecord, ...]:
    """Give records that were read from outside, if they can be. Raises Invalid."""
    checked_records = tuple(records)
    if len(checked_records) > TOKENS_MAX:
        raise errors.Invalid(f"there are more than {TOKENS_MAX} tokens: revoke some")
    if len({record.id for record in checked_records}) != len(checked_records):
        raise errors.Invalid("two tokens have the same id")
    for record in checked_records:
        digits = record.sha256
        if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            raise errors.Invalid(f"token {record.id} has no SHA-256")
        if not record.project_id:
            raise errors.Invalid(f"token {record.id} has no project")
    return checked_records


def _identity(record: TokenRecord) -> Identity:
    return Identity(ProjectId(record.project_id), record.user_id, record.roles, level_of(record.roles))


def _id_of(token: str) -> str:
    prefix, _, rest = token.partition("_")
    return rest.partition("_")[0] if prefix == PREFIX else ""


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
