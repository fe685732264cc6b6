"""What security groups and their rules may be. Pure."""

import functools
import uuid
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.caller import Caller
from alcor.management_plane.settlement import given, revised
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.ids import GroupId, ProjectId, RuleId
from alcor.model.records import SecurityGroup, SecurityGroupRule

DEFAULT_NAME = "default"
# A project's default group is made without being asked for: as in Neutron, its rules must be within the quota.
DEFAULT_WITHIN = ("security_group_rule",)
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
PROTOCOLS = {
    "hopopt": 0,
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "egp": 8,
    "udp": 17,
    "dccp": 33,
    "ipv6-encap": 41,
    "ipv6-route": 43,
    "ipv6-frag": 44,
    "rsvp": 46,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ospf": 89,
    "vrrp": 112,
    "pgm": 113,
    "sctp": 132,
    "udplite": 136,
}
_IPV6_ONLY = frozenset({41, 43, 44, 58, 59, 60})
# The default group's id is made from its project, so that 32 first calls at once make the same record: all but
# one find the id taken, and reading it is one read by key.
_DEFAULT_NAMESPACE = uuid.UUID("6f2a5b1e-3f0e-5c39-9d0b-27d1c3f4a8e6")


class GroupFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a security group. UNSET: not said."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET


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
    remote_prefix: Cidr | None = None
    tags: tuple[str, ...] = ()
    project_id: str | UnsetType = UNSET


@functools.lru_cache(maxsize=4096)
def default_group_id(project_id: str) -> GroupId:
    """Name a project's default group. The same for the same project, everywhere."""
    return GroupId(str(uuid.uuid5(_DEFAULT_NAMESPACE, project_id)))


def default_group(project_id: str, now_us: int) -> tuple[SecurityGroup, tuple[SecurityGroupRule, ...]]:
    """Make a project's default group: everything out, and in from itself."""
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
    ids = [str(uuid.uuid5(uuid.UUID(group.id), str(number))) for number in range(4)]
    inward = tuple(
        _rule(group, rule_id, "ingress", ethertype, now_us, remote=group.id)
        for rule_id, ethertype in zip(ids[2:], ("IPv4", "IPv6"), strict=True)
    )
    return group, (*outward_rules(group, ids[:2], now_us), *inward)


def outward_rules(group: SecurityGroup, ids: Sequence[str], now_us: int) -> tuple[SecurityGroupRule, ...]:
    """Make the two rules that every new group starts with: everything out."""
    return tuple(
        _rule(group, rule_id, "egress", ethertype, now_us)
        for rule_id, ethertype in zip(ids, ("IPv4", "IPv6"), strict=True)
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


def create_rule(
    fields: RuleFields,
    *,
    rule_id: str,
    group: SecurityGroup,
    existing: Sequence[SecurityGroupRule],
    now_us: int,
) -> SecurityGroupRule:
    """Make the record of a new rule of the group. Raises Invalid, and Conflict for a duplicate."""
    number = protocol_number(fields.protocol, fields.ethertype)
    _check_ports(fields, number)
    _check_remote(fields)
    rule = SecurityGroupRule(
        id=RuleId(rule_id),
        project_id=group.project_id,
        security_group_id=group.id,
        direction=fields.direction,
        description=fields.description,
        ethertype=fields.ethertype,
        protocol=number,
        protocol_text=None if number is None else fields.protocol,
        port_min=fields.port_min,
        port_max=fields.port_max,
        remote_group_id=None if fields.remote_group_id is None else GroupId(fields.remote_group_id),
        remote_prefix=fields.remote_prefix,
        tags=fields.tags,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    permission = _permission(rule)
    for other in existing:
        if _permission(other) == permission:
            raise errors.Conflict(
                f"Security group rule already exists. Rule id is {other.id}.", reason="SecurityGroupRuleExists"
            )
    return rule


def protocol_number(text: str | None, ethertype: str) -> int | None:
    """Give the IP protocol number of a name or number; None for any. Raises Invalid."""
    if text is None or text.lower() == "any":
        return None
    lowered = text.lower()
    number = PROTOCOLS.get(lowered, int(lowered) if lowered.isascii() and lowered.isdigit() else -1)
    if not 0 <= number <= 255:
        raise _invalid(
            f"Security group rule protocol {text} not supported. Only protocol values "
            f"{sorted(PROTOCOLS)} and integer representations [0 to 255] are supported.",
            "SecurityGroupRuleInvalidProtocol",
        )
    if ethertype == "IPv6" and number == ICMP:
        return ICMPV6
    if ethertype == "IPv4" and number in _IPV6_ONLY:
        raise _invalid(
            f"Invalid ethertype {ethertype} for protocol {text}.", "SecurityGroupEthertypeConflictWithProtocol"
        )
    return number


def _rule(
    group: SecurityGroup,
    rule_id: str,
    direction: str,
    ethertype: str,
    now_us: int,
    remote: GroupId | None = None,
) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=RuleId(rule_id),
        project_id=group.project_id,
        security_group_id=group.id,
        direction=direction,
        ethertype=ethertype,
        remote_group_id=remote,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )


def _check_name(fields: GroupFields) -> None:
    if fields.name is not UNSET and fields.name.lower() == DEFAULT_NAME:
        raise errors.Conflict(
            "Default security group already exists.", reason="SecurityGroupDefaultAlreadyExists"
        )


def _check_ports(fields: RuleFields, protocol: int | None) -> None:
    low, high = fields.port_min, fields.port_max
    if low is None and high is None:
        return
    if protocol is None:
        raise _invalid(
            "Must also specify protocol if port range is given.", "SecurityGroupProtocolRequiredWithPorts"
        )
    if protocol in (ICMP, ICMPV6):
        _check_icmp(low, high)
    elif protocol in (TCP, UDP):
        if low is None or high is None or low > high:
            raise _invalid(
                "For TCP/UDP protocols, port_range_min must be <= port_range_max",
                "SecurityGroupInvalidPortRange",
            )
        if low == 0:
            raise _invalid("Invalid value for port 0", "SecurityGroupInvalidPortValue")
    else:
        # Open vSwitch matches ports of TCP and UDP; what cannot be enforced is refused (law 7).
        raise _invalid(
            f"Port range cannot be specified for protocol {fields.protocol}: only for tcp, udp and icmp.",
            "SecurityGroupInvalidProtocolForPort",
        )


def _check_icmp(icmp_type: int | None, code: int | None) -> None:
    for field, value in (("port_range_min (type)", icmp_type), ("port_range_max (code)", code)):
        if value is not None and value > 255:
            raise _invalid(
                f"Invalid value for ICMP {field} {value}. It must be 0 to 255.", "SecurityGroupInvalidIcmpValue"
            )
    if icmp_type is None:
        raise _invalid(
            f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing.",
            "SecurityGroupMissingIcmpType",
        )


def _check_remote(fields: RuleFields) -> None:
    if fields.remote_prefix is None:
        return
    if fields.remote_group_id is not None:
        raise _invalid(
            "Only remote_ip_prefix or remote_group_id may be provided.", "SecurityGroupMultipleRemoteEntities"
        )
    is_ipv4 = len(fields.remote_prefix.network) == 4
    if is_ipv4 != (fields.ethertype == "IPv4"):
        raise _invalid(
            f"Conflicting value ethertype {fields.ethertype} for CIDR {fields.remote_prefix}",
            "SecurityGroupRuleParameterConflict",
        )


def _permission(rule: SecurityGroupRule) -> tuple[object, ...]:
    # The whole address space as prefix permits what no prefix does.
    prefix = None if rule.remote_prefix is None or rule.remote_prefix[1] == 0 else tuple(rule.remote_prefix)
    return (
        rule.direction,
        rule.ethertype,
        rule.protocol,
        rule.port_min,
        rule.port_max,
        rule.remote_group_id,
        prefix,
    )


def _invalid(message: str, reason: str) -> errors.Invalid:
    return errors.Invalid(message, reason=reason)
