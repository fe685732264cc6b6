"""The attributes that rules of security groups and the templates of rules have in common."""

from alcor.management_plane.api import validation
from alcor.management_plane.api.accepts import accepts, schema_of
from alcor.management_plane.api.attribute import Attribute, Parse
from alcor.management_plane.security_group.rules import Prefix
from alcor.model import errors
from alcor.model.addressing import Cidr, prefix_from_text
from alcor.model.records import DefaultRule, SecurityGroupRule

ETHERTYPES = ("IPv4", "IPv6")
_number = validation.integer(0, 65535)


@accepts({"enum": [*ETHERTYPES, "ipv4", "ipv6"]})
def ethertype(value: object) -> object:
    """Accept an ethertype in whatever case. Raises Invalid."""
    for known in ETHERTYPES:
        if isinstance(value, str) and value.lower() == known.lower():
            return known
    raise errors.Invalid(
        f"Security group rule for ethertype '{value}' not supported. Allowed values are {list(ETHERTYPES)}.",
        reason="SecurityGroupRuleInvalidEtherType",
    )


@accepts({"anyOf": [validation.string(40), {"type": "integer"}, {"type": "null"}]})
def protocol(value: object) -> object:
    """Accept the name or number of a protocol, as text; which there are, the service knows."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None if value is None else validation.text(40)(value)


@accepts({"anyOf": [schema_of(_number) or {}, {"type": "null"}]})
def port(value: object) -> int | None:
    """Accept a port, or a type or code of ICMP. Raises Invalid."""
    try:
        return None if value is None else int(str(_number(value)))
    except ValueError:
        raise errors.Invalid(
            f"Invalid value for port {value}", reason="SecurityGroupInvalidPortValue"
        ) from None


@accepts({"anyOf": [validation.CIDR, validation.IP, {"enum": [None, ""]}]})
def prefix(value: object) -> Prefix | None:
    """Accept a network or an address, host bits and all; null and the empty text are none. Raises Invalid."""
    if value is None or value == "":
        return None
    try:
        if not isinstance(value, str):
            raise ValueError("not a text")
        return Prefix(*prefix_from_text(value))
    except ValueError:
        raise errors.Invalid(f"Invalid CIDR {value} given as IP prefix.", reason="InvalidCIDR") from None


def rule_attributes(remote_group: Parse, *, has_columns: bool) -> tuple[Attribute, ...]:
    """Give the attributes. `remote_group`: what it may be; `has_columns`: the store finds rules by them."""
    return (
        Attribute(
            name="direction",
            parse=validation.choice("ingress", "egress"),
            post=True,
            required=True,
            filterable=True,
            sortable=True,
        ),
        Attribute(name="ethertype", parse=ethertype, post=True, filterable=True, sortable=True),
        Attribute(name="protocol", parse=protocol, post=True, filterable=True, sortable=True),
        Attribute(
            name="port_range_min", field="port_min", parse=port, post=True, filterable=True, sortable=True
        ),
        Attribute(
            name="port_range_max", field="port_max", parse=port, post=True, filterable=True, sortable=True
        ),
        Attribute(
            name="remote_group_id",
            parse=validation.optional(remote_group),
            post=True,
            filterable=True,
            sortable=True,
            column="remote_group_id" if has_columns else None,
        ),
        Attribute(
            name="remote_ip_prefix",
            field="remote_prefix",
            parse=prefix,
            post=True,
            filterable=True,
            sortable=True,
        ),
        Attribute(
            name="remote_address_group_id",
            parse=validation.optional(validation.uuid_text),
            post=True,
            filterable=True,
            sortable=True,
            column="remote_address_group_id" if has_columns else None,
        ),
    )


def rule_part(rule: SecurityGroupRule | DefaultRule) -> dict[str, object]:
    """Give the common part of their answers."""
    return {
        "direction": rule.direction,
        "ethertype": rule.ethertype,
        "protocol": rule.protocol_text,
        "port_range_min": rule.port_min,
        "port_range_max": rule.port_max,
        "remote_group_id": rule.remote_group_id,
        "remote_ip_prefix": rule.prefix_text or normalized(rule),
        "remote_address_group_id": rule.remote_address_group_id,
    }


def normalized(rule: SecurityGroupRule | DefaultRule) -> str | None:
    """Write the prefix that a rule is about without host bits."""
    return None if rule.remote_prefix is None else str(Cidr(*rule.remote_prefix))
