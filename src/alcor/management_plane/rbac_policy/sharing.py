"""`shared` of an object, which is a view of a policy on it for everybody."""

import msgspec

from alcor.contracts.store import Store, Write
from alcor.management_plane import access
from alcor.management_plane.rbac_policy import decisions
from alcor.model.records import EVERYBODY, AnyRecord, RecordSet
from alcor.runtime.clock import new_ids


async def shared(store: Store, write: Write, it: AnyRecord, now_us: int, *, is_shared: bool) -> Write:
    """Have the write that updates an object share it with everybody, or no longer.

    The commit may raise Taken when somebody else shares it just now, and Stale with NotBorrowed while others
    use it.
    """
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
