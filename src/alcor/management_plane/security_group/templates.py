"""The rules that new security groups get: read, decide, commit. Few, and the operator's."""

from collections.abc import Iterable, Sequence

from alcor.contracts.store import Exists, Guard, Query, Store, Write
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.security_group import decisions, rules
from alcor.management_plane.security_group.decisions import DefaultRuleFields
from alcor.model.records import (
    PARENT,
    AddressGroup,
    DefaultRule,
    RecordSet,
    SecurityGroup,
    SecurityGroupRule,
)
from alcor.runtime.clock import Clock, new_ids


async def read(store: Store) -> list[DefaultRule]:
    """Give all of them."""
    return await store.select(DefaultRule, Query())


def guards_of(made: Iterable[SecurityGroupRule]) -> tuple[Guard, ...]:
    """Give the guards that what rules made of templates name is still there."""
    remotes: set[tuple[str, str]] = set()
    for rule in made:
        if rule.remote_address_group_id is not None:
            remotes.add(("address_group", rule.remote_address_group_id))
        if rule.remote_group_id not in (None, rule.security_group_id):
            remotes.add(("security_group", str(rule.remote_group_id)))
    return tuple(Exists(kind, id_) for kind, id_ in sorted(remotes))


class DefaultRuleService:
    """Makes and removes them; they are never changed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, caller: Caller, asks: Sequence[DefaultRuleFields]) -> tuple[int, list[DefaultRule]]:
        """Make default rules, all or none; give the revision and the records in order."""
        ids = new_ids(len(asks))

        async def attempt() -> tuple[int, list[DefaultRule]]:
            now_us = self._clock.now_us()
            existing = await read(self._store)
            made = decisions.create_default_rules(asks, ids=ids, existing=existing, now_us=now_us)
            groups = [id_ for id_ in rules.ids_of(asks, "remote_group_id") if id_ != PARENT]
            addresses = rules.ids_of(asks, "remote_address_group_id")
            await access.fetch(self._store, caller, SecurityGroup, groups)
            await access.fetch(self._store, caller, AddressGroup, addresses)
            write = writes.making(
                caller,
                inserts=RecordSet(default_rules=tuple(made)),
                guards=(
                    *(Exists("security_group", id_) for id_ in groups),
                    *(Exists("address_group", id_) for id_ in addresses),
                ),
                within=(),
            )
            return await self._store.commit(write), made

        return await settlement.settle(attempt)

    async def fetch(self, rule_id: str) -> DefaultRule:
        """Read one: they are nobody's, and everybody may see them. Raises Missing."""
        found = await self._store.get(DefaultRule, [rule_id])
        if rule_id not in found:
            raise access.missing(DefaultRule, rule_id)
        return found[rule_id]

    async def delete(self, caller: Caller, rule_id: str, *, expected: int | None) -> int:
        """Remove a default rule; groups keep the rules that they got from it."""

        async def attempt() -> int:
            rule = await self.fetch(rule_id)
            settlement.check_expected(rule, expected)
            write = Write(
                request_id=caller.request_id,
                actor=caller.actor,
                project_id=caller.project_id,
                deletes=RecordSet(default_rules=(rule,)),
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)
