"""The small pieces that flows are made of."""

import pytest

from alcor.data_plane.pipeline import local_port, security
from alcor.data_plane.pipeline.flow import Field, Flow, FlowKey, Goto
from alcor.data_plane.pipeline.matching import range_terms
from alcor.data_plane.pipeline.numbers import StableNumbers
from alcor.data_plane.pipeline.placement import PlacementFlows, View
from alcor.data_plane.pipeline.units import FlowUnits
from alcor.model.goal_state import LocalPort, Placement, Rule
from alcor.model.records import FixedIp

IP = b"\x0a\x00\x00\x05"


@pytest.mark.parametrize(("low", "high"), [(0, 65535), (80, 80), (1, 65535), (1000, 1999), (80, 90), (0, 1)])
def test_a_port_range_is_covered_exactly(low: int, high: int) -> None:
    covered: list[int] = []
    for terms in range_terms(Field.TCP_DST, low, high):
        value, mask = (terms[0].value, terms[0].mask or 0xFFFF) if terms else (0, 0)
        covered.extend(range(value, value + (~mask & 0xFFFF) + 1))
    assert covered == list(range(low, high + 1))


def test_numbers_are_the_same_after_a_restart() -> None:
    first, second = StableNumbers[str](65535), StableNumbers[str](65535)
    names = [f"port-{number}" for number in range(50)]
    given = {name: first.take(name) for name in names}
    second.seed(given)
    assert {name: second.take(name) for name in reversed(names)} == given


def test_numbers_are_never_given_twice_and_are_used_again() -> None:
    numbers = StableNumbers[str](8)
    assert {numbers.take(f"n{index}") for index in range(8)} == set(range(1, 9))
    with pytest.raises(RuntimeError):
        numbers.take("one more")
    numbers.release("n3")
    assert numbers.name_of(numbers.take("one more")) == "one more"


def test_a_resting_number_goes_only_to_who_had_it() -> None:
    numbers = StableNumbers[str](2)
    had = numbers.take("a")
    numbers.rest("a")
    assert numbers.take("b") != had
    with pytest.raises(RuntimeError):
        numbers.take("c")
    assert numbers.take("a") == had
    numbers.rest("a")
    numbers.wake(numbers.resting)
    assert numbers.take("c") == had


def test_a_short_seed_does_not_take_a_number_that_is_given() -> None:
    numbers = StableNumbers[str](100)
    held = numbers.take("a")
    numbers.seed({"b": held, "c": 0, "d": 101})
    assert dict(numbers.numbers) == {"a": held}


def test_a_placement_costs_a_flow_and_one_more_on_another_host() -> None:
    """Routed or not: questions and routed packets find it by the same flow."""
    entry = Placement("p", 0xFA163E000001, (IP,), b"\xac\x10\x00\x02")
    elsewhere = View(7, b"\xac\x10\x00\x01", 1)
    here = elsewhere._replace(vtep=entry.vtep)
    assert [len(list(PlacementFlows(entry, view))) for view in (elsewhere, here)] == [2, 1]


def test_plugging_costs_two_flows() -> None:
    port = LocalPort("p", 1, (FixedIp("s", IP),), (), True, True)
    assert len(local_port.plug_flows(port, 7, 3, 12, is_parent=False)) == 2


@pytest.mark.parametrize(
    ("version", "protocol", "low", "is_enforceable"),
    [
        *((version, protocol, 80, True) for version in (4, 6) for protocol in (6, 17, 132)),
        *((version, 136, 80, False) for version in (4, 6)),
        *((version, 136, None, True) for version in (4, 6)),
        (4, 1, 8, True),
        (6, 58, 128, True),
        (6, 1, 8, False),  # there is no such message in IPv6, nor the reverse
        (4, 58, 128, False),
        (4, 58, None, True),
    ],
)
def test_ports_of_protocols_that_cannot_be_matched_are_not_enforceable(
    version: int, protocol: int, low: int | None, is_enforceable: bool
) -> None:
    rule = Rule("r", True, version, protocol, low, low, None, None)
    assert security.is_enforceable(rule) is is_enforceable


def test_the_smallest_unit_has_a_disputed_flow_whatever_the_order() -> None:
    key = FlowKey(0, 100, ())
    flows = {name: Flow(key, (Goto(table),), name) for name, table in (("a", 5), ("b", 10))}
    for order in ("ab", "ba"):
        units = FlowUnits()
        for name in order:
            units.replace({(name,): [flows[name]]})
        assert list(units) == [flows["a"]]
        change = units.replace({("a",): []})
        assert change.install == [flows["b"]]
        assert units.replace({("b",): []}).remove == [flows["b"]]
        assert not list(units)


def test_a_flow_that_moves_between_units_is_not_touched_on_the_switch() -> None:
    key = FlowKey(0, 100, ())
    units = FlowUnits()
    units.replace({("a",): [Flow(key, (Goto(5),), "a")]})
    change = units.replace({("a",): [], ("b",): [Flow(key, (Goto(5),), "b")]})
    assert change == ([], [], [])
    assert [flow.origin for flow in units] == ["b"]
