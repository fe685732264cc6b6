"""Security groups and their rules on the wire."""

import asyncio
from collections.abc import Sequence

from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import validation
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection, Unchangeable
from alcor.management_plane.api.rule_attributes import normalized, rule_attributes, rule_part
from alcor.management_plane.api.standard import STANDARD, Answer, reference, standard
from alcor.management_plane.caller import Caller
from alcor.management_plane.security_group import decisions
from alcor.management_plane.security_group.decisions import GroupFields, RuleFields
from alcor.management_plane.security_group.service import SecurityGroupService
from alcor.model.records import RecordSet, SecurityGroup, SecurityGroupRule

GROUPS = Resource(
    singular="security_group",
    plural="security_groups",
    kind=SecurityGroup,
    fields=GroupFields,
    attributes=(
        *STANDARD,
        Attribute(name="stateful", parse=validation.boolean, post=True, put=True, filterable=True),
        Attribute(name="shared", filterable=True),
        Attribute(name="security_group_rules"),
    ),
)

RULES = Resource(
    singular="security_group_rule",
    plural="security_group_rules",
    kind=SecurityGroupRule,
    fields=RuleFields,
    attributes=(
        *(attribute for attribute in STANDARD if attribute.name not in ("name", "tags")),
        reference("security_group_id"),
        *rule_attributes(validation.uuid_text, has_columns=True),
        Attribute(name="normalized_cidr", filterable=True, sortable=True),
        Attribute(name="belongs_to_default_sg", filterable=True),
    ),
)


class RuleAnswer(Answer, kw_only=True):
    """A rule as it is shown."""

    security_group_id: str
    direction: str
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_group_id: str | None
    remote_ip_prefix: str | None
    normalized_cidr: str | None
    remote_address_group_id: str | None
    belongs_to_default_sg: bool


class GroupAnswer(Answer, kw_only=True):
    """A security group as it is shown, with its rules."""

    security_group_rules: list[RuleAnswer]
    shared: bool
    stateful: bool = True


class _RuleChanges(Unchangeable):
    def __init__(self, service: SecurityGroupService) -> None:
        self._service = service

    async def delete(self, caller: Caller, record_id: str, *, expected: int | None) -> int:
        return await self._service.delete_rule(caller, record_id, expected=expected)


def group_collection(store: Store, service: SecurityGroupService) -> Collection[GroupFields]:
    """Serve security groups; looking at the list is a first use of the default group."""

    async def answers(call: Call, groups: Sequence[SecurityGroup]) -> list[GroupAnswer]:
        rules, shared = await asyncio.gather(
            service.rules_of(groups), access.shared_ids(store, call.caller, groups)
        )
        return [_group_answer(group, rules[group.id], shared=group.id in shared) for group in groups]

    async def as_made(call: Call, made: RecordSet) -> list[GroupAnswer]:
        rules: dict[str, list[SecurityGroupRule]] = {group.id: [] for group in made.security_groups}
        for rule in made.security_group_rules:
            rules[rule.security_group_id].append(rule)
        return [_group_answer(group, rules[group.id], shared=False) for group in made.security_groups]

    async def before_list(call: Call) -> None:
        await service.ensure_default(call.caller)

    return Collection(
        GROUPS,
        store,
        service,
        answers,
        create=service.create,
        as_made=as_made,
        before_list=before_list,
    )


def rule_collection(store: Store, service: SecurityGroupService) -> Collection[RuleFields]:
    """Serve rules."""

    async def answers(call: Call, rules: Sequence[SecurityGroupRule]) -> list[RuleAnswer]:
        return [_rule_answer(rule) for rule in rules]

    async def before_list(call: Call) -> None:
        await service.ensure_default(call.caller)

    return Collection(
        RULES,
        store,
        _RuleChanges(service),
        answers,
        create=service.create_rules,
        before_list=before_list,
        has_update=False,
    )


def _group_answer(group: SecurityGroup, rules: Sequence[SecurityGroupRule], *, shared: bool) -> GroupAnswer:
    return GroupAnswer(
        **standard(group),  # type: ignore[arg-type]  # the common part, by name
        security_group_rules=[_rule_answer(rule) for rule in rules],
        stateful=group.stateful,
        shared=shared,
    )


def _rule_answer(rule: SecurityGroupRule) -> RuleAnswer:
    return RuleAnswer(
        **standard(rule),  # type: ignore[arg-type]  # the common parts, by name
        **rule_part(rule),  # type: ignore[arg-type]
        security_group_id=rule.security_group_id,
        normalized_cidr=normalized(rule),
        belongs_to_default_sg=decisions.belongs_to_default(rule),
    )
