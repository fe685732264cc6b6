"""Security groups: the default group, and which rules can be."""

from typing import Any

import pytest

from alcor.management_plane.security_group import decisions
from alcor.management_plane.security_group.decisions import DefaultRuleFields, RuleFields
from alcor.management_plane.security_group.rules import Prefix
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.default_rules import BUILT_IN
from alcor.model.records import PARENT, DefaultRule, SecurityGroup, SecurityGroupRule

GROUP, DEFAULT_RULES = decisions.default_group("blue", BUILT_IN, 1)


def prefix(text: str) -> Prefix:
    return Prefix(text, Cidr.from_text(text))


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
    again, rules = decisions.default_group("blue", BUILT_IN, 2)
    assert again.id == GROUP.id
    assert [rule.id for rule in rules] == [rule.id for rule in DEFAULT_RULES]
    other, other_rules = decisions.default_group("red", BUILT_IN, 1)
    ids = {GROUP.id, other.id} | {rule.id for rule in (*rules, *other_rules)}
    assert len(ids) == 10


PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "igmp": 2, "ip": None,
    "ipip": 4, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136,
    "vrrp": 112,
}  # fmt: skip


@pytest.mark.parametrize(("name", "number"), PROTOCOLS.items())
def test_protocols_are_known_by_name(name: str, number: int | None) -> None:
    rule = made(protocol=name.upper())
    assert (rule.protocol, rule.protocol_text) == (number, name)


def test_protocols_are_known_by_number() -> None:
    assert [made(protocol=str(number)).protocol for number in (0, 6, 200, 255)] == [0, 6, 200, 255]
    assert made(protocol="any").protocol is None
    for wrong in ("256", "-1", "tcpp", "", "٣", "0006"):
        with pytest.raises(errors.Invalid) as refused:
            made(protocol=wrong)
        assert refused.value.reason == "SecurityGroupRuleInvalidProtocol"


@pytest.mark.parametrize(
    ("said", "shown"),
    [("icmp", "ipv6-icmp"), ("icmpv6", "ipv6-icmp"), ("1", "58"), ("58", "58"), ("ipv6-frag", "ipv6-frag")],
)
def test_icmp_of_ipv6_has_one_name(said: str, shown: str) -> None:
    assert made(protocol=said, ethertype="IPv6").protocol_text == shown


@pytest.mark.parametrize("said", ["icmpv6", "ipv6-icmp", "58", "ipv6-route", "43"])
def test_what_is_of_ipv6_is_refused_for_ipv4(said: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        made(protocol=said)
    assert refused.value.reason == "SecurityGroupEthertypeConflictWithProtocol"


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp", "132"])
def test_ports_may_be_said_where_they_are_matched(protocol: str) -> None:
    assert made(protocol=protocol, port_min=80, port_max=90).port_max == 90


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"protocol": "dccp", "port_min": 1, "port_max": 2}, "SecurityGroupInvalidProtocolForPort"),
        ({"protocol": "136", "port_min": 1, "port_max": 2}, "SecurityGroupInvalidProtocolForPort"),
        ({"protocol": "gre", "port_min": 1, "port_max": 2}, "SecurityGroupInvalidProtocolForPort"),
        ({"protocol": "ip", "port_min": 1, "port_max": 2}, "SecurityGroupInvalidProtocolForPort"),
        ({"port_min": 1, "port_max": 2}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"protocol": "sctp", "port_min": 2, "port_max": 1}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_min": 2}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_min": 0, "port_max": 1}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "icmp", "port_min": 256}, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "icmp", "port_max": 3}, "SecurityGroupMissingIcmpType"),
        ({"remote_prefix": prefix("fd00::/8")}, "SecurityGroupRuleParameterConflict"),
        ({"remote_prefix": prefix("10.0.0.0/8"), "remote_group_id": "g"}, "SecurityGroupMultipleRemoteEntites"),
        ({"remote_address_group_id": "a", "remote_group_id": "g"}, "SecurityGroupMultipleRemoteEntites"),
    ],
)
def test_what_cannot_be_is_refused_as_neutron_does(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        made(**said)
    assert refused.value.reason == reason


@pytest.mark.parametrize("protocol", ["tcp", "dccp", "udplite"])
def test_all_ports_are_no_range(protocol: str) -> None:
    rule = made(protocol=protocol, port_min=1, port_max=65535)
    assert (rule.port_min, rule.port_max) == (None, None)


def test_a_prefix_is_kept_as_it_was_written_and_as_it_is_meant() -> None:
    rule = made(remote_prefix=Prefix("10.0.0.5/24", Cidr.from_text("10.0.0.0/24")))
    assert (rule.prefix_text, rule.remote_prefix) == ("10.0.0.5/24", (b"\x0a\0\0\0", 24))


def test_a_rule_is_shown_as_it_was_written() -> None:
    assert (made(protocol="tcp").protocol, made(protocol="tcp").protocol_text) == (6, "tcp")
    assert made(protocol="6").protocol_text == "6"
    assert made(protocol="any").protocol_text is None


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "6", "port_min": 80, "port_max": 80},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "description": "another"},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "remote_prefix": prefix("0.0.0.0/0")},
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
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "remote_prefix": prefix("10.0.0.0/8")},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "remote_group_id": GROUP.id},
        {"protocol": "tcp", "port_min": 80, "port_max": 80, "remote_address_group_id": "a"},
    ],
)
def test_what_permits_something_else_is_no_duplicate(other: dict[str, Any]) -> None:
    assert made((made(protocol="tcp", port_min=80, port_max=80),), **other)


def test_icmp_takes_type_and_code_in_the_port_range() -> None:
    rule = made(protocol="icmp", port_min=0, port_max=0)
    assert (rule.port_min, rule.port_max) == (0, 0)
    assert made(protocol="icmp", port_min=8).port_max is None


def test_two_rules_that_permit_the_same_in_one_call_are_refused() -> None:
    fields = RuleFields(security_group_id=GROUP.id, direction="ingress")
    first = made()
    with pytest.raises(errors.Conflict) as refused:
        decisions.create_rule(fields, rule_id="s", group=GROUP, existing=(), asked=(first,), now_us=1)
    assert refused.value.reason == "DuplicateSecurityGroupRuleInPost"


def test_a_new_group_gets_what_the_operator_wants() -> None:
    [web] = defaults(DefaultRuleFields(direction="ingress", protocol="tcp", port_min=80, port_max=80))
    [own] = defaults(DefaultRuleFields(direction="ingress", remote_group_id=PARENT))
    [not_here] = defaults(
        DefaultRuleFields(direction="egress", used_in_default_sg=True, used_in_non_default_sg=False)
    )
    group = SecurityGroup(id="g", project_id="blue")  # type: ignore[arg-type]
    rules = decisions.first_rules(group, [web, own, not_here], ["1", "2", "3"], 7)
    assert [(rule.id, rule.port_min, rule.remote_group_id) for rule in rules] == [
        ("1", 80, None),
        ("2", None, "g"),
    ]
    assert {(rule.project_id, rule.security_group_id, rule.created_at) for rule in rules} == {("blue", "g", 7)}


def test_a_new_group_never_gets_one_rule_twice() -> None:
    for_both = DefaultRuleFields(direction="ingress", used_in_default_sg=True)
    for_default = DefaultRuleFields(direction="ingress", used_in_default_sg=True, used_in_non_default_sg=False)
    for_others = DefaultRuleFields(direction="ingress")
    assert len(defaults(for_default, for_others)) == 2
    with pytest.raises(errors.Conflict) as refused:
        defaults(for_both, for_others)
    assert refused.value.reason == "DuplicateDefaultSgRuleInPost"
    with pytest.raises(errors.Conflict) as refused:
        defaults(DefaultRuleFields(direction="egress"), existing=BUILT_IN)
    assert refused.value.reason == "DefaultSecurityGroupRuleExists"


def test_default_rules_that_were_made_equal_at_the_same_moment_give_one_rule() -> None:
    one, other = (defaults(DefaultRuleFields(direction="ingress", protocol="gre"))[0] for _ in range(2))
    group = SecurityGroup(id="g", project_id="blue")  # type: ignore[arg-type]
    assert [rule.id for rule in decisions.first_rules(group, [one, other], ["1", "2"], 7)] == ["1"]


def test_stateful_and_stateless_groups_do_not_go_together() -> None:
    stateful = SecurityGroup(id="a", project_id="blue")  # type: ignore[arg-type]
    stateless = SecurityGroup(id="b", project_id="blue", stateful=False)  # type: ignore[arg-type]
    decisions.check_together([stateful, stateful])
    decisions.check_together([stateless])
    with pytest.raises(errors.Conflict) as refused:
        decisions.check_together([stateful, stateless])
    assert refused.value.reason == "SecurityGroupConflict"


def test_one_call_makes_so_many_first_rules_and_no_more() -> None:
    decisions.check_batch(10_000, BUILT_IN)
    with pytest.raises(errors.Invalid):
        decisions.check_batch(10_000, BUILT_IN * 3)


def defaults(*asks: DefaultRuleFields, existing: tuple[DefaultRule, ...] = ()) -> list[DefaultRule]:
    ids = [f"d{number}" for number in range(len(asks))]
    return decisions.create_default_rules(asks, ids=ids, existing=existing, now_us=1)
