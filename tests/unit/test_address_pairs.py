"""Allowed address pairs, from the commit to packets: who may send, and who holds a shared address."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from control_plane_doubles import AgentDouble, commit, group, network, port, rule, subnet

from alcor.contracts.agent_channel import Announce
from alcor.contracts.data_plane import HostFacts
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Query
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.data_plane.pipeline import pairs
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.simulated import exchange, packet
from alcor.data_plane.simulated.fabric import Fabric, Verdict
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.model.ids import PortId
from alcor.model.records import AddressPair, Port, RecordSet, SecurityGroupRule
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog, Level

FIRST, SECOND, CLIENT, BACKUP = 1, 2, 3, 4  # numbers of ports; SECOND and CLIENT share a host
SHARED_IP = bytes([10, 16, 0, 100])
SHARED = int.from_bytes(SHARED_IP, "big")
VIRTUAL = pairs.virtual_mac(SHARED_IP)
OTHER_MAC = 0x00005E000133
HOST_OF = {FIRST: "h1", SECOND: "h2", CLIENT: "h2", BACKUP: "h3"}


def name(number: int) -> PortId:
    return PortId(f"port-{number:06}")


def rules() -> tuple[SecurityGroupRule, ...]:
    """Everything out; in only what members of `pool` send."""
    out = msgspec.structs.replace(rule("out", "pool"), direction="egress")
    return out, rule("in", "pool", "pool")


class World:
    """A controller in memory, and hosts whose simulated switches hold what their agents hold."""

    def __init__(self, bounds: OnDemandBounds) -> None:
        self.store = MemoryStore()
        log = EventLog(level=Level.ERROR)
        self.controller = Controller(self.store, SystemClock(), log, on_demand=bounds)
        self.agents = {
            name: AgentDouble(name, bytes([172, 16, 0, n])) for n, name in enumerate(("h1", "h2", "h3"))
        }
        self.fabric = Fabric()
        self.hosts: dict[str, SimulatedHost] = {}

    async def start(self) -> None:
        await self.controller.start()
        cidr = (bytes([10, 16, 0, 0]), 16)
        await commit(
            self.store,
            networks=(network(),),
            subnets=(msgspec.structs.replace(subnet(), cidr=cidr),),
            security_groups=(group("pool"),),
            security_group_rules=rules(),
            ports=(
                self.port(FIRST, AddressPair(FIRST, SHARED_IP, 32)),
                self.port(SECOND, AddressPair(OTHER_MAC, SHARED_IP, 32)),
                self.port(CLIENT),
                self.port(BACKUP, AddressPair(BACKUP, bytes([10, 16, 0, 0]), 24)),
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
        return port(number, HOST_OF[number], groups=("pool",), address_pairs=held)

    async def settle(self, revision: int = 0) -> None:
        """Wait until every host holds all that was committed, at least this revision."""
        assert not revision or await self.controller.convergence.wait_revision(revision, timeout_s=10)
        assert await self.controller.convergence.wait_revision(await self.store.revision(), timeout_s=10)
        for home, host in self.hosts.items():
            host.hold(self.agents[home].state, remove=True)

    async def announce(self, number: int, mac: int = 0, ip: bytes = SHARED_IP) -> Verdict:
        """Send a gratuitous request of a workload."""
        address = int.from_bytes(ip, "big")
        return self.fabric.inject(name(number), packet.arp_request(mac or number, address, address))

    def asked(self, number: int = CLIENT, ip: int = SHARED) -> int | None:
        mac, _ = exchange.resolve(self.fabric, exchange.workload(self.fabric, name(number)), ip)
        return mac

    def sent(self, number: int, to_mac: int, to_ip: int, *, from_ip: int, from_mac: int = 0) -> Verdict:
        made = packet.ipv4(from_mac or number, to_mac, from_ip, to_ip, 17, udp_src=1000, udp_dst=2000)
        return self.fabric.inject(name(number), made)

    def reached(self) -> tuple[str, int] | None:
        """Send to the shared address; give the port that it arrives at, and under which MAC address."""
        verdict = self.sent(CLIENT, VIRTUAL, SHARED, from_ip=exchange.workload(self.fabric, name(CLIENT)).ip)
        if not verdict.delivered:
            return None
        return verdict.delivered[0].port_id, verdict.delivered[0].packet.fields[Field.ETH_DST]

    async def ports(self) -> dict[str, Port]:
        return {found.id: found for found in await self.store.select(Port, Query())}


@pytest_asyncio.fixture(params=[OnDemandBounds(), OnDemandBounds(above=2, below=1)], ids=["told", "on-demand"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(request.param)
    await made.start()
    try:
        yield made
    finally:
        for agent in made.agents.values():
            await agent.disconnect()
        await made.controller.stop()


@pytest_asyncio.fixture
async def told() -> AsyncIterator[World]:
    made = World(OnDemandBounds())
    await made.start()
    try:
        yield made
    finally:
        for agent in made.agents.values():
            await agent.disconnect()
        await made.controller.stop()


async def test_before_anybody_says_so_the_first_port_holds_an_exact_address(told: World) -> None:
    assert told.asked() == VIRTUAL
    assert told.reached() == (name(FIRST), FIRST)


async def test_the_last_to_announce_holds_the_address_under_the_same_mac(told: World) -> None:
    for number, mac in ((SECOND, OTHER_MAC), (FIRST, FIRST), (BACKUP, BACKUP), (SECOND, OTHER_MAC)):
        before = await told.store.revision()
        verdict = await told.announce(number, mac)
        if number != BACKUP:
            assert not verdict.returned, "an answer would be taken for a conflict"
        await told.settle(before + 1)
        assert told.asked() == VIRTUAL
        assert told.reached() == (name(number), mac)
        held = {port_id for port_id, found in (await told.ports()).items() if SHARED_IP in found.announced}
        assert held == {name(number)}


async def test_an_announcement_that_is_no_news_changes_nothing(told: World) -> None:
    await told.announce(FIRST)
    await told.settle(await told.store.revision() + 1)
    revision = await told.store.revision()
    await told.announce(FIRST)
    told.agents["h1"].say(Announce(name(FIRST), SHARED_IP))
    await asyncio.sleep(0.05)
    assert await told.store.revision() == revision


async def test_nobody_takes_an_address_that_is_not_of_its_pairs(world: World) -> None:
    revision = await world.store.revision()
    fixed = bytes([10, 16, 0, CLIENT])
    world.agents["h3"].say(Announce(name(BACKUP), fixed))  # in its pair, but the client's own
    world.agents["h2"].say(Announce(name(CLIENT), SHARED_IP))
    world.agents["h1"].say(Announce(name(SECOND), SHARED_IP))  # of another host
    await asyncio.sleep(0.05)
    assert await world.store.revision() == revision


async def test_pairs_pass_anti_spoofing_and_count_as_members(told: World) -> None:
    client_ip = int.from_bytes(bytes([10, 16, 0, CLIENT]), "big")
    cases = (
        (FIRST, 0, SHARED, True),
        (FIRST, 0, SHARED + 1, False),
        (FIRST, OTHER_MAC, SHARED, False),
        (SECOND, OTHER_MAC, SHARED, True),
        (SECOND, 0, SHARED, False),
        (BACKUP, 0, SHARED + 7, True),
        (BACKUP, 0, SHARED + 0x100, False),
    )
    for number, mac, from_ip, passes in cases:
        verdict = told.sent(number, CLIENT, client_ip, from_ip=from_ip, from_mac=mac)
        assert bool(verdict.delivered) == passes, (number, mac, from_ip)


async def test_pairs_taken_away_are_members_no_longer(told: World) -> None:
    bare = msgspec.structs.replace((await told.ports())[name(BACKUP)], address_pairs=(), revision_number=1)
    revision = await commit(told.store, updates=RecordSet(ports=(bare,)))
    await told.settle(revision)
    client_ip = int.from_bytes(bytes([10, 16, 0, CLIENT]), "big")
    assert not told.sent(BACKUP, CLIENT, client_ip, from_ip=SHARED + 7).delivered


async def test_where_neighbours_are_asked_for_an_announced_address_is_found() -> None:
    world = World(OnDemandBounds(above=2, below=1))
    await world.start()
    vni = world.controller.region.networks[port(FIRST).network_id].vni
    assert world.controller.region.find(vni, SHARED_IP) is None
    for number, mac in ((FIRST, FIRST), (SECOND, OTHER_MAC)):
        before = await world.store.revision()
        await world.announce(number, mac)
        await world.settle(before + 1)
        found = world.controller.region.find(vni, SHARED_IP)
        assert found is not None
        assert found.id == name(number)
    for agent in world.agents.values():
        await agent.disconnect()
    await world.controller.stop()
