"""What security groups, their rules and the rules of new groups may be. Pure."""

import functools
import uuid
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.caller import Caller
from alcor.management_plane.security_group import rules
from alcor.management_plane.security_group.rules import Prefix
from alcor.management_plane.settlement import given, revised
from alcor.model import errors
from alcor.model.ids import DefaultRuleId, GroupId, ProjectId, RuleId
from alcor.model.records import PARENT, DefaultRule, SecurityGroup, SecurityGroupRule

DEFAULT_NAME = "default"
# A project's default group is made without being asked for: as in Neutron, its rules must be within the quota.
DEFAULT_WITHIN = ("security_group_rule",)
DEFAULT_RULES_MAX = 100  # each new group gets as many rules
FIRST_RULES_MAX = 100_000  # made along with the groups of one call
# The default group's id is made from its project, so that 32 first calls at once make the same record: all but
# one find the id taken, and reading it is one read by key.
_DEFAULT_NAMESPACE = uuid.UUID("6f2a5b1e-3f0e-5c39-9d0b-27d1c3f4a8e6")


class GroupFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a security group. UNSET: not said."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET
    stateful: bool | UnsetType = UNSET


class RuleFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of a rule. `protocol`: name or number as text; None: any."""

    security_group_id: str
    direction: str
    description: str = ""
    ethertype: str = "IPv4"
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_group_id: str | None = None
    remote_prefix: Prefix | None = None
    remote_address_group_id: str | None = None
    tags: tuple[str, ...] = ()
    project_id: str | UnsetType = UNSET


class DefaultRuleFields(msgspec.Struct, frozen=True, kw_only=True):
    """What an administrator says of a rule that new groups get. `remote_group_id` may be PARENT."""

    direction: str
    used_in_default_sg: bool = False
    used_in_non_default_sg: bool = True
    description: str = ""
    ethertype: str = "IPv4"
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_group_id: str | None = None
    remote_prefix: Prefix | None = None
    remote_address_group_id: str | None = None
    project_id: str | UnsetType = UNSET


@functools.lru_cache(maxsize=4096)
def default_group_id(project_id: str) -> GroupId:
    """Name a project's default group. The same for the same project, everywhere."""
    return GroupId(str(uuid.uuid5(_DEFAULT_NAMESPACE, project_id)))


def belongs_to_default(rule: SecurityGroupRule) -> bool:
    """Is it a rule of its project's default group?"""
    return rule.security_group_id == default_group_id(rule.project_id)


def default_group(
    project_id: str, templates: Iterable[DefaultRule], now_us: int
) -> tuple[SecurityGroup, tuple[SecurityGroupRule, ...]]:
    """Make a project's default group, with the rules that the operator wants there."""
    group = SecurityGroup(
        id=default_group_id(project_id),
        project_id=ProjectId(project_id),
        name=DEFAULT_NAME,
        description="Default security group",
        is_default=True,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    wanted = [template for template in templates if template.used_in_default_sg]
    ids = [str(uuid.uuid5(uuid.UUID(group.id), template.id)) for template in wanted]
    return group, _rules_from(wanted, group, ids, now_us)


def first_rules(
    group: SecurityGroup, templates: Iterable[DefaultRule], ids: Sequence[str], now_us: int
) -> tuple[SecurityGroupRule, ...]:
    """Make the rules that a new group starts with. `ids`: as many as there are templates, at least."""
    return _rules_from(
        [template for template in templates if template.used_in_non_default_sg], group, ids, now_us
    )


def check_batch(groups: int, templates: Sequence[DefaultRule]) -> None:
    """Raise Invalid for a call that would make too many rules along with its groups."""
    count = groups * len(templates)
    if count > FIRST_RULES_MAX:
        raise errors.Invalid(
            f"{groups} security groups with {count} rules in one request: at most {FIRST_RULES_MAX} are made.",
            reason="BatchTooLarge",
        )


def create(fields: GroupFields, *, group_id: str, caller: Caller, now_us: int) -> SecurityGroup:
    """Make the record of a new group. Raises Conflict for the name of the default group."""
    _check_name(fields)
    group = SecurityGroup(
        id=GroupId(group_id),
        project_id=caller.project_id,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    return msgspec.structs.replace(group, **given(fields))


def update(group: SecurityGroup, fields: GroupFields, *, now_us: int) -> SecurityGroup:
    """Give the group as the client wants it. Raises Conflict when the default group is renamed."""
    if fields.name is not UNSET and fields.name != group.name:
        if group.is_default:
            raise errors.Conflict(
                "Updating default security group not allowed.", reason="SecurityGroupCannotUpdateDefault"
            )
        _check_name(fields)
    return revised(group, now_us, **given(fields))


def check_deletable(group: SecurityGroup, caller: Caller) -> None:
    """Raise Conflict for a default group, unless an administrator asks."""
    if group.is_default and not caller.is_admin:
        raise errors.Conflict(
            "Insufficient rights for removing default security group.",
            reason="SecurityGroupCannotRemoveDefault",
        )


def check_together(groups: Iterable[SecurityGroup]) -> None:
    """Raise Conflict for groups of one port of which some are stateless and some are not."""
    if len({group.stateful for group in groups}) > 1:
        raise errors.Conflict(
            "Error Cannot apply both stateful and stateless security groups on the same port at the same time "
            "while attempting the operation.",
            reason="SecurityGroupConflict",
        )


def in_use(group_id: str) -> errors.Conflict:
    """Make the error for what cannot be done to a group while ports are in it."""
    return errors.Conflict(f"Security Group {group_id} in use.", reason="SecurityGroupInUse")


def create_rule(
    fields: RuleFields,
    *,
    rule_id: str,
    group: SecurityGroup,
    existing: Iterable[SecurityGroupRule],
    asked: Iterable[SecurityGroupRule] = (),
    now_us: int,
) -> SecurityGroupRule:
    """Make the record of a new rule of a group. `asked`: those made before it by the same call.

    Raises Invalid, and Conflict when a rule that permits the same is there.
    """
    rule = SecurityGroupRule(
        id=RuleId(rule_id),
        project_id=group.project_id,
        security_group_id=group.id,
        description=fields.description,
        tags=fields.tags,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
        **rules.terms(fields),
    )
    permission = rules.permission(rule)
    if any(rules.permission(other) == permission for other in asked):
        raise errors.Conflict(
            "Duplicate Security Group Rule in POST.", reason="DuplicateSecurityGroupRuleInPost"
        )
    for other in existing:
        if rules.permission(other) == permission:
            raise errors.Conflict(
                f"Security group rule already exists. Rule id is {other.id}.", reason="SecurityGroupRuleExists"
            )
    return rule


def create_default_rules(
    asks: Sequence[DefaultRuleFields], *, ids: Sequence[str], existing: Sequence[DefaultRule], now_us: int
) -> list[DefaultRule]:
    """Make the records of new default rules.

    Raises Invalid, Conflict for what new groups would get twice, and LimitReached.
    """
    made: list[DefaultRule] = []
    for fields, rule_id in zip(asks, ids, strict=True):
        rule = DefaultRule(
            id=DefaultRuleId(rule_id),
            project_id=ProjectId(""),
            description=fields.description,
            created_at=now_us,
            updated_at=now_us,
            revision_number=1,
            used_in_default_sg=fields.used_in_default_sg,
            used_in_non_default_sg=fields.used_in_non_default_sg,
            **rules.terms(fields),
        )
        if any(_is_same_default(rule, other) for other in made):
            raise errors.Conflict(
                "Duplicate Default Security Group Rule in POST.", reason="DuplicateDefaultSgRuleInPost"
            )
        for other in existing:
            if _is_same_default(rule, other):
                raise errors.Conflict(
                    f"Default Security group rule already exists. Rule id is {other.id}.",
                    reason="DefaultSecurityGroupRuleExists",
                )
        made.append(rule)
    if len(existing) + len(made) > DEFAULT_RULES_MAX:
        raise errors.Conflict(
            "Quota exceeded for resources: ['default_security_group_rule'].", reason="OverQuota"
        )
    return made


def _is_same_default(one: DefaultRule, other: DefaultRule) -> bool:
    """Would a new group get two rules that permit the same?"""
    together = (one.used_in_default_sg and other.used_in_default_sg) or (
        one.used_in_non_default_sg and other.used_in_non_default_sg
    )
    return together and rules.permission(one) == rules.permission(other)


def _rules_from(
    templates: Sequence[DefaultRule], group: SecurityGroup, ids: Sequence[str], now_us: int
) -> tuple[SecurityGroupRule, ...]:
    """Make rules of templates, each once: two administrators may have made equal ones at the same moment."""
    made = [
        SecurityGroupRule(
            id=RuleId(rule_id),
            project_id=group.project_id,
            security_group_id=group.id,
            direction=template.direction,
            ethertype=template.ethertype,
            protocol=template.protocol,
            protocol_text=template.protocol_text,
            port_min=template.port_min,
            port_max=template.port_max,
            remote_group_id=_remote(template, group),
            remote_prefix=template.remote_prefix,
            prefix_text=template.prefix_text,
            remote_address_group_id=template.remote_address_group_id,
            created_at=now_us,
            updated_at=now_us,
            revision_number=1,
        )
        for template, rule_id in zip(templates, ids, strict=False)
    ]
    return tuple({rules.permission(rule): rule for rule in reversed(made)}.values())[::-1]


def _remote(template: DefaultRule, group: SecurityGroup) -> GroupId | None:
    if template.remote_group_id == PARENT:
        return group.id
    return None if template.remote_group_id is None else GroupId(template.remote_group_id)


def _check_name(fields: GroupFields) -> None:
    if fields.name is not UNSET and fields.name.lower() == DEFAULT_NAME:
        raise errors.Conflict(
            "Default security group already exists.", reason="SecurityGroupDefaultAlreadyExists"
        )
