"""Allowed address pairs, from the commit to packets: who may send, and who holds a shared address."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from alcor.contracts.agent_channel import Announce
from alcor.contracts.data_plane import HostFacts
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Query
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.data_plane.pipeline import pairs
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.pipeline.matching import IP_VERSIONS, IPV4, IPV6, IpVersion
from alcor.data_plane.simulated import exchange, packet
from alcor.data_plane.simulated.exchange import Workload
from alcor.data_plane.simulated.fabric import Fabric, Verdict
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.model.addressing import Cidr, ip_to_int, link_local_ip
from alcor.model.ids import PortId
from alcor.model.records import AddressPair, FixedIp, Port, RecordSet, SecurityGroupRule
from alcor.runtime.event_log import SILENT
from doubles import virtual
from doubles.control_plane import AgentDouble, commit, group, network, port, rule, subnet

pytestmark = pytest.mark.virtual_time

FIRST, SECOND, CLIENT, BACKUP = 1, 2, 3, 4  # numbers of ports; SECOND and CLIENT share a host
PREFIXES = {IPV4: Cidr.from_text("10.16.0.0/16"), IPV6: Cidr.from_text("2001:db8::/64")}
LAST = 100  # of the shared address
OTHER_MAC = 0x00005E000133
HOST_OF = {FIRST: "h1", SECOND: "h2", CLIENT: "h2", BACKUP: "h3"}


def name(number: int) -> PortId:
    return PortId(f"port-{number:06}")


def rules(version: IpVersion) -> tuple[SecurityGroupRule, ...]:
    """Everything out; in only what members of `pool` send."""
    out = msgspec.structs.replace(rule("out", "pool"), direction="egress")
    of_version = f"IPv{version.number}"
    return tuple(
        msgspec.structs.replace(each, ethertype=of_version) for each in (out, rule("in", "pool", "pool"))
    )


class World:
    """A controller in memory, and hosts whose simulated switches hold what their agents hold."""

    def __init__(self, bounds: OnDemandBounds, version: IpVersion) -> None:
        self.version = version
        self.shared_ip = self.ip(LAST)
        self.shared = ip_to_int(self.shared_ip)
        self.virtual = pairs.virtual_mac(self.shared_ip)
        self.store = MemoryStore()
        log = SILENT
        self.controller = Controller(self.store, virtual.clock(), log, on_demand=bounds)
        self.agents = {
            name: AgentDouble(name, bytes([172, 16, 0, n])) for n, name in enumerate(("h1", "h2", "h3"))
        }
        self.fabric = Fabric()
        self.hosts: dict[str, SimulatedHost] = {}

    async def start(self) -> None:
        await self.controller.start()
        cidr = tuple(PREFIXES[self.version])
        bits = self.version.bits
        await commit(
            self.store,
            networks=(network(),),
            subnets=(msgspec.structs.replace(subnet(), cidr=cidr),),
            security_groups=(group("pool"),),
            security_group_rules=rules(self.version),
            ports=(
                self.port(FIRST, AddressPair(FIRST, self.shared_ip, bits)),
                self.port(SECOND, AddressPair(OTHER_MAC, self.shared_ip, bits)),
                self.port(CLIENT),
                self.port(BACKUP, AddressPair(BACKUP, self.ip(0), bits - 8)),
            ),
        )
        for agent in self.agents.values():
            agent.connect(self.controller)
            await asyncio.wait_for(agent.complete.wait(), 20)
            self.hosts[agent.host] = host = SimulatedHost(HostFacts(agent.host, agent.vtep, 0x02AC10000001))
            host.on_announced = lambda port_id, ip, agent=agent: agent.say(Announce(port_id, ip))
            self.fabric.join(host)
        for number, home in HOST_OF.items():
            self.hosts[home].plug(name(number))
        await self.settle()

    def port(self, number: int, *held: AddressPair) -> Port:
        made = port(number, HOST_OF[number], groups=("pool",), address_pairs=held)
        fixed = FixedIp(made.fixed_ips[0].subnet_id, self.ip(number))
        return msgspec.structs.replace(made, fixed_ips=(fixed,))

    def ip(self, number: int) -> bytes:
        """Give the address of this number in the network."""
        return PREFIXES[self.version].network[:-1] + bytes([number])

    async def settle(self, revision: int = 0) -> None:
        """Wait until every host holds all that was committed, at least this revision."""
        assert not revision or await self.controller.convergence.wait_revision(revision, timeout_s=10)
        assert await self.controller.convergence.wait_revision(await self.store.revision(), timeout_s=10)
        for home, host in self.hosts.items():
            host.hold(self.agents[home].state, remove=True)

    async def announce(self, number: int, mac: int = 0) -> Verdict:
        """Send a gratuitous request of a workload, or an advertisement that nobody solicited."""
        make = packet.arp_request if self.version is IPV4 else packet.neighbour_advertisement
        return self.fabric.inject(name(number), make(mac or number, self.shared, self.shared))

    def asked(self, number: int = CLIENT) -> int | None:
        mac, _ = exchange.resolve(self.fabric, self.workload(number), self.shared_ip)
        return mac

    def workload(self, number: int) -> Workload:
        return exchange.workload(self.fabric, name(number), self.version)

    def sent(self, number: int, to_mac: int, to_ip: int, *, from_ip: int, from_mac: int = 0) -> Verdict:
        macs, ends = (from_mac or number, to_mac), (from_ip, to_ip)
        made = packet.ip(self.version, macs, ends, 17, udp_src=1000, udp_dst=2000)
        return self.fabric.inject(name(number), made)

    def reached(self) -> tuple[str, int] | None:
        """Send to the shared address; give the port that it arrives at, and under which MAC address."""
        verdict = self.sent(CLIENT, self.virtual, self.shared, from_ip=self.workload(CLIENT).ip)
        if not verdict.delivered:
            return None
        return verdict.delivered[0].port_id, verdict.delivered[0].packet.fields[Field.ETH_DST]

    async def ports(self) -> dict[str, Port]:
        return {found.id: found for found in await self.store.select(Port, Query())}


@pytest.fixture(params=IP_VERSIONS, ids=["IPv4", "IPv6"])
def version(request: pytest.FixtureRequest) -> IpVersion:
    return request.param


@pytest_asyncio.fixture(params=[OnDemandBounds(), OnDemandBounds(above=2, below=1)], ids=["told", "on-demand"])
async def world(request: pytest.FixtureRequest, version: IpVersion) -> AsyncIterator[World]:
    made = World(request.param, version)
    await made.start()
    try:
        yield made
    finally:
        for agent in made.agents.values():
            await agent.disconnect()
        await made.controller.stop()


@pytest_asyncio.fixture
async def told(version: IpVersion) -> AsyncIterator[World]:
    made = World(OnDemandBounds(), version)
    await made.start()
    try:
        yield made
    finally:
        for agent in made.agents.values():
            await agent.disconnect()
        await made.controller.stop()


async def test_before_anybody_says_so_the_first_port_holds_an_exact_address(told: World) -> None:
    assert told.asked() == told.virtual
    assert told.reached() == (name(FIRST), FIRST)


async def test_the_last_to_announce_holds_the_address_under_the_same_mac(told: World) -> None:
    for number, mac in ((SECOND, OTHER_MAC), (FIRST, FIRST), (BACKUP, BACKUP), (SECOND, OTHER_MAC)):
        before = await told.store.revision()
        verdict = await told.announce(number, mac)
        if number != BACKUP:
            assert not verdict.returned, "an answer would be taken for a conflict"
        await told.settle(before + 1)
        assert told.asked() == told.virtual
        assert told.reached() == (name(number), mac)
        held = {port_id for port_id, found in (await told.ports()).items() if told.shared_ip in found.announced}
        assert held == {name(number)}


async def test_an_announcement_that_is_no_news_changes_nothing(told: World) -> None:
    await told.announce(FIRST)
    await told.settle(await told.store.revision() + 1)
    revision = await told.store.revision()
    await told.announce(FIRST)
    told.agents["h1"].say(Announce(name(FIRST), told.shared_ip))
    await asyncio.sleep(0.05)
    assert await told.store.revision() == revision


async def test_nobody_takes_an_address_that_is_not_of_its_pairs(world: World) -> None:
    revision = await world.store.revision()
    fixed = world.ip(CLIENT)
    world.agents["h3"].say(Announce(name(BACKUP), fixed))  # in its pair, but the client's own
    world.agents["h2"].say(Announce(name(CLIENT), world.shared_ip))
    world.agents["h1"].say(Announce(name(SECOND), world.shared_ip))  # of another host
    await asyncio.sleep(0.05)
    assert await world.store.revision() == revision


async def test_pairs_pass_anti_spoofing_and_count_as_members(told: World) -> None:
    client_ip, shared = ip_to_int(told.ip(CLIENT)), told.shared
    cases = (
        (FIRST, 0, shared, True),
        (FIRST, 0, shared + 1, False),
        (FIRST, OTHER_MAC, shared, False),
        (SECOND, OTHER_MAC, shared, True),
        (SECOND, 0, shared, False),
        (BACKUP, 0, shared + 7, True),
        (BACKUP, 0, shared + 0x100, False),
    )
    for number, mac, from_ip, passes in cases:
        verdict = told.sent(number, CLIENT, client_ip, from_ip=from_ip, from_mac=mac)
        assert bool(verdict.delivered) == passes, (number, mac, from_ip)


async def test_pairs_taken_away_are_members_no_longer(told: World) -> None:
    bare = msgspec.structs.replace((await told.ports())[name(BACKUP)], address_pairs=(), revision_number=1)
    revision = await commit(told.store, updates=RecordSet(ports=(bare,)))
    await told.settle(revision)
    client_ip = ip_to_int(told.ip(CLIENT))
    assert not told.sent(BACKUP, CLIENT, client_ip, from_ip=told.shared + 7).delivered


async def test_where_neighbours_are_asked_for_an_announced_address_is_found(version: IpVersion) -> None:
    world = World(OnDemandBounds(above=2, below=1), version)
    await world.start()
    vni = world.controller.region.networks[port(FIRST).network_id].vni
    assert world.controller.region.find(vni, world.shared_ip) is None
    for number, mac in ((FIRST, FIRST), (SECOND, OTHER_MAC)):
        before = await world.store.revision()
        await world.announce(number, mac)
        await world.settle(before + 1)
        found = world.controller.region.find(vni, world.shared_ip)
        assert found is not None
        assert found.id == name(number)
    for agent in world.agents.values():
        await agent.disconnect()
    await world.controller.stop()


async def test_a_question_for_a_shared_address_is_answered_to_all_but_its_holder(told: World) -> None:
    """A new master that looks for duplicates first must hear of the old one (RFC 5227; RFC 4862)."""
    await told.announce(SECOND, OTHER_MAC)
    await told.settle(await told.store.revision() + 1)
    ask = packet.arp_request if told.version is IPV4 else packet.neighbour_solicitation
    assert told.fabric.inject(name(BACKUP), ask(BACKUP, 0, told.shared)).returned
    held = told.fabric.inject(name(SECOND), ask(OTHER_MAC, 0, told.shared))
    assert held.dropped_by == f"address that port {name(SECOND)} holds"


def test_a_link_local_address_is_not_shared_whatever_the_pair() -> None:
    anything = (AddressPair(FIRST, bytes(16), 0),)
    assert pairs.may_announce(anything, FIRST, PREFIXES[IPV6].network)
    assert not pairs.may_announce(anything, FIRST, link_local_ip(FIRST))


def test_virtual_mac_addresses_are_local_and_of_one_station() -> None:
    macs = [
        pairs.virtual_mac(PREFIXES[each].network[:-1] + bytes([n])) for each in IP_VERSIONS for n in range(256)
    ]
    assert len(set(macs)) == len(macs)
    assert {mac >> 40 & 3 for mac in macs} == {2}
