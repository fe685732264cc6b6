"""An interface more of a router costs the same whatever else it joins (law 4): lines are counted."""

from collections.abc import Callable

import msgspec
import pytest
from counted_work import COPY_B, work_of

from alcor.contracts.data_plane import HostFacts
from alcor.control_plane.compiler.incremental import Compiled, IncrementalCompiler
from alcor.control_plane.region import Region
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
    SubnetEntry,
    apply_change,
    empty_section_for,
)
from alcor.model.ids import HostId, NetworkId, PortId, RouterId, SubnetId, Vni
from alcor.model.records import (
    ROUTER_INTERFACE,
    ExtraRoute,
    FixedIp,
    Host,
    Network,
    Port,
    RecordSet,
    Router,
    Subnet,
)
from alcor.model.version import Version
from doubles.control_plane import PROJECT, port
from doubles.grown_region import NOTHING, changed

INTERFACES = (10, 100, 1_000)
NEXT = 2_000  # the network of the interface that comes and goes
HOSTS = ("a", "b", "c")
ROUTER = RouterId("router")
V = Version(1, 1)


def assert_same_work(prepare: Callable[[int], Callable[[], object]]) -> None:
    """Copies of what a router joins would be bytes, not lines."""
    few, more, many = [work_of(lambda count=count: prepare(count)) for count in INTERFACES]  # type: ignore[misc]
    assert few.lines == more.lines == many.lines
    assert min(more.bytes_most, many.bytes_most) <= few.bytes_most + COPY_B


def in_network(number: int, host: str = "") -> Port:
    """A workload's port, or without a host the router's interface."""
    of = {} if host else {"device_owner": ROUTER_INTERFACE, "device_id": ROUTER}
    made = port(number * 10 + len(host), host, **of)  # type: ignore[arg-type]
    ip = ((10 << 24) + (number << 8) + 1 + len(host)).to_bytes(4, "big")
    fixed = FixedIp(SubnetId(f"sub-{number}"), ip)
    return msgspec.structs.replace(made, network_id=NetworkId(f"net-{number}"), fixed_ips=(fixed,))


def at(host: str) -> Port:
    """A port of the host in the router's first network."""
    return msgspec.structs.replace(
        in_network(0, host), id=PortId(f"at-{host}"), fixed_ips=(FixedIp(SubnetId("sub-0"), host.encode() * 4),)
    )


def joined(interfaces: int) -> IncrementalCompiler:
    """A router of so many networks; three hosts have a port in the first, one of them in the next as well."""
    compiler = IncrementalCompiler(Region())
    numbers = [*range(interfaces), NEXT]
    records = RecordSet(
        networks=tuple(
            Network(id=NetworkId(f"net-{number}"), project_id=PROJECT, vni=Vni(1 + number))
            for number in numbers
        ),
        subnets=tuple(
            Subnet(
                id=SubnetId(f"sub-{number}"),
                project_id=PROJECT,
                network_id=NetworkId(f"net-{number}"),
                cidr=(((10 << 24) + (number << 8)).to_bytes(4, "big"), 24),
            )
            for number in numbers
        ),
        routers=(Router(id=ROUTER, project_id=PROJECT),),
        hosts=tuple(Host(id=HostId(name), project_id=PROJECT, vtep=name.encode() * 4) for name in HOSTS),
        ports=(
            *(in_network(number) for number in range(interfaces)),
            *(at(name) for name in HOSTS),
            in_network(NEXT, "a"),
        ),
    )
    compiler.fold(changed(compiler.region, records))
    return compiler


INTERFACE = RecordSet(ports=(in_network(NEXT),))
PORT = RecordSet(ports=(in_network(NEXT, "b"),))
STEPS = {
    "an interface comes": ([], (INTERFACE, NOTHING)),
    "an interface goes": ([(INTERFACE, NOTHING)], (NOTHING, INTERFACE)),
    "a host's first port in a network comes": ([(INTERFACE, NOTHING)], (PORT, NOTHING)),
    "a host's last port in a network goes": ([(INTERFACE, NOTHING), (PORT, NOTHING)], (NOTHING, PORT)),
}


@pytest.mark.parametrize("what", STEPS)
def test_what_a_router_joins_makes_no_change_of_it_dearer(what: str) -> None:
    before, step = STEPS[what]

    def prepare(interfaces: int) -> Callable[[], Compiled]:
        compiler = joined(interfaces)
        for each in before:
            compiler.fold(changed(compiler.region, *each))
        change = changed(compiler.region, *step)
        return lambda: compiler.fold(change)

    assert_same_work(prepare)


def leg(number: int) -> RouterInterface:
    return RouterInterface(
        PortId(f"leg{number}"),
        NetworkId(f"net-{number}"),
        Vni(1 + number),
        (((10 << 24) + (number << 8)).to_bytes(4, "big"), 24),
        ((10 << 24) + (number << 8) + 1).to_bytes(4, "big"),
        0xFA163D000000 + number,
    )


def network(number: int, *hosts: str, group: str, is_on_demand: bool) -> NetworkChange:
    """Own port and placements. All in one group, whose rules name itself."""
    ip = ((10 << 24) + (number << 8) + 9).to_bytes(4, "big")
    own = LocalPort(
        PortId(f"own{number}"), number, (FixedIp(SubnetId(f"sub-{number}"), ip),), (group,), True, True
    )
    return NetworkChange(
        network=NetworkEntry(NetworkId(f"net-{number}"), Vni(1 + number), 1450, True, is_on_demand),
        set_subnets=(SubnetEntry(SubnetId(f"sub-{number}"), leg(number).cidr, leg(number).ip, True, (), ()),),
        set_ports=(own,) if "own" in hosts else (),
        set_placements=(Placement(PortId(f"p{number}"), number, (ip,), b"\x0a\0\0\x02", (group,)),)
        if "other" in hosts
        else (),
    )


def host_of(interfaces: int, *, routes: tuple[ExtraRoute, ...] = ()) -> tuple[FlowProgram, HostState]:
    """A host with a port in the router's first network, and others' ports in the next one."""
    changes: dict[str, SectionChange] = {
        "router:r": RouterChange(True, tuple(map(leg, range(interfaces))), routes=routes),
        "group:g": GroupChange(set_rules=(Rule("r", True, 4, 6, 80, 80, "g", None),)),
        "network:net-0": network(0, "own", group="g", is_on_demand=False),
        f"network:net-{NEXT}": network(NEXT, "other", group="g", is_on_demand=True),
    }
    for number in range(1, interfaces):
        changes[f"network:net-{number}"] = network(number, "other", group="g", is_on_demand=False)
    state = HostState()
    for key, change in changes.items():
        section = empty_section_for(change)
        apply_change(section, change)
        state.sections[key], state.versions[key] = section, V
    program = FlowProgram(HostFacts("a", b"\x0a\0\0\x01", 0x02AC10000001), 1)
    program.replace(state)
    return program, state


LEG = leg(NEXT)
COMES = RouterChange(True, (LEG,))
GOES = RouterChange(True, gone_interfaces=((LEG.port_id, LEG.cidr),))
OWN = NetworkChange(set_ports=network(NEXT, "own", group="h", is_on_demand=True).set_ports)
ROUTER_CHANGES: dict[str, list[tuple[str, SectionChange]]] = {
    "comes": [("router:r", COMES)],
    "goes": [("router:r", COMES), ("router:r", GOES)],
    "comes where the host has a port": [(f"network:net-{NEXT}", OWN), ("router:r", COMES)],
    "goes where the host has a port": [
        (f"network:net-{NEXT}", OWN),
        ("router:r", COMES),
        ("router:r", GOES),
    ],
}


@pytest.mark.parametrize("routes", [(), ((((11 << 24).to_bytes(4, "big"), 8), leg(0).ip[:3] + b"\x63"),)])
@pytest.mark.parametrize("what", ROUTER_CHANGES)
def test_what_a_router_joins_makes_no_interface_dearer_for_its_hosts(what: str, routes) -> None:
    def prepare(interfaces: int) -> Callable[[], object]:
        told = tuple(ExtraRoute(*route) for route in routes)
        program, state = host_of(interfaces, routes=told)
        changes = [
            (key, msgspec.structs.replace(change, routes=told) if key == "router:r" else change)
            for key, change in ROUTER_CHANGES[what]
        ]
        updates = [
            SectionUpdate(key, Version(1, number), Version(1, number + 1), change)
            for number, (key, change) in enumerate(changes, 1)
        ]
        program.change(state, updates[:-1])
        return lambda: program.change(state, updates[-1:])

    assert_same_work(prepare)
