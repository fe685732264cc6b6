"""`shared` of an object, which is a view of a policy on it for everybody."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import UnsetType

from alcor.contracts.store import NotBorrowed, Stale, Store, Taken, Write
from alcor.management_plane import access, settlement
from alcor.management_plane.rbac_policy import decisions
from alcor.model import errors
from alcor.model.records import EVERYBODY, AnyRecord, RbacPolicy, RecordSet
from alcor.runtime.clock import new_ids


class Fields(Protocol):
    """What a client may say of an object that can be shared."""

    @property
    def shared(self) -> bool | UnsetType: ...


def openings(asks: Sequence[Fields], made: Sequence[AnyRecord], now_us: int) -> tuple[RbacPolicy, ...]:
    """Make the policies for those new objects that are asked for as shared. `made`: for each of `asks`."""
    shared = [it for fields, it in zip(asks, made, strict=True) if fields.shared is True]
    ids = new_ids(len(shared))
    return tuple(decisions.opening(it, id_, now_us) for it, id_ in zip(shared, ids, strict=True))


async def commit(
    store: Store, write: Write, it: AnyRecord, fields: Fields, now_us: int, *, in_use: errors.AlcorError
) -> int:
    """Commit the write that updates an object, shared with everybody or no longer, as the client says.

    Raises Stale, Again: to be decided again; `in_use`: while others use it who then could not.
    """
    if isinstance(fields.shared, bool):
        write = await _shared(store, write, it, now_us, is_shared=fields.shared)
    try:
        return await store.commit(write)
    except Taken as taken:
        raise settlement.Again from taken  # somebody else shares it just now
    except Stale as stale:
        if isinstance(stale.guard, NotBorrowed):
            raise in_use from stale
        raise


async def _shared(store: Store, write: Write, it: AnyRecord, now_us: int, *, is_shared: bool) -> Write:
    policies = await access.policies_on(store, it.id)
    opening = [policy for policy in policies if policy.target == EVERYBODY]
    if is_shared == bool(opening):
        return write
    if is_shared:
        policy = decisions.opening(it, new_ids(1)[0], now_us)
        return msgspec.structs.replace(write, inserts=RecordSet(rbac_policies=(policy,)))
    others = [policy for policy in policies if policy.target != EVERYBODY]
    return msgspec.structs.replace(
        write,
        deletes=RecordSet(rbac_policies=tuple(opening)),
        guards=(*write.guards, *decisions.without(opening[0], it, others)),
    )
