"""Deciding again when the state moved between reading and committing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from alcor.contracts.store import Stale
from alcor.model import errors
from alcor.model.records import AnyRecord

T = TypeVar("T")
R = TypeVar("R", bound=AnyRecord)

# Among n writers of one object each round lets one through, so this serves as many at once as clients a
# process may have in flight on one object; the wait between rounds grows, so that they spread.
ATTEMPTS_MAX = 64
_PAUSE_S = 0.0005


class Again(Exception):
    """A generated value turned out to be taken: draw another and decide again. Never leaves a service."""


async def settle(attempt: Callable[[], Awaitable[T]]) -> T:
    """Call until no guard fails. Raises Unavailable when the state moves faster than we decide."""
    for number in range(ATTEMPTS_MAX):
        try:
            return await attempt()
        except (Stale, Again):
            await asyncio.sleep(_PAUSE_S * min(number, 20))
    raise errors.Unavailable("The object changes too fast, please try again.", retry_after_s=1.0)


def check_expected(record: AnyRecord, expected_revision: int | None) -> None:
    """Hold the client's If-Match against the record. Raises Conflict RevisionNumberConstraintFailed."""
    if expected_revision is not None and record.revision_number != expected_revision:
        raise errors.Conflict(
            f"Constrained to {expected_revision}, but current revision is {record.revision_number}",
            reason="RevisionNumberConstraintFailed",
        )


def given(fields: msgspec.Struct) -> dict[str, object]:
    """Name the fields that the client gave."""
    return {
        name: value
        for name in fields.__struct_fields__
        if (value := getattr(fields, name)) is not msgspec.UNSET
    }


def either(value: T | msgspec.UnsetType, otherwise: T) -> T:
    """Give what the client said, or what holds when it said nothing."""
    return otherwise if isinstance(value, msgspec.UnsetType) else value


def revised(record: R, now_us: int, **changes: object) -> R:
    """Give the record with the changes, one revision further."""
    return msgspec.structs.replace(
        record, updated_at=now_us, revision_number=record.revision_number + 1, **changes
    )
