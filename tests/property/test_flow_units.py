"""The smallest unit has a contested flow, clauses are merged, and a change says exactly what differs."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.data_plane.pipeline.flow import (
    Conjunction,
    Field,
    Flow,
    FlowChange,
    FlowKey,
    Goto,
    Pattern,
    PatternFlow,
)
from alcor.data_plane.pipeline.units import FlowUnits

PATTERN = Pattern(60, 100, (), (Field.REG0,), lambda table: (Goto(table),))
CLAUSES = Pattern(60, 50, (), (Field.REG0,), lambda *ids: tuple(Conjunction(it, 1, 2) for it in ids))
UNITS = [(name,) for name in "abcd"]


class Crowded(Flow):
    """A flow whose identity many keys share."""

    @property
    def identity(self) -> int:
        return self.key.priority % 2


def flow_of(unit: tuple, place: int, table: int):
    if place < 4:
        return PatternFlow(PATTERN, (place,), (table,), "unit", unit[0])
    if place > 12:
        return PatternFlow(CLAUSES, (place,), (table,), "unit", unit[0])
    kind = Flow if place < 6 else Crowded
    actions = (Goto(table),) if place < 10 else (Conjunction(table, 1, 2),)
    return kind(FlowKey(0, place, ()), actions, f"unit {unit[0]}")


flows_of_unit = st.dictionaries(st.integers(0, 15), st.integers(70, 72), max_size=6)
steps = st.dictionaries(st.sampled_from(UNITS), flows_of_unit, min_size=1, max_size=4)


def place_of(flow):
    """Give the key as a switch may know it that keeps flows of a pattern apart."""
    return (flow.pattern, flow.where) if isinstance(flow, PatternFlow) else flow.key


def follow(switch: dict, change: FlowChange) -> None:
    gone = [place_of(flow) for flow in change.remove]
    came = [place_of(flow) for flow in change.install]
    assert len(set(gone + came)) == len(gone + came), "a key is named once"
    assert {place_of(flow) for flow in change.replaced} == switch.keys() & set(came)
    for flow in (*change.remove, *change.replaced):
        assert switch[place_of(flow)].actions == flow.actions
    for key in gone:
        del switch[key]
    for flow in change.install:
        held = switch.get(place_of(flow))
        assert held is None or held.actions != flow.actions, "nothing is installed that is there"
        switch[place_of(flow)] = flow


def in_force(claims: list) -> tuple:
    """Say what is done, and the origin, of claims on one key in the order of their units."""
    first = claims[0]
    if not isinstance(first.actions[0], Conjunction):
        return first.actions, first.origin
    claims = sorted(claims, key=lambda flow: (flow.actions[0].id, flow.origin))
    conjunctions = sorted({flow.actions[0].id for flow in claims})
    origin = "; ".join(dict.fromkeys(flow.origin for flow in claims))
    return tuple(Conjunction(number, 1, 2) for number in conjunctions), origin


@given(st.lists(steps, max_size=12))
def test_contested_flows_depend_on_the_state_alone(history: list) -> None:
    units, switch, state = FlowUnits(), {}, {}
    for step in history:
        rendered = {
            unit: [flow_of(unit, *numbers) for numbers in content.items()] for unit, content in step.items()
        }
        follow(switch, units.replace(rendered))
        state.update(rendered)
        claims = {}
        for unit in sorted(state):
            for flow in state[unit]:
                claims.setdefault(flow.key, []).append(flow)
        assert sorted((flow.key, flow.actions, flow.origin) for flow in units) == sorted(
            (key, *in_force(flows)) for key, flows in claims.items()
        )
        assert {flow.key: flow.actions for flow in switch.values()} == {
            key: in_force(flows)[0] for key, flows in claims.items()
        }
        for place in range(4):
            flow = PatternFlow(PATTERN, (place,), (), "", "")
            assert units.find(PATTERN, place) == claims.get(flow.key, [None])[0]
