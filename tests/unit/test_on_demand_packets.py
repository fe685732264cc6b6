"""Packets of both IP versions where hosts ask: real controller and agents, simulated data planes, no socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.pipeline.matching import IPV4, IPV6, IpVersion
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.driver import SimulatedDataPlane
from alcor.data_plane.simulated.exchange import Exchange, TcpConnection, Workload
from alcor.data_plane.simulated.fabric import Fabric
from alcor.data_plane.simulated.packet import Packet
from alcor.model.addressing import ip_from_text, ip_to_int
from alcor.model.ids import HostId
from alcor.model.records import ExtraRoute
from alcor.processes.tracing import RegionTracer
from doubles.asking_region import AskingRegion, dual_port
from doubles.control_plane import commit
from doubles.waiting import eventually

HOSTS = ("h1", "h2", "h3")


class Cloud(AskingRegion):
    """Three simulated hosts, between which packets of one IP version are sent."""

    version: IpVersion = IPV4

    def __init__(self) -> None:
        super().__init__()
        self.fabric = Fabric()
        self.planes: dict[str, SimulatedDataPlane] = {}

    async def start_simulated(self) -> None:
        for number, name in enumerate(HOSTS):
            facts = HostFacts(HostId(name), bytes([172, 16, 0, number + 1]), 0x02AC10000000 + number)
            self.planes[name] = SimulatedDataPlane(facts, self.fabric)
        await self.start([(plane.host.facts, plane) for plane in self.planes.values()])

    async def add(self, *, groups: tuple[str, ...] = ("web",), **where: str) -> None:
        """Create and plug ports: name -> host."""
        await self.create(groups=groups, **where)
        for name, host in where.items():
            self.planes[host].plug(self.ports[name].id)

    async def move(self, name: str, host: str) -> None:
        before = await self.bind(name, host)
        self.planes[before.host].unplug(before.id)
        self.planes[host].plug(before.id)

    def ping(self, source: str, target: str) -> Exchange:
        """Ping once, with no second try. Fails while an address is being asked for."""
        return exchange.ping(self.fabric, self.ports[source].id, self.address(target))

    async def reaches(self, source: str, target: str) -> bool:
        """Ping as workloads do: both resolve first, each by one question, and wait a moment for the answer."""
        if not await self.resolves(source, target):
            return False
        return await self.resolves(target, source) and self.ping(source, target).succeeded

    async def resolves(self, source: str, target: str) -> bool:
        """Ask once for an address, and wait a moment for the answer."""
        sender = self.workload(source)
        seen = len(self.fabric.late)
        mac, verdict = exchange.resolve(self.fabric, sender, self.address(target))
        if mac is not None or verdict is None or not verdict.handed_over:
            return mac is not None
        try:
            await eventually(lambda: len(self.fabric.late) > seen, timeout_s=0.3)
        except TimeoutError:
            return False
        late = self.fabric.late[-1]
        assert late.port_id == self.ports[source].id
        return bool(late.verdict.returned)

    def workload(self, name: str) -> Workload:
        return exchange.workload(self.fabric, self.ports[name].id, self.version)

    def datagram(self, sender: Workload, mac: int, to_ip: bytes) -> Packet:
        return exchange.packets.ip(
            self.version, (sender.mac, mac), (sender.ip, ip_to_int(to_ip)), 17, udp_src=9, udp_dst=9
        )

    def address(self, name: str) -> bytes:
        return next(it.ip for it in self.ports[name].fixed_ips if len(it.ip) == self.version.bits // 8)

    def said(self, ipv4: str, ipv6: str) -> bytes:
        """Give the address of the version."""
        return ip_from_text(ipv4 if self.version is IPV4 else ipv6)


@pytest.fixture(autouse=True, params=(IPV4, IPV6), ids=("IPv4", "IPv6"))
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cloud, "version", request.param)


@asynccontextmanager
async def cloud(**where: str) -> AsyncIterator[Cloud]:
    made = Cloud()
    await made.start_simulated()
    try:
        if where:
            await made.add(**where)
        yield made
    finally:
        await made.stop()


LARGE = {"a": "h1", "b": "h2", "c": "h3", "d": "h1"}


async def test_a_host_of_a_large_network_holds_its_own_placements_only() -> None:
    async with cloud(**LARGE) as region:
        for host in HOSTS:
            own = {one.id for one in region.ports.values() if one.host == host}
            assert region.placements(host) == own
        region.check()


async def test_the_first_packet_to_an_unknown_neighbour_needs_no_retry() -> None:
    async with cloud(**LARGE) as region:
        assert await region.reaches("a", "b")
        assert region.placements("h1") == {region.ports[name].id for name in "abd"}
        assert region.placements("h3") == {region.ports["c"].id}, "who did not ask is told nothing"
        region.check()


async def test_a_learned_neighbour_that_moves_is_followed() -> None:
    async with cloud(**LARGE) as region:
        assert await region.reaches("a", "b")
        await region.move("b", "h3")
        asked = region.controller.look_ups.found
        assert [one.port_id for one in region.ping("a", "b").verdicts[0].delivered] == [region.ports["b"].id]
        assert region.controller.look_ups.found == asked, "the move was told to who had asked"
        assert await region.reaches("b", "a")
        region.check()


async def test_a_learned_neighbour_that_is_deleted_is_forgotten() -> None:
    async with cloud(**LARGE, e="h2") as region:
        assert await region.reaches("a", "b")
        gone = region.ports["b"]
        await region.delete("b")
        assert gone.id not in region.placements("h1")
        region.ports["b"] = gone
        assert not await region.reaches("a", "b")
        del region.ports["b"]
        region.check()


async def test_who_asked_in_vain_is_told_when_the_port_comes() -> None:
    async with cloud(**LARGE) as region:
        new = dual_port(90, "h3", groups=("web",))
        region.ports["new"] = new
        assert not await region.reaches("a", "new")
        assert region.controller.look_ups.absent == 1
        region.ports.pop("new")
        revision = await commit(region.store, ports=(new,))
        assert await region.controller.convergence.wait_revision(revision, timeout_s=2)
        await eventually(lambda: new.id in region.placements("h1"))
        assert region.controller.look_ups.found == 0, "nobody had to ask again"
        region.check()


async def test_an_address_that_is_nobodys_is_asked_for_once_in_a_while() -> None:
    async with cloud(**LARGE) as region:
        region.ports["nobody"] = dual_port(99, "h2")
        for _ in range(20):
            region.ping("a", "nobody")
            await asyncio.sleep(0.002)
        assert region.controller.look_ups.absent == 1


async def test_a_network_that_shrinks_is_told_whole_again_and_one_that_grows_is_not() -> None:
    async with cloud(a="h1", b="h2", c="h3") as region:
        assert region.ping("a", "b").succeeded, "told whole"
        await region.add(d="h1", e="h2")
        assert region.placements("h3") == {region.ports["c"].id}
        assert await region.reaches("c", "a")
        region.check()
        for name in "de":
            await region.delete(name)
        assert region.placements("h3") == {region.ports["c"].id, region.ports["a"].id}, "between the bounds"
        for name in "bc":
            await region.delete(name)
        await region.add(f="h2")
        assert region.ping("a", "f").succeeded, "told whole again"
        region.check()


async def test_a_connection_to_a_neighbour_that_was_learned_survives_a_new_stream() -> None:
    async with cloud(**LARGE) as region:
        assert await region.reaches("a", "b")
        stream = region.controller._streams[HostId("h1")]
        stream.channel.close("cut")
        await eventually(lambda: region.controller._streams.get(HostId("h1")) not in (None, stream))
        await eventually(
            lambda: all(not status.sections_pending for status in region.controller.convergence.hosts())
        )
        assert region.ping("a", "b").succeeded
        assert region.controller.look_ups.found == 2, "nothing had to be learned again"
        region.check()


async def test_a_packet_for_an_address_outside_the_network_or_to_many_is_not_asked_for() -> None:
    async with cloud(**LARGE) as region:
        sender = region.workload("a")
        outside = region.datagram(sender, 0x020000000009, region.said("11.0.0.1", "2001:db8:b::1"))
        many = region.datagram(sender, 0x01005E000001, region.address("b"))
        for packet in (outside, many):
            verdict = region.fabric.inject(region.ports["a"].id, packet)
            assert not verdict.handed_over


async def test_a_routed_packet_waits_where_it_was_and_goes_on_routed() -> None:
    async with cloud(**LARGE) as region:
        await region.add_network(2)
        await region.join(1, 2)
        await region.create(net=2, w="h2", x="h3", y="h3", z="h1")
        for name in "wxyz":
            region.planes[region.ports[name].host].plug(region.ports[name].id)
        sent = region.ping("a", "x")
        assert [verdict.handed_over for verdict in sent.verdicts] == [True]
        await eventually(lambda: len(region.fabric.late) == 1)
        [late] = region.fabric.late
        [arrived] = late.verdict.delivered
        assert arrived.port_id == region.ports["x"].id
        assert arrived.packet.fields[Field.IP_TTL] == 63
        assert arrived.packet.fields[Field.ETH_DST] == region.ports["x"].mac
        assert region.ping("a", "x").verdicts[0].delivered, "known from now on"
        region.check()


async def test_the_next_hop_of_a_route_is_asked_for_and_not_the_destination() -> None:
    async with cloud(**LARGE) as region:
        await region.add_network(2)
        far, hop = region.said("172.20.0.5", "2001:db8:f::5"), region.address("d")
        destination = region.said("172.20.0.0", "2001:db8:f::")
        await region.join(1, 2, routes=(ExtraRoute((destination, 16 if len(far) == 4 else 48), hop),))
        await region.create(net=2, w="h2", x="h3", y="h3", z="h1")
        region.planes["h3"].plug(region.ports["x"].id)
        sender = region.workload("x")
        mac, _ = exchange.resolve(region.fabric, sender, far)
        assert mac is not None
        packet = region.datagram(sender, mac, far)
        assert region.fabric.inject(sender.port_id, packet).handed_over
        await eventually(lambda: len(region.fabric.late) == 1)
        [arrived] = region.fabric.late[0].verdict.delivered
        assert arrived.port_id == region.ports["d"].id
        assert arrived.packet.fields[region.version.destination] == ip_to_int(far)
        assert region.fabric.inject(sender.port_id, packet).delivered, "known from now on"
        tracer = RegionTracer(region.controller)
        asked = {"protocol": "udp", "dst_port": 9, "icmp_type": None}
        traced = await tracer.trace(port_id=region.ports["y"].id, to_ip=far, **asked)
        assert traced.to_port == region.ports["d"].id
        region.check()


async def test_a_trace_tells_what_the_first_packet_will_do() -> None:
    async with cloud(**LARGE) as region:
        tracer = RegionTracer(region.controller)
        to_ip, nobodys = region.address("b"), region.said("10.16.9.9", "2001:db8:0:1::99:9")
        asked = {"port_id": region.ports["a"].id, "protocol": "icmp", "dst_port": 0, "icmp_type": None}
        assert (await tracer.trace(to_ip=to_ip, **asked)).to_port == region.ports["b"].id
        assert not (await tracer.trace(to_ip=nobodys, **asked)).delivered
        assert region.controller.look_ups.found == 0, "to look is not to ask"


async def test_a_rule_about_members_asks_for_a_sender_that_is_not_known() -> None:
    async with cloud(**LARGE) as region:
        await region.add(groups=("guarded",), server="h3")
        await region.resolves("a", "server")
        assert region.ports["a"].id not in region.placements("h3")
        sent = region.ping("a", "server")
        assert [verdict.handed_over for verdict in sent.verdicts] == [True], "h3 asks who it is from"
        await eventually(lambda: region.ports["a"].id in region.placements("h3"))
        [late] = [late for late in region.fabric.late if late.port_id is None]
        assert [one.port_id for one in late.verdict.delivered] == [region.ports["server"].id]
        assert region.ping("a", "server").succeeded
        region.check()


async def test_a_sender_that_is_no_member_is_asked_for_once_and_refused() -> None:
    async with cloud(**LARGE) as region:
        await region.add(groups=("guarded",), server="h3")
        await region.add(groups=("alone",), stranger="h2")
        await region.resolves("stranger", "server")
        assert [verdict.handed_over for verdict in region.ping("stranger", "server").verdicts] == [True]
        await eventually(lambda: region.ports["stranger"].id in region.placements("h3"))
        asked = region.controller.look_ups.found
        for _ in range(10):
            [verdict] = region.ping("stranger", "server").verdicts
            assert not verdict.handed_over, "known, and refused without the agent"
            assert verdict.dropped_by == "no ingress rule of the security groups allows it"
        assert region.controller.look_ups.found == asked
        region.check()


async def test_a_learned_member_that_leaves_the_group_is_refused_and_one_that_joins_is_let_in() -> None:
    async with cloud(**LARGE) as region:
        await region.add(groups=("guarded",), server="h3")
        assert await region.reaches("a", "server") or await region.reaches("a", "server")
        asked = region.controller.look_ups.found
        await region.regroup("a", "alone")
        assert not region.ping("a", "server").succeeded
        await region.regroup("a", "alone", "web")
        assert region.ping("a", "server").succeeded
        assert region.controller.look_ups.found == asked, "who had asked was told"
        region.check()


async def test_a_rule_about_members_asks_for_a_receiver_behind_a_router() -> None:
    async with cloud(**LARGE) as region:
        await region.add_network(2)
        await region.join(1, 2)
        await region.create(net=2, w="h2", x="h3", y="h3", z="h1")
        await region.add(groups=("bound",), bound="h1")
        region.planes["h3"].plug(region.ports["x"].id)
        assert [verdict.handed_over for verdict in region.ping("bound", "x").verdicts] == [True]
        await eventually(lambda: bool(region.fabric.late))
        assert [one.port_id for one in region.fabric.late[-1].verdict.delivered] == [region.ports["x"].id]
        await region.regroup("x", "alone")
        [verdict] = region.ping("bound", "x").verdicts
        assert verdict.dropped_by == "no egress rule of the security groups allows it"
        region.check()


async def test_a_connection_outlives_the_placement_of_its_sender() -> None:
    async with cloud(**LARGE) as region:
        await region.add(groups=("guarded",), server="h3")
        assert await region.reaches("a", "server") or await region.reaches("a", "server")
        connection = TcpConnection(region.fabric, region.ports["a"].id, region.address("server"), 80, 5000)
        assert connection.open().succeeded
        region.release("h3", "a")
        await eventually(lambda: region.ports["a"].id not in region.placements("h3"))
        waiting = connection.send()
        assert [verdict.handed_over for verdict in waiting.verdicts] == [True], "asked for, not revoked"
        await eventually(lambda: region.ports["a"].id in region.placements("h3"))
        assert connection.send().succeeded
        assert connection.answer().succeeded
