"""The writes that callers cause: who asks, for which project, and that what was read is as it was. Pure."""

from collections.abc import Iterable

from alcor.contracts.store import Guard, Once, Unchanged, Write
from alcor.management_plane.caller import Caller
from alcor.model.ids import ProjectId
from alcor.model.records import KIND_OF, AnyRecord, RecordSet

_NOTHING = RecordSet()


def unchanged(records: Iterable[AnyRecord]) -> tuple[Guard, ...]:
    """Guard that records are as they were read."""
    return tuple(Unchanged(KIND_OF[type(it)], it.id, it.revision_number) for it in records)


def making(
    caller: Caller,
    *,
    inserts: RecordSet,
    within: tuple[str, ...],
    updates: RecordSet = _NOTHING,
    guards: tuple[Guard, ...] = (),
) -> Write:
    """Write what the caller asks for anew; a request that is sent again makes nothing a second time.

    `within`: the kinds whose limits hold.
    """
    return Write(
        request_id=caller.request_id,
        actor=caller.actor,
        project_id=caller.project_id,
        inserts=inserts,
        updates=updates,
        guards=guards,
        within=within,
        once=caller.once,
    )


def changing(
    caller: Caller,
    before: AnyRecord,
    *,
    updates: RecordSet,
    inserts: RecordSet = _NOTHING,
    deletes: RecordSet = _NOTHING,
    guards: tuple[Guard, ...] = (),
    within: tuple[str, ...] = (),
    once: Once | None = None,
) -> Write:
    """Write the change of a record, which must still be as it was before, and what goes with it.

    `once`: the request's key, where the change is what a POST asks for.
    """
    return Write(
        request_id=caller.request_id,
        actor=caller.actor,
        project_id=ProjectId(before.project_id),
        inserts=inserts,
        updates=updates,
        deletes=deletes,
        guards=(*unchanged([before]), *guards),
        within=within,
        once=once,
    )


def removing(
    caller: Caller,
    gone: AnyRecord,
    *,
    deletes: RecordSet,
    updates: RecordSet = _NOTHING,
    guards: tuple[Guard, ...] = (),
) -> Write:
    """Write that a record goes, and what goes with it: the store itself looks whether all are as they were."""
    return Write(
        request_id=caller.request_id,
        actor=caller.actor,
        project_id=ProjectId(gone.project_id),
        updates=updates,
        deletes=deletes,
        guards=guards,
    )
