"""The smallest unit has a contested flow, and a change says exactly what differs, whatever happened before."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.data_plane.pipeline.flow import Field, Flow, FlowChange, FlowKey, Goto, Pattern, PatternFlow
from alcor.data_plane.pipeline.units import FlowUnits

PATTERN = Pattern(60, 100, (), (Field.REG0,), lambda table: (Goto(table),))
UNITS = [(name,) for name in "abcd"]


class Crowded(Flow):
    """A flow whose identity many keys share."""

    @property
    def identity(self) -> int:
        return self.key.priority % 2


def flow_of(unit: tuple, place: int, table: int):
    if place < 4:
        return PatternFlow(PATTERN, (place,), (table,), "unit", unit[0])
    return (Flow if place < 6 else Crowded)(FlowKey(0, place, ()), (Goto(table),), f"unit {unit[0]}")


flows_of_unit = st.dictionaries(st.integers(0, 9), st.integers(70, 71), max_size=5)
steps = st.dictionaries(st.sampled_from(UNITS), flows_of_unit, min_size=1, max_size=4)


def follow(switch: dict, change: FlowChange) -> None:
    gone = [flow.key for flow in change.remove]
    came = [flow.key for flow in change.install]
    assert len(set(gone + came)) == len(gone + came), "a key is named once"
    assert {flow.key for flow in change.replaced} == switch.keys() & set(came)
    for flow in (*change.remove, *change.replaced):
        assert switch[flow.key] == flow.actions
    for key in gone:
        del switch[key]
    for flow in change.install:
        assert switch.get(flow.key) != flow.actions, "nothing is installed that is there"
        switch[flow.key] = flow.actions


@given(st.lists(steps, max_size=12))
def test_contested_flows_depend_on_the_state_alone(history: list) -> None:
    units, switch, state = FlowUnits(), {}, {}
    for step in history:
        rendered = {
            unit: [flow_of(unit, *numbers) for numbers in content.items()] for unit, content in step.items()
        }
        follow(switch, units.replace(rendered))
        state.update(rendered)
        wanted = {}
        for unit in sorted(state):
            for flow in state[unit]:
                wanted.setdefault(flow.key, flow)
        assert {flow.key: flow for flow in units} == wanted
        assert len(list(units)) == len(wanted)
        assert switch == {key: flow.actions for key, flow in wanted.items()}
        for place in range(4):
            flow = PatternFlow(PATTERN, (place,), (), "", "")
            assert units.find(PATTERN, place) == wanted.get(flow.key)
