"""Ports with addresses of both versions, as the control plane sees them: one port, whichever is named."""

import asyncio
import io

import msgspec

from alcor.contracts.agent_channel import WANTS_MAX, Announce, Ask, Unknown, Update, Want
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Query
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.compiler.incremental import IncrementalCompiler
from alcor.control_plane.controller import Controller
from alcor.control_plane.delivery.look_ups import ABSENT_BURST, ASKERS_MAX, LookUps
from alcor.control_plane.region import OnDemandBounds, Region
from alcor.data_plane.asking import ADDRESSES_PER_PORT_MAX, BURST, Asking
from alcor.host_agent.neighbours import ABSENT_MAX, ASKED_MAX, Neighbours
from alcor.model.addressing import derived_ip, ip_from_text
from alcor.model.goal_state import (
    HostState,
    NetworkChange,
    NetworkSection,
    RouterChange,
    SectionUpdate,
    network_key,
    router_key,
)
from alcor.model.ids import AddressScopeId, HostId, RouterId, SubnetId, SubnetPoolId, Vni
from alcor.model.records import (
    ROUTER_INTERFACE,
    SLAAC,
    AddressPair,
    ExtraRoute,
    FixedIp,
    Host,
    Port,
    RecordSet,
    Router,
    Subnet,
    SubnetPool,
)
from alcor.model.version import Version
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT, EventLog
from doubles.control_plane import PROJECT, AgentDouble, commit, network, port, subnet
from doubles.grown_region import changed

BOUNDS = OnDemandBounds(above=10, below=5)
VNI = Vni(1)
PREFIX = ip_from_text("2001:db8:1::")
SHARED = (bytes([10, 16, 0, 200]), PREFIX[:8] + (200).to_bytes(8, "big"))  # of pairs
HERE, THERE = HostId("h0"), HostId("h1")
HOSTS = tuple(Host(id=HostId(f"h{n}"), project_id=PROJECT, vtep=bytes([172, 16, 0, n])) for n in range(3))


def prefix(*, derived: bool = True) -> Subnet:
    mode = SLAAC if derived else ""
    return msgspec.structs.replace(
        subnet(), id=SubnetId("sub6"), cidr=(PREFIX, 64), ra_mode=mode, address_mode=mode
    )


def v6_of(number: int) -> bytes:
    return derived_ip(PREFIX, number)


def dual(number: int, host: HostId, **more: object) -> Port:
    """A port with an address of each version."""
    one = port(number, host, **more)
    fixed = FixedIp(SubnetId("sub6"), v6_of(number))
    return msgspec.structs.replace(one, fixed_ips=(*one.fixed_ips, fixed))


class Time:
    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


class Desk:
    """A network on demand: a port on h0, which asks, and the others on h1."""

    def __init__(self, ports: int = 20) -> None:
        self.compiler = IncrementalCompiler(Region(BOUNDS))
        self.fold(
            RecordSet(
                networks=(network(),),
                subnets=(subnet(), prefix()),
                hosts=HOSTS,
                ports=(dual(1, HERE), *(dual(number, THERE) for number in range(2, ports + 1))),
            )
        )
        self.time = Time()
        log = EventLog(stream=io.StringIO())
        self.look_ups = LookUps(self.compiler.region, self.compiler.interest, self.time, log)

    def fold(self, puts: RecordSet):
        return self.compiler.fold(changed(self.compiler.region, puts))

    def ask(self, *ips: bytes, host: HostId = HERE):
        return self.look_ups.answer(host, Ask(1, tuple(Want(VNI, ip) for ip in ips)))


def test_a_port_is_found_by_each_of_its_addresses_and_told_with_all_of_them() -> None:
    for ip in (v6_of(7), dual(7, THERE).fixed_ips[0].ip):
        desk = Desk()
        assert desk.compiler.region.find(VNI, ip).id == port(7).id
        [section] = desk.ask(ip).sections
        [placement] = section.set_placements
        assert set(placement.ips) == {v6_of(7), dual(7, THERE).fixed_ips[0].ip}


def test_who_asks_for_both_addresses_learns_the_port_once() -> None:
    desk = Desk()
    answer = desk.ask(v6_of(7), dual(7, THERE).fixed_ips[0].ip)
    [section] = answer.sections
    assert len(section.set_placements) == 1
    assert not answer.unknown
    again = desk.ask(v6_of(7))
    assert (again.sections, again.unknown) == ([], []), "it has come already"


def test_numbers_that_are_equal_in_both_versions_are_two_addresses() -> None:
    ip = dual(7, THERE).fixed_ips[0].ip
    desk = Desk()
    answer = desk.ask(bytes(12) + ip)
    assert answer.sections == []
    assert answer.unknown


def test_who_asked_in_vain_is_told_when_a_port_gets_the_address() -> None:
    """A derived subnet gives every port of the network an address, in one write."""
    desk = Desk()
    bare = port(50, THERE)
    desk.fold(RecordSet(ports=(bare,)))
    assert desk.ask(v6_of(50)).unknown
    now = dual(50, THERE)
    desk.fold(RecordSet(ports=(now,)))
    [(host, section)] = desk.look_ups.came([now])
    assert host == HERE
    assert v6_of(50) in section.set_placements[0].ips


def test_those_who_learned_a_port_are_told_when_it_gets_a_further_address() -> None:
    desk = Desk()
    bare = port(50, THERE)
    desk.fold(RecordSet(ports=(bare,)))
    assert desk.ask(bare.fixed_ips[0].ip).sections
    [given] = desk.fold(RecordSet(ports=(dual(50, THERE),))).hosts[HERE]
    change = given.change()
    assert isinstance(change, NetworkChange)
    assert v6_of(50) in change.set_placements[0].ips


def test_a_network_is_on_demand_by_its_ports_not_by_their_addresses() -> None:
    assert not Desk(ports=BOUNDS.above).compiler.region.networks[network().id].on_demand
    assert Desk(ports=BOUNDS.above + 1).compiler.region.networks[network().id].on_demand


def test_a_scan_of_a_prefix_is_limited_by_network_and_takes_no_more_memory_than_any() -> None:
    """Of 2^64 addresses none is asked for twice: what bounds a scan is who asks, not what for."""
    desk = Desk()
    asked, refused = int(ABSENT_BURST), 0
    for start in range(0, ASKERS_MAX, WANTS_MAX):
        answer = desk.ask(
            *(PREFIX[:8] + number.to_bytes(8, "big") for number in range(start, start + WANTS_MAX))
        )
        refused += sum(len(unknown.wants) for unknown in answer.unknown if unknown.limited)
        asked -= sum(len(unknown.wants) for unknown in answer.unknown if not unknown.limited)
    assert asked == 0
    assert refused == ASKERS_MAX - int(ABSENT_BURST)
    assert len(desk.look_ups._askers) <= ASKERS_MAX
    [other] = desk.ask(bytes([10, 16, 9, 9])).unknown
    assert other.limited, "its addresses of the other version are the same network's"
    assert desk.ask(v6_of(7)).sections, "what is there is found all the same"


def test_a_scan_of_a_prefix_costs_its_port_and_nobody_else() -> None:
    asked: list[bytes] = []
    asking: Asking[str] = Asking(
        ask=lambda vni, ip: asked.append(ip) is None, mac_of=lambda *_: None, resume=lambda _: None
    )
    for number in range(10 * int(BURST)):
        ip = PREFIX[:8] + number.to_bytes(8, "big")
        asking.handed_over("packet", vni=1, ip=ip, key=1, to_mac=None, now_s=0.0)
    assert len(asked) == int(BURST)
    assert asking.addresses == ADDRESSES_PER_PORT_MAX
    asking.handed_over("other", vni=1, ip=v6_of(7), key=2, to_mac=None, now_s=0.0)
    assert asked[-1] == v6_of(7)
    assert asking.addresses == ADDRESSES_PER_PORT_MAX + 1


def test_an_agent_remembers_a_bounded_number_of_addresses_of_a_prefix() -> None:
    neighbours = Neighbours()
    for number in range(ABSENT_MAX + ASKED_MAX):
        ip = PREFIX[:8] + number.to_bytes(8, "big")
        assert neighbours.want(VNI, ip, 0.0)
        neighbours.take()
        neighbours.heard(Unknown(1, (Want(VNI, ip),), 60.0), 0.0)
    assert len(neighbours._absent) == ABSENT_MAX
    assert len(neighbours._asked) == 0


def test_a_second_address_makes_a_change_no_longer() -> None:
    """Law 4: addresses are part of their port."""
    counts = []
    for make in (port, dual):
        desk = Desk()
        counts.append([desk.fold(RecordSet(ports=(made,))).work for made in (make(60, THERE), make(60, HERE))])
    assert counts[0] == counts[1]


def test_hosts_are_told_how_addresses_of_a_subnet_come_about() -> None:
    desk = Desk()
    section = compile_full(desk.compiler.region, HERE)[network_key(network().id)]
    assert isinstance(section, NetworkChange)
    told = {entry.id: (entry.cidr, entry.ra_mode, entry.address_mode) for entry in section.set_subnets}
    assert told[SubnetId("sub6")] == ((PREFIX, 64), SLAAC, SLAAC)
    assert told[SubnetId("sub-1")][1:] == ("", "")


def test_a_router_port_has_a_leg_for_each_address_each_in_the_scope_of_its_version() -> None:
    desk = Desk()
    pools = tuple(
        SubnetPool(
            id=SubnetPoolId(f"pool{version}"),
            project_id=PROJECT,
            min_prefixlen=8,
            max_prefixlen=64,
            default_prefixlen=24,
            address_scope_id=AddressScopeId(f"scope{version}"),
        )
        for version in (4, 6)
    )
    router = Router(
        id=RouterId("router"),
        project_id=PROJECT,
        routes=(
            ExtraRoute((bytes([192, 168, 0, 0]), 16), bytes([10, 16, 0, 9])),
            ExtraRoute((ip_from_text("2001:db8:9::"), 48), v6_of(9)),
        ),
    )
    leg = msgspec.structs.replace(dual(99, HostId("")), device_owner=ROUTER_INTERFACE, device_id=router.id)
    subnets = tuple(
        msgspec.structs.replace(each, subnetpool_id=pool.id)
        for each, pool in zip((subnet(), prefix()), pools, strict=True)
    )
    desk.fold(RecordSet(subnetpools=pools, subnets=subnets, routers=(router,), ports=(leg,)))
    section = compile_full(desk.compiler.region, HERE)[router_key(router.id)]
    assert isinstance(section, RouterChange)
    assert {(each.ip, each.cidr, each.scope) for each in section.set_interfaces} == {
        (leg.fixed_ips[0].ip, subnet().cidr, "scope4"),
        (leg.fixed_ips[1].ip, (PREFIX, 64), "scope6"),
    }
    assert section.routes == router.routes
    half = msgspec.structs.replace(leg, fixed_ips=leg.fixed_ips[:1])
    given = {one.key: one.change() for one in desk.fold(RecordSet(ports=(half,))).hosts[HERE]}
    gone = given[router_key(router.id)]
    assert isinstance(gone, RouterChange)
    assert gone.gone_interfaces == ((leg.id, (PREFIX, 64)),)


async def test_an_address_of_a_pair_is_the_last_port_s_that_said_so_in_either_version() -> None:
    pairs = tuple(AddressPair(0x77, ip, len(ip) * 8) for ip in SHARED)
    store, clock = MemoryStore(), SystemClock()
    controller = Controller(store, clock, SILENT)
    await controller.start()
    holders = (dual(1, HERE, address_pairs=pairs), dual(2, THERE, address_pairs=pairs))
    await commit(store, networks=(network(),), subnets=(subnet(), prefix()), ports=holders)
    agents = [AgentDouble(host, bytes([172, 16, 0, number])) for number, host in enumerate((HERE, THERE))]
    for agent in agents:
        agent.connect(controller)
        await agent.complete.wait()
    for agent, holder in zip(agents, holders, strict=True):
        for ip in (*SHARED, v6_of(1), v6_of(2), bytes(12) + SHARED[0]):  # but the fixed ones, and nobody's
            agent.say(Announce(holder.id, ip))
        async with asyncio.timeout(5):
            while set((await store.get(Port, [holder.id]))[holder.id].announced) != set(SHARED):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    assert {each.id: each.announced for each in await store.select(Port, Query())} == {
        holders[0].id: (),
        holders[1].id: tuple(sorted(SHARED)),
    }
    assert {controller.region.find(VNI, ip).id for ip in SHARED} == {holders[1].id}
    for agent in agents:
        await agent.disconnect()
    await controller.stop()


def holding(number: int, *ips: bytes) -> Port:
    """A port whose workload announced addresses of its pairs."""
    pairs = tuple(AddressPair(0x77, ip, len(ip) * 8) for ip in ips)
    return msgspec.structs.replace(dual(number, THERE), address_pairs=pairs, announced=tuple(sorted(ips)))


def test_an_announced_address_is_found_like_a_port_s_own_in_either_version() -> None:
    for ip in SHARED:
        desk = Desk()
        assert desk.ask(ip).unknown, "nobody announced it"
        desk.fold(RecordSet(ports=(holding(7, ip),)))
        answer = desk.ask(ip)
        assert answer.unknown == []
        [section] = answer.sections
        assert [(each.port_id, each.announced) for each in section.set_placements] == [(port(7).id, (ip,))]


def test_who_asked_in_vain_is_told_when_the_address_is_announced() -> None:
    desk = Desk()
    assert desk.ask(*SHARED).unknown
    now = holding(7, *SHARED)
    desk.fold(RecordSet(ports=(now,)))
    [(host, section)] = desk.look_ups.came([now])
    assert (host, section.set_placements[0].port_id) == (HERE, now.id)


def test_an_agent_waits_no_longer_for_an_announced_address_that_arrived() -> None:
    neighbours, (ip, _) = Neighbours(), SHARED
    desk = Desk()
    desk.fold(RecordSet(ports=(holding(7, ip),)))
    [section] = desk.ask(ip).sections
    assert neighbours.want(VNI, ip, 0.0)
    neighbours.take()
    neighbours.heard(Unknown(1, (Want(VNI, v6_of(7)),), 60.0), 0.0)
    state, key = HostState(), network_key(network().id)
    change = msgspec.structs.replace(
        section.change(), network=desk.compiler.region.networks[network().id].entry
    )
    state.sections[key] = NetworkSection()
    state.sections[key].apply(change)
    neighbours.arrived(state, [Update(1, (SectionUpdate(key, None, Version(1, 1), change),))])
    assert not neighbours._asked
    assert not neighbours._absent
