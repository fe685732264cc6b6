"""Every packet for the agent goes through a meter of its port."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import alcor
from alcor.data_plane.pipeline import hand_over
from alcor.data_plane.pipeline.flow import Field, Flow, Move, Resubmit, SetField, Term, ToAgent
from alcor.data_plane.pipeline.hand_over import METERS, PORTS, Reason
from alcor.data_plane.pipeline.static import static_flows
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.simulated.classifier import Classifier

SOURCES = Path(next(iter(alcor.__path__)))
INTERPRETERS = {"hand_over.py", "flow.py", "switch.py", "trace.py", "encoding.py"}


def meters_met(reason: Reason, key: int) -> list[int]:
    """Name the meters that a packet of the port with this key meets on its way to the agent."""
    classifier = Classifier()
    for flow in static_flows(1):
        if flow.key.table == Table.HAND_OVER:
            classifier.install(flow)
    values = {Field.REG1: key, Field.REG2: key + 1}
    for action in hand_over.way(Table.ARP, reason):
        if isinstance(action, SetField):
            values[action.field] = action.value
        elif isinstance(action, Move):
            values[action.target] = values[action.source]
    decision = classifier.look_up(values)
    assert decision is not None
    return [action.meter for action in decision.flow.actions if isinstance(action, ToAgent)]


def test_nothing_but_the_table_of_meters_hands_over() -> None:
    """Whoever writes a flow that needs the agent has no other way: the action is made in one place."""
    users = {
        path.name
        for path in SOURCES.rglob("*.py")
        if any(
            isinstance(node, ast.Name | ast.alias | ast.Attribute) and "ToAgent" in _names(node)
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert users == INTERPRETERS
    assert all(flow.key.table == Table.HAND_OVER for flow in _handing_over())


def _names(node: ast.Name | ast.alias | ast.Attribute) -> tuple[str, ...]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return (name,)
        case ast.alias(name=name):
            return (name,)
    raise AssertionError(node)


def _handing_over() -> Iterator[Flow]:
    return (flow for flow in static_flows(1) if any(isinstance(action, ToAgent) for action in flow.actions))


def test_every_meter_that_a_flow_names_is_there_and_used_once() -> None:
    named = [action.meter for flow in _handing_over() for action in flow.actions if isinstance(action, ToAgent)]
    assert sorted(named) == sorted(METERS)
    assert all(number == meter.id < 1 << 16 and meter.rate_per_s > 0 for number, meter in METERS.items())


@pytest.mark.parametrize("reason", Reason)
def test_ports_meet_meters_of_their_own_until_there_are_too_many(reason: Reason) -> None:
    met = [meters_met(reason, key) for key in range(1, PORTS + 1)]
    assert all(len(each) == 1 for each in met)
    assert len({each[0] for each in met}) == PORTS
    assert meters_met(reason, PORTS + 1) == met[0]


def test_reasons_do_not_share_meters() -> None:
    assert len({meters_met(reason, 7)[0] for reason in Reason}) == len(Reason)


def test_what_arrives_is_to_the_account_of_its_receiver() -> None:
    assert meters_met(Reason.ARRIVAL, 7) == [hand_over.meter_of(Reason.ARRIVAL, 8)]
    assert meters_met(Reason.QUESTION, 7) == [hand_over.meter_of(Reason.QUESTION, 7)]


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("table", [Table.SPOOF, Table.INGRESS_RULES])
def test_the_agent_can_tell_which_table_asks(table: Table, reason: Reason) -> None:
    written, _, last = hand_over.way(table, reason)
    assert isinstance(written, SetField)
    assert hand_over.table_of(written.value) == table
    assert last == Resubmit(Table.HAND_OVER)
    assert all(
        Term(Field.REG6, written.value & 0xFF00, 0xFF00) in flow.key.match
        for flow in _handing_over()
        if flow.actions[0] == ToAgent(hand_over.meter_of(reason, 7))
    )
