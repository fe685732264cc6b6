"""Security groups: the default group, and which rules can be."""

from typing import Any

import pytest

from alcor.management_plane.security_group import decisions
from alcor.management_plane.security_group.decisions import RuleFields
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.records import SecurityGroupRule

GROUP, DEFAULT_RULES = decisions.default_group("blue", 1)


def made(existing: tuple[SecurityGroupRule, ...] = (), **said: Any) -> SecurityGroupRule:
    fields = RuleFields(**{"security_group_id": GROUP.id, "direction": "ingress", **said})
    return decisions.create_rule(fields, rule_id="r", group=GROUP, existing=existing, now_us=1)


def test_a_default_group_lets_everything_out_and_itself_in() -> None:
    assert [(rule.direction, rule.ethertype, rule.remote_group_id) for rule in DEFAULT_RULES] == [
        ("egress", "IPv4", None),
        ("egress", "IPv6", None),
        ("ingress", "IPv4", GROUP.id),
        ("ingress", "IPv6", GROUP.id),
    ]


def test_a_project_has_always_the_same_default_group_and_projects_differ() -> None:
    again, rules = decisions.default_group("blue", 2)
    assert again.id == GROUP.id
    assert [rule.id for rule in rules] == [rule.id for rule in DEFAULT_RULES]
    other, other_rules = decisions.default_group("red", 1)
    ids = {GROUP.id, other.id} | {rule.id for rule in (*rules, *other_rules)}
    assert len(ids) == 10


def test_protocols_are_known_by_name_and_number() -> None:
    assert decisions.protocol_number("TCP", "IPv4") == 6
    assert decisions.protocol_number("17", "IPv4") == 17
    assert decisions.protocol_number("any", "IPv4") is None
    assert decisions.protocol_number("icmp", "IPv6") == 58
    for wrong in ("256", "-1", "tcpp", "", "٣"):
        with pytest.raises(errors.Invalid):
            decisions.protocol_number(wrong, "IPv4")


def test_a_rule_is_shown_as_it_was_written() -> None:
    assert (made(protocol="tcp").protocol, made(protocol="tcp").protocol_text) == (6, "tcp")
    assert made(protocol="6").protocol_text == "6"
    assert made(protocol="any").protocol_text is None


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "6", "port_min": 80, "port_max": 80},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "description": "another"},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "remote_prefix": Cidr.from_text("0.0.0.0/0")},
    ],
)
def test_what_permits_the_same_is_a_duplicate(other: dict[str, Any]) -> None:
    first = made(protocol="tcp", port_min=80, port_max=80)
    with pytest.raises(errors.Conflict, match=first.id):
        made((first,), **other)


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "udp", "port_min": 80, "port_max": 80},
        {"protocol": "tcp", "port_min": 80, "port_max": 81},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "direction": "egress"},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "ethertype": "IPv6"},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "remote_prefix": Cidr.from_text("10.0.0.0/8")},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "remote_group_id": GROUP.id},
    ],
)
def test_what_permits_something_else_is_no_duplicate(other: dict[str, Any]) -> None:
    assert made((made(protocol="tcp", port_min=80, port_max=80),), **other)


def test_icmp_takes_type_and_code_in_the_port_range() -> None:
    rule = made(protocol="icmp", port_min=0, port_max=0)
    assert (rule.port_min, rule.port_max) == (0, 0)
    assert made(protocol="icmp", port_min=8).port_max is None
