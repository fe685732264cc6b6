"""Tags of any record: read, decide, commit."""

from collections.abc import Callable, Sequence

from alcor.contracts.store import Store
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.model.records import KIND_OF, AnyRecord, set_of
from alcor.runtime.clock import Clock

Tags = tuple[str, ...]


class TagService:
    """Changes tags."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def tags(self, caller: Caller, kind: type[AnyRecord], record_id: str) -> Tags:
        """Give the tags of a record."""
        record: AnyRecord = await access.fetch_one(self._store, caller, kind, record_id)
        return record.tags

    async def change(
        self,
        caller: Caller,
        kind: type[AnyRecord],
        record_id: str,
        decide: Callable[[Tags], Sequence[str]],
        *,
        expected: int | None,
    ) -> tuple[int, Tags]:
        """Give a record the tags that `decide` makes of those it has; kept sorted, each once."""

        async def attempt() -> tuple[int, Tags]:
            record: AnyRecord = await access.fetch_own(
                self._store, caller, kind, record_id, f"update_{KIND_OF[kind]}"
            )
            settlement.check_expected(record, expected)
            tags = tuple(sorted(set(decide(record.tags))))
            after = settlement.revised(record, self._clock.now_us(), tags=tags)
            return await self._store.commit(writes.changing(caller, record, updates=set_of(after))), tags

        return await settlement.settle(attempt)
