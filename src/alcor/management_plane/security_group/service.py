"""Security groups and their rules: read, decide, commit."""

from collections import defaultdict
from collections.abc import Sequence

from alcor.contracts.store import Exists, Guard, NoneWhere, Query, Store, Taken, Write
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.security_group import decisions, rules, templates
from alcor.management_plane.security_group.decisions import GroupFields, RuleFields
from alcor.model.records import AddressGroup, DefaultRule, Port, RecordSet, SecurityGroup, SecurityGroupRule
from alcor.runtime.clock import Clock, new_ids


class SecurityGroupService:
    """Makes, changes and removes security groups and rules."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def ensure_default(self, caller: Caller) -> None:
        """Make the default group of the caller's project at its first use. Safe under concurrent first uses."""
        group_id = decisions.default_group_id(caller.project_id)

        async def attempt() -> None:
            if group_id in await self._store.get(SecurityGroup, [group_id]):
                return
            wanted = await templates.read(self._store)
            group, made = decisions.default_group(caller.project_id, wanted, self._clock.now_us())
            write = Write(
                request_id=caller.request_id,
                actor=caller.actor,
                project_id=caller.project_id,
                inserts=RecordSet(security_groups=(group,), security_group_rules=made),
                guards=templates.guards_of(made),
                within=decisions.DEFAULT_WITHIN,
            )
            try:
                await self._store.commit(write)
            except Taken:
                return  # Another first use was quicker: the group is there.

        await settlement.settle(attempt)

    async def create(self, caller: Caller, asks: Sequence[GroupFields]) -> tuple[int, list[SecurityGroup]]:
        """Make groups, all or none; give the revision and the records in order."""
        ids = new_ids(len(asks))
        now_us = self._clock.now_us()
        groups = [
            decisions.create(fields, group_id=group_id, caller=caller, now_us=now_us)
            for fields, group_id in zip(asks, ids, strict=True)
        ]
        await self.ensure_default(caller)

        async def attempt() -> tuple[int, list[SecurityGroup]]:
            wanted = await templates.read(self._store)
            decisions.check_batch(len(groups), wanted)
            made = [
                rule
                for group in groups
                for rule in decisions.first_rules(group, wanted, new_ids(len(wanted)), now_us)
            ]
            write = writes.making(
                caller,
                inserts=RecordSet(security_groups=tuple(groups), security_group_rules=tuple(made)),
                guards=templates.guards_of(made),
                within=("security_group", "security_group_rule"),
            )
            return await self._store.commit(write), groups

        return await settlement.settle(attempt)

    async def update(
        self, caller: Caller, group_id: str, fields: GroupFields, *, expected: int | None
    ) -> tuple[int, SecurityGroup]:
        """Change a group. Raises Conflict SecurityGroupInUse for another statefulness while a port is in it."""

        async def attempt() -> tuple[int, SecurityGroup]:
            before = await access.fetch_own(
                self._store, caller, SecurityGroup, group_id, "update_security_group"
            )
            settlement.check_expected(before, expected)
            after = decisions.update(before, fields, now_us=self._clock.now_us())
            guards: tuple[Guard, ...] = ()
            if after.stateful != before.stateful:
                await self._require_unused(before)
                guards = (NoneWhere("port", "security_groups", before.id),)
            write = writes.changing(caller, before, updates=RecordSet(security_groups=(after,)), guards=guards)
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, group_id: str, *, expected: int | None) -> int:
        """Remove a group, its rules, and the rules and default rules of others that name it as remote.

        Raises Conflict SecurityGroupInUse while a port is in it.
        """

        async def attempt() -> int:
            group = await access.fetch_own(
                self._store, caller, SecurityGroup, group_id, "delete_security_group"
            )
            settlement.check_expected(group, expected)
            decisions.check_deletable(group, caller)
            await self._require_unused(group)
            gone = {rule.id: rule for rule in await self._rules("security_group_id", [group.id])}
            naming = await self._rules("remote_group_id", [group.id])
            gone |= {rule.id: rule for rule in naming}
            about = await self._store.select(DefaultRule, Query(where={"remote_group_id": (group.id,)}))
            others = await self._store.get(
                SecurityGroup, sorted({rule.security_group_id for rule in naming} - {group.id})
            )
            now_us = self._clock.now_us()
            write = writes.removing(
                caller,
                group,
                updates=RecordSet(
                    security_groups=tuple(settlement.revised(other, now_us) for other in others.values())
                ),
                deletes=RecordSet(
                    security_groups=(group,),
                    security_group_rules=tuple(gone.values()),
                    rbac_policies=tuple(await access.policies_on(self._store, group.id)),
                    default_rules=tuple(about),
                ),
                guards=(
                    NoneWhere("port", "security_groups", group.id),
                    NoneWhere("security_group_rule", "security_group_id", group.id),  # but for these rules
                    NoneWhere("security_group_rule", "remote_group_id", group.id),
                    NoneWhere("rbac_policy", "object_id", group.id),
                    NoneWhere("default_security_group_rule", "remote_group_id", group.id),
                    *writes.unchanged(others.values()),
                ),
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def create_rules(
        self, caller: Caller, asks: Sequence[RuleFields]
    ) -> tuple[int, list[SecurityGroupRule]]:
        """Make rules, all or none. Their groups are revised, so that no duplicate slips in beside them."""
        ids = new_ids(len(asks))
        group_ids = sorted({fields.security_group_id for fields in asks})
        remote_ids = rules.ids_of(asks, "remote_group_id")
        addresses_ids = rules.ids_of(asks, "remote_address_group_id")

        async def attempt() -> tuple[int, list[SecurityGroupRule]]:
            groups = await access.fetch_all_own(
                self._store, caller, SecurityGroup, group_ids, "create_security_group_rule"
            )
            await access.fetch(self._store, caller, SecurityGroup, sorted(set(remote_ids) - set(group_ids)))
            _, grants = await access.fetch_granted(self._store, caller, AddressGroup, addresses_ids)
            existing: dict[str, list[SecurityGroupRule]] = defaultdict(list)
            for rule in await self._rules("security_group_id", group_ids):
                existing[rule.security_group_id].append(rule)
            now_us = self._clock.now_us()
            made: dict[str, list[SecurityGroupRule]] = defaultdict(list)
            for fields, rule_id in zip(asks, ids, strict=True):
                group = groups[fields.security_group_id]
                of_group = made[group.id]
                of_group.append(
                    decisions.create_rule(
                        fields,
                        rule_id=rule_id,
                        group=group,
                        existing=existing[group.id],
                        asked=of_group,
                        now_us=now_us,
                    )
                )
            inserted = sorted((rule for of_group in made.values() for rule in of_group), key=lambda it: it.id)
            owners = [groups[group_id] for group_id in group_ids]
            write = writes.making(
                caller,
                inserts=RecordSet(security_group_rules=tuple(inserted)),
                within=("security_group_rule",),
                updates=RecordSet(security_groups=tuple(settlement.revised(group, now_us) for group in owners)),
                guards=(
                    *writes.unchanged(owners),
                    *(Exists("security_group", remote_id) for remote_id in remote_ids),
                    *(Exists("address_group", addresses_id) for addresses_id in addresses_ids),
                    *writes.unchanged(grants.values()),
                ),
            )
            return await self._store.commit(write), inserted

        return await settlement.settle(attempt)

    async def delete_rule(self, caller: Caller, rule_id: str, *, expected: int | None) -> int:
        """Remove a rule; its group is revised."""

        async def attempt() -> int:
            rule = await access.fetch_one(self._store, caller, SecurityGroupRule, rule_id)
            settlement.check_expected(rule, expected)
            groups = await self._store.get(SecurityGroup, [rule.security_group_id])
            now_us = self._clock.now_us()
            write = writes.removing(
                caller,
                rule,
                updates=RecordSet(
                    security_groups=tuple(settlement.revised(group, now_us) for group in groups.values())
                ),
                deletes=RecordSet(security_group_rules=(rule,)),
                guards=writes.unchanged(groups.values()),
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def rules_of(self, groups: Sequence[SecurityGroup]) -> dict[str, list[SecurityGroupRule]]:
        """Give the rules of each group, by id."""
        by_group: dict[str, list[SecurityGroupRule]] = {group.id: [] for group in groups}
        if by_group:
            for rule in await self._rules("security_group_id", tuple(by_group)):
                by_group[rule.security_group_id].append(rule)
        return by_group

    async def _require_unused(self, group: SecurityGroup) -> None:
        if await self._store.select(Port, Query(where={"security_groups": (group.id,)}, limit=1)):
            raise decisions.in_use(group.id)

    async def _rules(self, column: str, group_ids: Sequence[str]) -> list[SecurityGroupRule]:
        return await self._store.select(SecurityGroupRule, Query(where={column: tuple(group_ids)}))
