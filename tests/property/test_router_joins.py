"""Whatever routers come to join and leave, a host's flows are those of what it holds (law 5).

Few networks and several routers between them, so that two networks are often joined twice, or part and meet in
one update; the host's own ports, others' ports and networks on demand come and go meanwhile.
"""

import random

from hypothesis import given
from hypothesis import strategies as st

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
    SectionKey,
    SectionUpdate,
    SubnetEntry,
    apply_change,
    empty_section_for,
)
from alcor.model.ids import GroupId, NetworkId, PortId, RuleId, SubnetId, Vni
from alcor.model.records import ExtraRoute, FixedIp
from alcor.model.version import Version

NETWORKS, ROUTERS, GROUPS = range(1, 5), "rst", "gh"
FACTS = HostFacts("a", b"\x0a\0\0\1", 0x02AC10000001)


def ip_of(network: int, number: int) -> bytes:
    return bytes([10, 0, network, number])


def change_of_network(chance: random.Random, network: int) -> NetworkChange:
    group = (GroupId(chance.choice(GROUPS)),)
    own, other = PortId(f"own{network}"), PortId(f"other{network}")
    kind = chance.randrange(5)
    if kind == 0:
        fixed = FixedIp(SubnetId(f"s{network}"), ip_of(network, 9))
        return NetworkChange(set_ports=(LocalPort(own, network, (fixed,), group, True, True),))
    if kind == 1:
        return NetworkChange(gone_ports=(own,))
    if kind == 2:
        placement = Placement(other, 99, (ip_of(network, 99),), b"\x0a\0\0\2", group)
        return NetworkChange(set_placements=(placement,))
    if kind == 3:
        return NetworkChange(gone_placements=(other,))
    return NetworkChange(entry(network, is_on_demand=chance.random() < 0.5))


def entry(network: int, *, is_on_demand: bool) -> NetworkEntry:
    return NetworkEntry(NetworkId(f"n{network}"), Vni(network), 1450, True, is_on_demand)


def leg(router: str, network: int, scope: str) -> RouterInterface:
    number = ord(router)
    return RouterInterface(
        PortId(f"{router}{network}"),
        NetworkId(f"n{network}"),
        Vni(network),
        (ip_of(network, 0), 24),
        ip_of(network, number),
        number << 8 | network,
        scope,
    )


def change_of_router(chance: random.Random, router: str) -> RouterChange:
    some = [network for network in NETWORKS if chance.random() < 0.3]
    came = tuple(
        leg(router, network, chance.choice(("", "", "x"))) for network in some if chance.random() < 0.5
    )
    legs = (leg(router, network, "") for network in some if network not in {each.vni for each in came})
    routes = (ExtraRoute((b"\x0b\0\0\0", 8), ip_of(chance.choice(NETWORKS), 7)),)
    is_up = chance.random() < 0.8
    return RouterChange(
        is_up, came, tuple((each.port_id, each.cidr) for each in legs), routes[: chance.randrange(2)]
    )


@given(st.integers(0, 2**32))
def test_flows_are_those_of_what_is_held_whatever_routers_join(seed: int) -> None:
    chance = random.Random(seed)
    state, program = HostState(), FlowProgram(FACTS, 1)
    groups: dict[str, SectionChange] = {
        f"group:{name}": GroupChange(
            set_rules=(Rule(RuleId(name), True, 4, 6, 80, 80, GroupId(chance.choice(GROUPS)), None),)
        )
        for name in GROUPS
    }
    networks: dict[str, SectionChange] = {
        f"network:n{network}": NetworkChange(
            entry(network, is_on_demand=chance.random() < 0.5),
            (SubnetEntry(SubnetId(f"s{network}"), (ip_of(network, 0), 24), ip_of(network, 1), True, (), ()),),
        )
        for network in NETWORKS
    }
    program.change(state, [told(state, key, change) for key, change in (groups | networks).items()])
    for _ in range(12):
        updates = []
        for _ in range(chance.randint(1, 3)):
            if chance.random() < 0.5:
                network = chance.choice(NETWORKS)
                updates.append(told(state, f"network:n{network}", change_of_network(chance, network)))
            else:
                router = chance.choice(ROUTERS)
                updates.append(told(state, f"router:{router}", change_of_router(chance, router)))
        program.change(state, updates)
        fresh = FlowProgram(FACTS, 1)
        fresh.seed_port_keys(program.port_keys)
        fresh.replace(state)
        assert program.flows == fresh.flows


def told(state: HostState, name: str, change: SectionChange) -> SectionUpdate:
    """Let the state have the change, and give it as it is told."""
    key = SectionKey(name)
    held = state.versions.get(key)
    section = state.sections.setdefault(key, empty_section_for(change))
    apply_change(section, change)
    version = state.versions[key] = Version(1, held.revision + 1 if held is not None else 1)
    return SectionUpdate(key, held, version, change)
