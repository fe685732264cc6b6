"""Flows of on-demand networks: change by change as after a fresh start, and only there packets ask."""

import random

import msgspec

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline import hand_over
from alcor.data_plane.pipeline.flow import Field, Resubmit, SetField
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.pipeline.unknown import ASKING
from alcor.model.addressing import Cidr
from alcor.model.goal_state import (
    HostState,
    LocalPort,
    NetworkChange,
    NetworkEntry,
    Placement,
    SectionUpdate,
    SubnetEntry,
    apply_change,
    empty_section_for,
    network_key,
)
from alcor.model.ids import HostId, NetworkId, PortId, SubnetId, Vni
from alcor.model.records import FixedIp
from alcor.model.version import Version

FACTS = HostFacts(HostId("h"), bytes([172, 16, 0, 1]), 0x02AC10000001)
KEY = network_key("n")
LOCAL = LocalPort(PortId("own"), 0x0300, (FixedIp(SubnetId("s0"), bytes([10, 0, 0, 8])),), ("g",), True, True)
QUESTIONS = {4: int(Table.ARP), 16: int(Table.ND)}
RULES = frozenset({int(Table.EGRESS_RULES), int(Table.INGRESS_RULES)})


def asking(program: FlowProgram) -> set[int]:
    """Name the tables for which packets of unknown addresses go to the agent: where they go on afterwards."""
    return {
        hand_over.table_of(action.value)
        for key, flow in program.flows.items()
        if key.table in ASKING and Resubmit(Table.HAND_OVER) in flow.actions
        for action in flow.actions
        if isinstance(action, SetField) and action.field is Field.REG6
    }


def prefix(number: int) -> Cidr:
    """Give every other subnet the other IP version."""
    return Cidr.from_text(f"2001:db8:0:{number}::/64" if number % 2 else f"10.{number}.0.0/16")


def subnet(number: int) -> SubnetEntry:
    return SubnetEntry(SubnetId(f"s{number}"), tuple(prefix(number)), None, True, (), ())


def drawn_change(chance: random.Random) -> NetworkChange:
    entry = NetworkEntry(NetworkId("n"), Vni(7), 1450, chance.random() < 0.8, chance.random() < 0.5)
    number = chance.randrange(4)
    placement = Placement(
        PortId(f"p{number}"),
        0x0200 + number,
        (prefix(number).network[:-1] + b"\x09",),
        bytes([172, 16, 0, chance.randrange(1, 4)]),
    )
    return chance.choice(
        (
            NetworkChange(network=entry),
            NetworkChange(set_subnets=(subnet(number),)),
            NetworkChange(gone_subnets=(SubnetId(f"s{number}"),)),
            NetworkChange(set_placements=(placement,)),
            NetworkChange(gone_placements=(placement.port_id,)),
            NetworkChange(set_ports=(LOCAL,)),
            NetworkChange(gone_ports=(LOCAL.id,)),
        )
    )


def test_changes_end_as_a_fresh_start_does_and_asking_follows_the_flag() -> None:
    seen = set()
    for seed in range(30):
        chance = random.Random(seed)
        program, state = FlowProgram(FACTS, 1), HostState()
        first = NetworkChange(network=NetworkEntry(NetworkId("n"), Vni(7), 1450, True))
        state.sections[KEY] = empty_section_for(first)
        for number, change in enumerate([first, *(drawn_change(chance) for _ in range(40))], start=1):
            apply_change(state.sections[KEY], change)
            base = Version(1, number - 1) if number > 1 else None
            state.versions[KEY] = Version(1, number)
            program.change(state, [SectionUpdate(KEY, base, Version(1, number), change)])
            fresh = FlowProgram(FACTS, 1)
            fresh.replace(state)
            assert dict(program.flows) == dict(fresh.flows)
            section = state.sections[KEY]
            network = section.network
            asks = network.on_demand and network.admin_state_up and bool(section.subnets)
            groups_too = asks and bool(section.ports)
            versions = {len(each.cidr[0]) for each in section.subnets.values()}
            unasked = {QUESTIONS[length] for length in QUESTIONS.keys() - versions}
            wanted = ASKING.keys() - unasked - (frozenset() if groups_too else RULES)
            assert asking(program) == (wanted if asks else set())
            seen.add((asks, groups_too, len(versions) == 2))
    assert seen == {
        (*case, both) for case in ((True, True), (True, False), (False, False)) for both in (True, False)
    }


def test_the_address_that_arp_is_answered_with_is_found_by_its_address() -> None:
    program, state = FlowProgram(FACTS, 1), HostState()
    entry = NetworkEntry(NetworkId("n"), Vni(7), 1450, True, True)
    placement = Placement(PortId("p"), 0xABCD, (bytes([10, 0, 0, 9]),), bytes([172, 16, 0, 2]))
    change = NetworkChange(network=entry, set_subnets=(subnet(0),), set_placements=(placement,))
    state.sections[KEY] = empty_section_for(change)
    apply_change(state.sections[KEY], change)
    program.replace(state)
    assert program.mac_of(7, bytes([10, 0, 0, 9])) == 0xABCD
    assert program.mac_of(7, bytes([10, 0, 0, 8])) is None
    assert program.mac_of(8, bytes([10, 0, 0, 9])) is None, (
        "an address of another network is another address (law 8)"
    )
    down = msgspec.structs.replace(entry, admin_state_up=False)
    apply_change(state.sections[KEY], NetworkChange(network=down))
    program.change(state, [SectionUpdate(KEY, Version(1, 1), Version(1, 2), NetworkChange(network=down))])
    assert program.mac_of(7, bytes([10, 0, 0, 9])) is None
