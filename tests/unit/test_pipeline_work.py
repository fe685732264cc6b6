"""Work is proportional to the change (law 4): calls are counted with few and with many neighbours."""

import gc
import sys
from collections.abc import Callable

import pytest

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.model.goal_state import (
    GroupChange,
    HostState,
    LocalPort,
    NetworkChange,
    NetworkEntry,
    Placement,
    RouterChange,
    RouterInterface,
    Rule,
    SectionChange,
    SectionUpdate,
    apply_change,
    empty_section_for,
)
from alcor.model.records import FixedIp
from alcor.model.version import Version

FACTS = HostFacts("h1", b"\xac\x10\x00\x01", 0x02AC10000001)
ELSEWHERE = b"\xac\x10\x00\x02"
V = Version(1, 1)


def ip_of(number: int) -> bytes:
    return (0x0A000000 + number).to_bytes(4, "big")


def placement(number: int) -> Placement:
    return Placement(f"p{number}", 0xFA163E000000 + number, (ip_of(number),), ELSEWHERE, ("g",))


def held_program(neighbours: int) -> tuple[FlowProgram, HostState]:
    """A host with one port in a group of itself and `neighbours` more."""
    port = LocalPort("own", 1, (FixedIp("s", ip_of(1)),), ("g",), True, True)
    rule = Rule("r", True, 4, 6, 80, 90, "g", None)
    numbers = range(10, 10 + neighbours)
    changes: dict[str, SectionChange] = {
        "network:n": NetworkChange(
            network=NetworkEntry("n", 7, 1450, True),
            set_ports=(port,),
            set_placements=tuple(placement(number) for number in numbers),
        ),
        "group:g": GroupChange(set_rules=(rule,)),
    }
    state = HostState()
    for key, change in changes.items():
        section = empty_section_for(change)
        apply_change(section, change)
        state.sections[key], state.versions[key] = section, V
    program = FlowProgram(FACTS, 1)
    program.replace(state)
    return program, state


def calls_of(work: Callable[[], object]) -> int:
    """Count the calls of Python functions, without those that the collector makes whenever its time comes."""
    count = 0

    def on_event(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("network:n", NetworkChange(set_placements=(placement(9_000_000),))),
        ("network:n", NetworkChange(gone_placements=("p12",))),
        ("network:n", NetworkChange(network=NetworkEntry("n", 7, 1400, True))),
        (
            "network:n",
            NetworkChange(set_ports=(LocalPort("more", 2, (FixedIp("s", ip_of(2)),), ("g",), True, True),)),
        ),
        ("group:g", GroupChange(set_rules=(Rule("more", True, 4, 6, 443, 443, None, None),))),
    ],
)
def test_a_change_costs_the_same_whatever_the_host_holds(key: str, change: SectionChange) -> None:
    counted = []
    for neighbours in (10, 2000):
        program, state = held_program(neighbours)
        update = SectionUpdate(key, V, Version(1, 2), change)
        counted.append(
            calls_of(lambda program=program, state=state, update=update: program.change(state, [update]))
        )
    assert counted[0] == counted[1]


def test_plugging_costs_the_same_whatever_the_host_holds() -> None:
    counted = []
    for neighbours in (10, 2000):
        program, _ = held_program(neighbours)
        counted.append(calls_of(lambda program=program: program.attach("own", 12)))
    assert counted[0] == counted[1]


def test_a_router_costs_the_same_whatever_its_network_holds() -> None:
    leg = RouterInterface("leg", "n", 7, (ip_of(0), 8), ip_of(2), 0x02BB00000007)
    change = RouterChange(set_interfaces=(leg,))
    section = empty_section_for(change)
    apply_change(section, change)
    counted = []
    for neighbours in (10, 2000):
        program, state = held_program(neighbours)
        state.sections["router:r"], state.versions["router:r"] = section, V
        update = SectionUpdate("router:r", None, V, change)
        counted.append(
            calls_of(lambda program=program, state=state, update=update: program.change(state, [update]))
        )
    assert counted[0] == counted[1]
