"""Work is proportional to the change (law 4): lines and bytes are counted with little and with much held."""

from collections import UserDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from counted_work import assert_same_work, work_of

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.ovs import flow_changes
from alcor.data_plane.pipeline import security
from alcor.data_plane.pipeline.flow import AnyFlow, FlowChange
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.retold import Retold
from alcor.data_plane.pipeline.units import FlowUnits, Unit
from alcor.model.goal_state import (
    AddressesChange,
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
    SubnetEntry,
    apply_change,
    empty_section_for,
)
from alcor.model.records import FixedIp
from alcor.model.version import Version

FACTS = HostFacts("h1", b"\xac\x10\x00\x01", 0x02AC10000001)
ELSEWHERE = b"\xac\x10\x00\x02"
V = Version(1, 1)


class Held(NamedTuple):
    """How much a host holds."""

    neighbours: int = 10  # of its first network
    learned: int = 10  # of a network on demand, which shares a router with the first
    ports: int = 10  # in a network beside
    rules: int = 10  # of the first group, beside those that all have
    networks: int = 10  # others, each with a port, a router, a group and an address group of its own


LITTLE = Held()


def ip_of(number: int) -> bytes:
    return (0x0A000000 + number).to_bytes(4, "big")


def placement(number: int, group: str = "g") -> Placement:
    return Placement(f"p{number}", 0xFA163E000000 + number, (ip_of(number),), ELSEWHERE, (group,))


def local_port(port_id: str, number: int, group: str = "g") -> LocalPort:
    return LocalPort(port_id, number, (FixedIp("s", ip_of(number)),), (group,), True, True)


def leg(number: int, vni: int) -> RouterInterface:
    return RouterInterface(f"leg{number}", f"n{vni}", vni, (ip_of(0), 24), ip_of(254), 0xFA163D000000 + number)


def rule(name: str, remote: str | None, addresses: str | None = None, *, low: int = 80) -> Rule:
    """Each group has its own `low`: a clause that groups share is one flow, with all that they say."""
    return Rule(name, True, 4, 6, low, low + 10, remote, None, addresses)


def held_program(held: Held) -> tuple[FlowProgram, HostState]:
    """A host with two ports in a group of themselves and their neighbours, and more beside them."""
    changes: dict[str, SectionChange] = {
        "network:n": NetworkChange(
            network=NetworkEntry("n", 7, 1450, True),
            set_ports=(local_port("own", 1), local_port("other", 2)),
            set_placements=tuple(placement(number) for number in range(10, 10 + held.neighbours)),
        ),
        "network:l": NetworkChange(
            network=NetworkEntry("l", 6, 1450, True, True),
            set_subnets=(SubnetEntry("l", (ip_of(0), 24), ip_of(254), True, (), ()),),
            set_placements=tuple(placement(number) for number in range(10, 10 + held.learned)),
        ),
        "network:m": NetworkChange(
            network=NetworkEntry("m", 8, 1450, True),
            set_ports=tuple(
                local_port(f"beside{number}", number, "h") for number in range(10, 10 + held.ports)
            ),
        ),
        "group:g": GroupChange(
            set_rules=(
                rule("r", "g"),
                rule("ra", None, "a"),
                *(rule(f"r{each}", "g", low=10_000 + each) for each in range(held.rules)),
            )
        ),
        "group:h": GroupChange(set_rules=(rule("rh", "h", low=60),)),
        "addresses:a": AddressesChange(set_addresses=((ip_of(77), 32),)),
        "router:r": RouterChange(True, (leg(0, 7), leg(1, 6))),
    }
    for number in range(held.networks):
        vni, group = 100 + number, f"g{number}"
        changes |= {
            f"network:n{vni}": NetworkChange(
                network=NetworkEntry(f"n{vni}", vni, 1450, True, number % 2 == 0),
                set_subnets=(SubnetEntry(f"s{vni}", (ip_of(vni << 8), 24), ip_of(254), True, (), ()),),
                set_ports=(local_port(f"own{number}", 1, group),),
                set_placements=(placement(10, group),),
            ),
            f"group:{group}": GroupChange(
                set_rules=(rule("r", group, low=vni), rule("ra", None, f"a{number}", low=vni))
            ),
            f"addresses:a{number}": AddressesChange(set_addresses=((ip_of(vni), 32),)),
            f"router:r{number}": RouterChange(True, (leg(number, vni),)),
        }
    state = HostState()
    for key, change in changes.items():
        section = empty_section_for(change)
        apply_change(section, change)
        state.sections[key], state.versions[key] = section, V
    program = FlowProgram(FACTS, 1, Retold())
    program.replace(state)
    return program, state


CHANGES: list[tuple[str, SectionChange]] = [
    ("network:n", NetworkChange(set_placements=(placement(9_000_000),))),
    ("network:n", NetworkChange(gone_placements=("p12",))),
    ("network:n", NetworkChange(network=NetworkEntry("n", 7, 1400, True))),
    ("network:n", NetworkChange(set_ports=(local_port("more", 3),))),
    ("network:n", NetworkChange(gone_ports=("other",))),
    ("network:m", NetworkChange(set_ports=(local_port("more", 3, "h"),))),
    ("network:new", NetworkChange(NetworkEntry("new", 9, 1450, True), set_ports=(local_port("more", 3),))),
    ("group:g", GroupChange(set_rules=(rule("more", None, low=40),))),
    ("group:g", GroupChange(gone_rules=("ra",))),
    ("addresses:a", AddressesChange(set_addresses=((ip_of(78), 32),))),
    ("router:r", RouterChange(True, (leg(2, 9),))),
    ("router:new", RouterChange(True, (leg(2, 9),))),
    ("router:new", RouterChange(True, (leg(2, 7),))),
]
WORKLOADS: dict[str, Callable[[FlowProgram], object]] = {
    "plugged": lambda program: program.attach("own", 12),
    "unplugged": lambda program: program.detach("own"),
    "port of a key": lambda program: program.port_of_key(program.port_key("own")),
    "MAC of an address": lambda program: program.mac_of(7, ip_of(12)),
    "announcer": lambda program: program.announcer(program.port_key("own"), 1, ip_of(1)),
    "scope": lambda program: program.port_scope("own"),
}


@pytest.mark.parametrize("what", Held._fields)
@pytest.mark.parametrize(("key", "change"), CHANGES)
def test_a_change_costs_the_same_whatever_the_host_holds(key: str, change: SectionChange, what: str) -> None:
    def prepare(held: Held) -> Callable[[], object]:
        program, state = held_program(held)
        base = V if key in state.sections else None
        update = SectionUpdate(key, base, Version(1, 2), change)
        return lambda: program.change(state, [update])

    assert_same_work(lambda count: prepare(Held(**{what: count})))


@pytest.mark.parametrize("what", Held._fields)
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_costs_the_same_whatever_the_host_holds(name: str, what: str) -> None:
    def prepare(held: Held) -> Callable[[], object]:
        program, _ = held_program(held)
        return lambda: WORKLOADS[name](program)

    assert_same_work(lambda count: prepare(Held(**{what: count})))


@pytest.mark.parametrize("what", Held._fields)
def test_flows_that_a_switch_refused_are_found_without_a_look_at_all_others(what: str) -> None:
    def prepare(held: Held) -> Callable[[], object]:
        program, _ = held_program(held)
        refused = [flow for flow in program.wanted() if flow.origin.endswith(" p12")]
        assert refused
        return lambda: flow_changes.with_refused(FlowChange([], [], []), refused, program)

    assert_same_work(lambda count: prepare(Held(**{what: count})))


def test_settling_what_groups_share_costs_twice_as_much_with_twice_as_many() -> None:
    def work(groups: int) -> int:
        rendered: UserDict[Unit, Iterable[AnyFlow]] = UserDict()  # whose steps are lines that count
        for each in range(groups):
            shared = rule("r", None, low=each // 2 * 100)  # by two
            rendered["rule", f"g{each}", "r"] = security.rule_flows(f"g{each}", shared, each + 1)
        units = FlowUnits()
        return work_of(lambda: lambda: units.replace(rendered)).lines

    assert work(400) < 2.5 * work(200)
