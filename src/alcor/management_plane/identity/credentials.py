"""What a request shows to prove who sends it: a token, in the two styles that OpenStack's clients have."""

import base64
import binascii
from collections.abc import Mapping

import msgspec

TOKEN_LENGTH_MAX = 8192  # Keystone's are about 250 characters; those with a signature may be long
_BASIC = "basic "


class Credentials(msgspec.Struct, frozen=True):
    """A token, and who is said to have it: `user` None when the style does not say."""

    token: str
    user: str | None


def shown(headers: Mapping[str, str]) -> Credentials | None:
    """Give what the headers show, `X-Auth-Token: TOKEN` or `Authorization: Basic USER:TOKEN` (RFC 7617).

    Tokens of whatever kind are ASCII; what is not is none.
    """
    token = headers.get("x-auth-token")
    if token is not None:
        return Credentials(token, None) if 0 < len(token) <= TOKEN_LENGTH_MAX and token.isascii() else None
    header = headers.get("authorization")
    if header is None or len(header) > 2 * TOKEN_LENGTH_MAX or header[: len(_BASIC)].lower() != _BASIC:
        return None
    try:
        text = base64.b64decode(header[len(_BASIC) :].strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, token = text.partition(":")
    return Credentials(token, user) if colon and token and token.isascii() else None
