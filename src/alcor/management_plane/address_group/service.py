"""Address groups: read, decide, commit. One address more or less costs one entry, however many there are."""

from collections.abc import Sequence

from alcor.contracts.store import NoneWhere, Query, Store, Taken
from alcor.management_plane import access, portions, settlement, writes
from alcor.management_plane.address_group import decisions
from alcor.management_plane.address_group.decisions import AddressGroupFields
from alcor.management_plane.caller import Caller
from alcor.model.addressing import Cidr
from alcor.model.records import AddressGroup, AddressGroupEntry, DefaultRule, RecordSet, SecurityGroupRule
from alcor.runtime.clock import Clock, new_ids


class AddressGroupService:
    """Makes, changes and removes address groups."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self, caller: Caller, asks: Sequence[AddressGroupFields]
    ) -> tuple[int, list[AddressGroup]]:
        """Make address groups, all or none; give the revision and the records in order."""
        now_us = self._clock.now_us()
        groups = [
            decisions.create(fields, group_id=group_id, caller=caller, now_us=now_us)
            for fields, group_id in zip(asks, new_ids(len(asks)), strict=True)
        ]
        entries = [
            entry
            for fields, group in zip(asks, groups, strict=True)
            for entry in decisions.entries(group, fields.addresses, now_us=now_us)
        ]
        write = writes.making(
            caller,
            inserts=RecordSet(address_groups=tuple(groups), address_group_entries=tuple(entries)),
            within=("address_group", "address_group_entry"),
        )
        return await self._store.commit(write), groups

    async def update(
        self, caller: Caller, group_id: str, fields: AddressGroupFields, *, expected: int | None
    ) -> tuple[int, AddressGroup]:
        """Change a group's name or description."""

        async def attempt() -> tuple[int, AddressGroup]:
            before = await self._fetch(caller, group_id, "update_address_group", expected)
            after = decisions.update(before, fields, now_us=self._clock.now_us())
            write = writes.changing(caller, before, updates=RecordSet(address_groups=(after,)))
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def add_addresses(
        self, caller: Caller, group_id: str, addresses: Sequence[Cidr], *, expected: int | None
    ) -> tuple[int, AddressGroup]:
        """Put addresses into a group, all or none."""

        async def attempt() -> tuple[int, AddressGroup]:
            before = await self._fetch(caller, group_id, "add_addresses", expected)
            found = await self._find(before, addresses)
            after, entries = decisions.added(before, addresses, found, now_us=self._clock.now_us())
            write = writes.changing(
                caller,
                before,
                updates=RecordSet(address_groups=(after,)),
                inserts=RecordSet(address_group_entries=entries),
                within=("address_group_entry",),
            )
            try:
                return await self._store.commit(write), after
            except Taken as taken:  # somebody else was quicker with the same address
                raise settlement.Again from taken

        return await settlement.settle(attempt)

    async def remove_addresses(
        self, caller: Caller, group_id: str, addresses: Sequence[Cidr], *, expected: int | None
    ) -> tuple[int, AddressGroup]:
        """Take addresses out of a group, all or none."""

        async def attempt() -> tuple[int, AddressGroup]:
            before = await self._fetch(caller, group_id, "remove_addresses", expected)
            found = await self._find(before, addresses)
            after = decisions.removed(before, addresses, found, now_us=self._clock.now_us())
            write = writes.changing(
                caller,
                before,
                updates=RecordSet(address_groups=(after,)),
                deletes=RecordSet(address_group_entries=tuple(found.values())),
            )
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, group_id: str, *, expected: int | None) -> int:
        """Remove a group and what is in it. Raises Conflict AddressGroupInUse while a rule is about it."""

        async def attempt() -> int:
            group = await self._fetch(caller, group_id, "delete_address_group", expected)
            about = Query(where={"remote_address_group_id": (group.id,)}, limit=1)
            for kind in (SecurityGroupRule, DefaultRule):
                if await self._store.select(kind, about):
                    raise decisions.in_use(group.id)
            entries = await self._store.select(
                AddressGroupEntry, Query(where={"address_group_id": (group.id,)})
            )
            write = writes.removing(
                caller,
                group,
                deletes=RecordSet(
                    address_groups=(group,),
                    address_group_entries=tuple(entries),
                    rbac_policies=tuple(await access.policies_on(self._store, group.id)),
                ),
                guards=(
                    NoneWhere("security_group_rule", "remote_address_group_id", group.id),
                    NoneWhere("default_security_group_rule", "remote_address_group_id", group.id),
                    NoneWhere("address_group_entry", "address_group_id", group.id),  # but for these
                    NoneWhere("rbac_policy", "object_id", group.id),
                ),
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def addresses_of(self, groups: Sequence[AddressGroup]) -> dict[str, list[Cidr]]:
        """Give what is in each group, by id, sorted. O(that)."""
        found: dict[str, list[Cidr]] = {group.id: [] for group in groups}
        for part in portions.of(groups):
            where = {"address_group_id": tuple(group.id for group in part)}
            for entry in await self._store.select(AddressGroupEntry, Query(where=where)):
                found[entry.address_group_id].append(Cidr(*entry.prefix))
        for addresses in found.values():
            addresses.sort(key=lambda address: (len(address.network), address))
        return found

    async def _fetch(self, caller: Caller, group_id: str, action: str, expected: int | None) -> AddressGroup:
        group = await access.fetch_own(self._store, caller, AddressGroup, group_id, action)
        settlement.check_expected(group, expected)
        return group

    async def _find(self, group: AddressGroup, addresses: Sequence[Cidr]) -> dict[str, AddressGroupEntry]:
        ids = sorted({decisions.entry_id(group.id, address) for address in addresses})
        return await self._store.get(AddressGroupEntry, ids)
