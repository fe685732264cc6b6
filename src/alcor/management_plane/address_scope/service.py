"""Address scopes: read, decide, commit."""

from collections.abc import Sequence

from alcor.contracts.store import NoneWhere, Query, Store
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.address_scope import decisions
from alcor.management_plane.address_scope.decisions import AddressScopeFields
from alcor.management_plane.caller import Caller
from alcor.management_plane.rbac_policy import sharing
from alcor.model.records import AddressScope, RecordSet, SubnetPool
from alcor.runtime.clock import Clock, new_ids


class AddressScopeService:
    """Makes, changes and removes address scopes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self, caller: Caller, asks: Sequence[AddressScopeFields]
    ) -> tuple[int, list[AddressScope]]:
        """Make scopes, all or none; give the revision and the records in order."""
        now_us = self._clock.now_us()
        scopes = [
            decisions.create(fields, scope_id=scope_id, caller=caller, now_us=now_us)
            for fields, scope_id in zip(asks, new_ids(len(asks)), strict=True)
        ]
        write = writes.making(
            caller,
            inserts=RecordSet(
                address_scopes=tuple(scopes), rbac_policies=sharing.openings(asks, scopes, now_us)
            ),
            within=("address_scope",),
        )
        return await self._store.commit(write), scopes

    async def update(
        self, caller: Caller, scope_id: str, fields: AddressScopeFields, *, expected: int | None
    ) -> tuple[int, AddressScope]:
        """Change a scope."""

        async def attempt() -> tuple[int, AddressScope]:
            before = await access.fetch_own(self._store, caller, AddressScope, scope_id, "update_address_scope")
            settlement.check_expected(before, expected)
            now_us = self._clock.now_us()
            after = decisions.update(before, fields, now_us=now_us)
            write = writes.changing(caller, before, updates=RecordSet(address_scopes=(after,)))
            in_use = decisions.still_shared(before)
            revision = await sharing.commit(self._store, write, before, fields, now_us, in_use=in_use)
            return revision, after

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, scope_id: str, *, expected: int | None) -> int:
        """Remove a scope. Raises Conflict AddressScopeInUse while a pool is in it."""

        async def attempt() -> int:
            scope = await access.fetch_own(self._store, caller, AddressScope, scope_id, "delete_address_scope")
            settlement.check_expected(scope, expected)
            if await self._store.select(SubnetPool, Query(where={"address_scope_id": (scope.id,)}, limit=1)):
                raise decisions.in_use(scope)
            policies = await access.policies_on(self._store, scope.id)
            write = writes.removing(
                caller,
                scope,
                deletes=RecordSet(address_scopes=(scope,), rbac_policies=tuple(policies)),
                guards=(
                    NoneWhere("subnetpool", "address_scope_id", scope.id),
                    NoneWhere("rbac_policy", "object_id", scope.id),  # but for those that go with it
                ),
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)
