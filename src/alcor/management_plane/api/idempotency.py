"""`Idempotency-Key`: a POST that is sent again makes nothing anew and gets the answer that it missed.

The key is kept in the commit that makes the objects, so there is no moment in which one is there without the
other. What it made is read from the change log: the answer shows the objects as they were made, also if they
were changed or removed since; what is in force is told as it is now. A request that made nothing (refused, or
lost before its commit) is not kept: sent again, it is tried again. As in the IETF's draft
httpapi-idempotency-key-header; of two at the same time the second waits for the first.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from alcor.contracts.store import Change, KeyTaken, Once, Store
from alcor.management_plane.api.call import Call
from alcor.management_plane.caller import Caller
from alcor.model import errors

T = TypeVar("T")

KEY_LENGTH_MAX = 255


async def once(
    store: Store, call: Call, make: Callable[[Caller], Awaitable[T]], again: Callable[[Change], T]
) -> T:
    """Make what a POST asks for, or give what the same POST has made (`again`, from the change that holds it).

    Raises Invalid for a key that cannot be, or that came with another request (422).
    """
    if call.idempotency_key is None:
        return await make(call.caller)
    asked = Once(call.caller.project_id, _key(call.idempotency_key), fingerprint(call))
    change = await _made(store, asked)
    if change is None:
        try:
            return await make(msgspec.structs.replace(call.caller, once=asked))
        except KeyTaken as taken:
            change = await _made(store, asked)
            if change is None:  # its time was over just now
                raise errors.Unavailable("Please send the request again.", retry_after_s=1.0) from taken
    return again(change)


def fingerprint(call: Call) -> bytes:
    """Tell requests apart: by path and body, byte by byte; how long to wait for the answer does not matter."""
    return hashlib.blake2b(call.path.encode() + b"\0" + call.body, digest_size=16).digest()


async def _made(store: Store, asked: Once) -> Change | None:
    done = await store.done(asked.project_id, asked.key)
    if done is None:
        return None
    if done.fingerprint != asked.fingerprint:
        raise errors.Invalid(
            f"The idempotency key '{asked.key}' was used with another request: choose a new key for each.",
            reason="IdempotencyKeyReused",
        )
    try:
        (change,) = await store.changes(after=done.revision - 1, limit=1)
    except errors.Missing as trimmed:
        raise errors.Conflict(
            f"The request was carried out as change {done.revision}; its answer is no longer kept.",
            reason="IdempotentAnswerForgotten",
        ) from trimmed
    return change


def _key(header: str) -> str:
    """Read the header: a quoted string (RFC 8941), or the bare key that most clients send. Raises Invalid."""
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not 1 <= len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
        raise errors.Invalid(
            f"The idempotency key must have 1 to {KEY_LENGTH_MAX} printable ASCII characters.",
            reason="IdempotencyKeyInvalid",
        )
    return key
