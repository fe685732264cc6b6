"""Incremental results equal full ones after any sequence of changes (law 5)."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.data_plane.pipeline import prerequisites
from alcor.data_plane.pipeline.flow import Flow, FlowChange, FlowKey
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.model.goal_state import HostState
from doubles.random_topology import mutate, random_region, reroute, rescope, retrunk, updates_between

HOST = "h1"


def fold(held: dict[FlowKey, Flow], change: FlowChange) -> None:
    keys = [flow.key for flow in change.install]
    gone = [flow.key for flow in change.remove]
    assert len(set(keys)) == len(keys), "a flow is installed once"
    assert not set(keys) & set(gone), "never both for one key"
    assert {flow.key for flow in change.replaced} == held.keys() & set(keys), "it is told what gives way"
    assert all(held[flow.key].actions == flow.actions for flow in (*change.remove, *change.replaced))
    for key in gone:
        del held[key]
    held.update((flow.key, flow) for flow in change.install)


def actions_of(flows) -> dict[FlowKey, tuple]:
    return {key: flow.actions for key, flow in flows.items()}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_any_sequence_of_changes_gives_the_flows_of_the_final_state(seed: int) -> None:
    chance = random.Random(seed)
    region = random_region(chance)
    program = FlowProgram(region.facts(HOST), 1)
    held: dict[FlowKey, Flow] = {}
    fold(held, program.base())
    plugged: dict[str, int] = {}
    state = HostState()
    for _ in range(8):
        for _ in range(chance.randint(0, 4)):
            mutate(region, chance)
            reroute(region, chance)
            rescope(region, chance)
            retrunk(region, chance)
        before, state = state, region.state(HOST)
        fold(held, program.change(state, updates_between(before, state, chance)))
        for port_id in sorted(region.ports):
            if chance.random() < 0.3:
                plugged[port_id] = 10 + chance.randrange(40)
                fold(held, program.attach(port_id, plugged[port_id]))
            elif chance.random() < 0.2:
                plugged.pop(port_id, None)
                fold(held, program.detach(port_id))
        fresh = FlowProgram(region.facts(HOST), 1)
        fresh.seed_port_keys(program.port_keys)
        fresh.change(state, state.full_updates())
        for port_id, ofport in plugged.items():
            fresh.attach(port_id, ofport)
        assert actions_of(program.flows) == actions_of(fresh.flows)
        assert actions_of(held) == actions_of(program.flows)
        assert {key: flow.origin for key, flow in program.flows.items()} == {
            key: flow.origin for key, flow in fresh.flows.items()
        }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_following_the_whole_state_equals_a_fresh_program(seed: int) -> None:
    chance = random.Random(seed)
    region = random_region(chance)
    program = FlowProgram(region.facts(HOST), 1)
    program.replace(region.state(HOST))
    for _ in range(6):
        mutate(region, chance)
        reroute(region, chance)
        rescope(region, chance)
        retrunk(region, chance)
    program.replace(region.state(HOST))
    fresh = FlowProgram(region.facts(HOST), 1)
    fresh.seed_port_keys(program.port_keys)
    fresh.replace(region.state(HOST))
    assert actions_of(program.flows) == actions_of(fresh.flows)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_every_flow_is_fit_for_a_switch(seed: int) -> None:
    chance = random.Random(seed)
    region = random_region(chance)
    reroute(region, chance)
    rescope(region, chance)
    retrunk(region, chance)
    program = FlowProgram(region.facts(HOST), 1)
    program.replace(region.state(HOST))
    for key, flow in program.flows.items():
        fields = [term.field for term in key.match]
        assert fields == sorted(set(fields)), "terms ascend by field, one a field"
        assert all(term.mask is None or term.value & ~term.mask == 0 for term in key.match)
        assert flow.origin
        assert not prerequisites.missing(flow)
        assert key == flow.key
