"""Several changes in one message lead where they lead one by one, from the first state and from any between."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.control_plane.delivery import cumulative
from alcor.model.goal_state import (
    GroupChange,
    NetworkChange,
    NetworkEntry,
    Placement,
    RouterChange,
    Rule,
    Section,
    SectionChange,
    apply_change,
    empty_section_for,
)
from alcor.model.ids import NetworkId, PortId, RuleId, Vni

KEYS = [PortId(f"port-{number}") for number in range(5)]
keys = st.lists(st.sampled_from(KEYS), unique=True, max_size=4)


@st.composite
def network_changes(draw: st.DrawFn) -> NetworkChange:
    came = draw(keys)
    mtu = draw(st.integers(1, 3))
    return NetworkChange(
        network=draw(st.none() | st.just(NetworkEntry(NetworkId("net"), Vni(1), mtu, True))),
        set_placements=tuple(Placement(key, draw(st.integers(1, 4)), (), b"") for key in came),
        gone_placements=tuple(draw(keys)),
    )


@st.composite
def group_changes(draw: st.DrawFn) -> GroupChange:
    rules = tuple(Rule(RuleId(key), draw(st.booleans()), 4, None, None, None, None, None) for key in draw(keys))
    return GroupChange(
        stateful=draw(st.booleans()),
        set_rules=rules,
        gone_rules=tuple(RuleId(key) for key in draw(keys)),
    )


router_changes = st.builds(RouterChange, admin_state_up=st.booleans())


def after(changes: list[SectionChange], start: list[SectionChange]) -> Section:
    section = empty_section_for(changes[0])
    for change in (*start, *changes):
        apply_change(section, change)
    return section


def is_same_from_everywhere(start: list[SectionChange], changes: list[SectionChange]) -> None:
    merged = cumulative.merged(changes)
    wanted = after(changes, start).full()
    for seen in range(len(changes)):
        section = after(changes[: seen + 1], start) if seen else after([merged], start)
        apply_change(section, merged)
        assert section.full() == wanted


@given(st.lists(network_changes(), max_size=3), st.lists(network_changes(), min_size=1, max_size=5))
def test_networks_end_the_same(start: list[SectionChange], changes: list[SectionChange]) -> None:
    is_same_from_everywhere(start, changes)


@given(st.lists(group_changes(), max_size=3), st.lists(group_changes(), min_size=1, max_size=5))
def test_groups_end_the_same(start: list[SectionChange], changes: list[SectionChange]) -> None:
    is_same_from_everywhere(start, changes)


@given(st.lists(router_changes, min_size=1, max_size=5))
def test_routers_end_the_same(changes: list[SectionChange]) -> None:
    is_same_from_everywhere([], changes)
