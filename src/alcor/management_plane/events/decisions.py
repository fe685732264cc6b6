"""What followers are told of a change, and how much of the log is read at once. Pure."""

from collections.abc import Iterator, Sequence, Set

import msgspec

from alcor.contracts import columns
from alcor.contracts.store import Change
from alcor.management_plane import access
from alcor.management_plane.caller import Caller
from alcor.management_plane.events.shares import Shares
from alcor.model.records import (
    KIND_OF,
    KINDS,
    AddressGroupEntry,
    AnyRecord,
    DefaultRule,
    Host,
    Project,
    RbacPolicy,
    Record,
)

# What the operator says of tenants and machines is not the tenants'.
OPERATORS_KINDS: tuple[type[Record], ...] = (Host, Project, DefaultRule)
# What is told with the object that it is part of, which is revised with it.
PARTS: tuple[type[Record], ...] = (AddressGroupEntry,)
TOLD = tuple(kind for kind, record_type in KINDS.items() if record_type not in PARTS)
PAGE_MIN = 16  # entries of the log; each may hold ten thousand records
PAGE_MAX = 512
_MANY = 2_000  # records in a page, from which on pages become smaller


class Event(msgspec.Struct, frozen=True):
    """One record's part in a change. `object_type`, `object_id`: what a policy shares."""

    operation: str  # created | updated | deleted
    kind: str
    id: str
    project_id: str
    revision_number: int
    object_type: str = ""
    object_id: str = ""


class Interest(msgspec.Struct, frozen=True):
    """What a follower is told: what the caller may see, of some kinds; no kinds named: of all."""

    caller: Caller
    kinds: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        assert self.kinds <= KINDS.keys(), "kinds are checked where they are asked for"


def events_of(change: Change, interest: Interest, shares: Shares) -> list[Event]:
    """Name the records of a change that the follower may see, and take note of what is shared with it.

    Puts, then deletes. O(records). A record is created with revision number 1, and each update adds to it. A
    policy that reaches the follower no longer is deleted for it.
    """
    ended = shares.ending(change)
    left = () if interest.caller.is_admin else shares.left(change)
    shares.fold(change)
    found = [
        _event("created" if record.revision_number <= 1 else "updated", record)
        for record in _each(columns.groups(change.puts))
        if _is_visible(record, interest, shares)
    ]
    found += [
        _event("deleted", policy)
        for policy in left
        if _is_asked_for(policy, interest) and not interest.caller.sees(policy)
    ]
    found += [
        _event("deleted", record)
        for record in _each(columns.groups(change.deletes))
        if _is_visible(record, interest, shares, ended)
    ]
    return found


def _is_visible(record: AnyRecord, interest: Interest, shares: Shares, ended: Set[str] = frozenset()) -> bool:
    """Is the follower told of this record? `ended`: what was shared until this change."""
    if not _is_asked_for(record, interest):
        return False
    if interest.caller.sees(record):
        return interest.caller.is_admin or type(record) not in OPERATORS_KINDS
    if isinstance(record, RbacPolicy):
        return shares.reaches(record)
    object_id = access.shared_object(record)
    return shares.has(object_id) or object_id in ended


def _is_asked_for(record: AnyRecord, interest: Interest) -> bool:
    is_told = type(record) not in PARTS
    return is_told and (not interest.kinds or KIND_OF[type(record)] in interest.kinds)


def size_of(changes: Sequence[Change]) -> int:
    """Count the records of changes."""
    return sum(len(group) for it in changes for part in (it.puts, it.deletes) for group in columns.groups(part))


def next_page(page: int, records: int) -> int:
    """Choose how many entries to read next, after `page` entries with so many records."""
    return max(PAGE_MIN, page // 4) if records > _MANY else min(PAGE_MAX, page * 2)


def _event(operation: str, record: AnyRecord) -> Event:
    kind = KIND_OF[type(record)]
    event = Event(operation, kind, record.id, record.project_id, record.revision_number)
    if isinstance(record, RbacPolicy):
        return msgspec.structs.replace(event, object_type=record.object_type, object_id=record.object_id)
    return event


def _each(groups: Sequence[Sequence[AnyRecord]]) -> Iterator[AnyRecord]:
    for group in groups:
        yield from group
