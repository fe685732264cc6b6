"""What IPv6 costs in flows: nothing where there is none, and a handful for a port, a rule and a member."""

from collections import Counter

import pytest

from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.tables import Table
from doubles.topology import Region

FOUR, SIX = "10.0.0.0/24", "2001:db8::/64"
BOTH = (4, 6)


def region_of(versions: tuple[int, ...], *, ports: int = 1, members: int = 0, groups: int = 1) -> Region:
    """One network, with ports of its own host in groups that let each other in, as default groups do."""
    region = Region()
    region.add_net("n", 7, *({4: FOUR, 6: SIX}[version] for version in versions))
    names = [f"g{number}" for number in range(groups)]
    for group in names:
        for version in BOTH:
            region.add_rule(group, f"{group}-out-{version}", ingress=False, ethertype=version)
            region.add_rule(group, f"{group}-in-{version}", ingress=True, ethertype=version, remote=group)
    also = {"also": ["n-s1"]} if len(versions) == 2 else {}
    for number in range(ports):
        region.add_port(f"p{number}", "n-s0", 10 + number, "h1", *names, **also)
    for number in range(members):
        region.add_port(f"m{number}", "n-s0", 100 + number, "h2", *names, **also)
    return region


def flows_of(region: Region) -> Counter[str]:
    program = FlowProgram(region.facts("h1"), 1)
    program.replace(region.state("h1"))
    return Counter(Table(key.table).title for key in program.flows)


def more(one: Region, other: Region) -> dict[str, int]:
    """Count the flows that the second has more than the first, by table."""
    few, many = flows_of(one), flows_of(other)
    return {table: many[table] - few[table] for table in sorted(many) if many[table] != few[table]}


def test_a_port_without_ipv6_costs_nothing_for_it() -> None:
    costs = more(region_of((4,)), region_of((4,), ports=2))
    assert costs == {"spoof": 5, "neighbour": 1, "local": 1, "egress_rules": 1, "ingress_rules": 2}


def test_a_port_with_both_versions_costs_a_handful_more_and_nothing_in_its_groups() -> None:
    four = Counter(more(region_of((4,)), region_of((4,), ports=2)))
    both = Counter(more(region_of(BOTH), region_of(BOTH, ports=2)))
    assert both - four == {"spoof": 8, "neighbour": 1, "ingress_rules": 1}, "the last: it is a member, too"


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ((4,), {"neighbour": 1, "ingress_rules": 1, "remote": 1}),
        (BOTH, {"neighbour": 2, "ingress_rules": 2, "remote": 1}),
    ],
)
def test_a_member_elsewhere_costs_two_flows_for_each_address(
    versions: tuple[int, ...], expected: dict[str, int]
) -> None:
    assert more(region_of(versions), region_of(versions, members=1)) == expected


def test_rules_of_ipv6_of_further_groups_share_the_flows_of_the_first() -> None:
    """What is left is where the group's two conjunctions end, for both versions at once."""
    assert more(region_of((4,)), region_of((4,), groups=2)) == {"egress_rules": 1, "ingress_rules": 1}
