"""The same goal state: Open vSwitch, the simulated data plane and the oracle agree on every packet."""

import asyncio
import contextlib
import io
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from ovs_scene import Events, needs_ovs

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.ovs.driver import OvsDataPlane
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.driver import SimulatedDataPlane
from alcor.data_plane.simulated.fabric import Fabric
from alcor.lab import packets, workload
from alcor.lab.laboratory import Laboratory
from alcor.lab.packets import Probe
from alcor.lab.workload import Workload, WorkloadPlan
from alcor.model.addressing import ip_to_text
from alcor.model.goal_state import HostState
from alcor.runtime.event_log import EventLog
from doubles.random_topology import mutate, random_region, updates_between
from doubles.topology import GRE, ICMP, ICMPV6, SCTP, TCP, Region, dual_stacked

pytestmark = [pytest.mark.ovs, needs_ovs]

TCP_PORTS = (22, 80, 85, 443)
TENANTS = ("red", "blue")
RANDOM_REGIONS = (9, 1240)  # seeds under which many reach each other, and many do not, by both IP versions
# Asked from lower to higher addresses only: they are tracked by addresses, so what goes back is an answer.
BY_ADDRESS: tuple[tuple[int, int | None], ...] = ((SCTP, 80), (SCTP, 443), (GRE, None))
PINGS = (ICMP, ICMPV6)
Question = tuple[str, bytes, int, int | None]  # source port, address, protocol, port


@dataclass
class LabRegion(Region):
    """A region whose hosts are those of a lab."""

    vteps: dict[str, bytes] = field(default_factory=dict)

    def facts(self, host: str) -> HostFacts:
        return HostFacts(host, self.vteps[host], 0x0E0000000000 + int.from_bytes(self.vteps[host], "big"))


class Parity:
    """The same hosts twice: in a lab with Open vSwitch, and simulated. Owner of the drivers, not of the lab."""

    def __init__(self, lab: Laboratory, region: Region) -> None:
        self.lab = lab
        vteps = {host.name: host.vtep for host in lab.hosts}
        self.region = LabRegion(**{**vars(region), "hosts": tuple(vteps)}, vteps=vteps)
        self.hosts = {host.name: host for host in lab.hosts}
        self.fabric = Fabric()
        self.events = {name: Events() for name in self.hosts}
        self.real: dict[str, OvsDataPlane] = {}
        self.simulated: dict[str, SimulatedDataPlane] = {}
        self.states: dict[str, HostState] = {}
        self.workloads: dict[str, Workload] = {}
        self._chance = random.Random(1)
        self._tcp_source = 33_000

    async def start(self) -> None:
        for name, (facts, state) in self.region.states().items():
            self.states[name] = state
            self.real[name] = OvsDataPlane(facts, self.hosts[name].run_dir, EventLog(stream=io.StringIO()))
            self.simulated[name] = SimulatedDataPlane(facts, self.fabric)
            for driver, events in ((self.real[name], self.events[name]), (self.simulated[name], Events())):
                await driver.start(events)
                await asyncio.wait_for(events.is_ready.wait(), 15.0)
                assert not await driver.synchronise(state, remove=True)
        await self.plug(sorted(self.region.ports))

    async def plug(self, port_ids: Iterable[str]) -> None:
        ports = [self.region.ports[port_id] for port_id in port_ids]
        plans = [WorkloadPlan(port.id, port.mac, self.hosts[port.host]) for port in ports]
        made = await asyncio.to_thread(self.lab.add_workloads, plans)
        for port, each in zip(ports, made, strict=True):
            for sub_id, ip in port.addresses:
                sub = self.region.subs[sub_id]
                await asyncio.to_thread(
                    workload.configure,
                    each,
                    address=f"{ip_to_text(ip)}/{sub.cidr.prefix_len}",
                    gateway=ip_to_text(sub.gateway),
                    mtu=1450,
                )
            self.workloads[port.id] = each
            self.simulated[port.host].plug(port.id)
            await self.events[port.host].until_plugged([port.id])
        for tcp_port in TCP_PORTS:
            await asyncio.to_thread(packets.serve, made, tcp_port)

    async def follow(self) -> None:
        """Bring every host from what it holds to what the region is now, by updates; workloads move along."""
        ports = self.region.ports
        gone = [
            each
            for port_id, each in self.workloads.items()
            if port_id not in ports or ports[port_id].host != each.host.name
        ]
        await self.unplug(gone)
        for name, (_, state) in self.region.states().items():
            updates = updates_between(self.states[name], state, self._chance)
            self.states[name] = state
            assert list(await self.real[name].apply(state, updates)) == []
            assert list(await self.simulated[name].apply(state, updates)) == []
        await self.plug(sorted(ports.keys() - self.workloads.keys()))

    async def unplug(self, gone: list[Workload]) -> None:
        await asyncio.to_thread(workload.unplug, gone)
        for each in gone:
            del self.workloads[each.port_id]
            self.simulated[each.host.name].unplug(each.port_id)

    async def close(self) -> None:
        await asyncio.gather(*(driver.close() for driver in self.real.values()))

    # -- questions and answers: for each, the port that answered, None when nobody did

    def questions(self, *, share: float = 1.0) -> list[Question]:
        addresses = sorted({ip for port in self.region.ports.values() for ip in port.ips})
        by_tcp = tuple((TCP, port) for port in TCP_PORTS)
        return [
            (port_id, ip, protocol, number)
            for port_id, port in sorted(self.region.ports.items())
            for ip in addresses
            if (own := port.end(len(ip))) is not None and own[1] != ip
            for protocol, number in (
                (ICMP if len(ip) == 4 else ICMPV6, None),
                *by_tcp,
                *(BY_ADDRESS if own[1] < ip else ()),
            )
            if self._chance.random() < share
        ]

    def expected(self, asked: Iterable[Question]) -> list[str | None]:
        return [self.region.reaches(*question) for question in asked]

    def in_memory(self, asked: Iterable[Question]) -> list[str | None]:
        found: list[str | None] = []
        for port_id, ip, protocol, number in asked:
            self._tcp_source += 1
            if protocol in PINGS:
                result = exchange.ping(self.fabric, port_id, ip, identifier=self._tcp_source)
            elif protocol == TCP:
                result = exchange.connect_tcp(self.fabric, port_id, ip, number, sport=self._tcp_source)
            else:
                result = exchange.ask(self.fabric, port_id, ip, protocol, number or 0)
            arrived = [delivery.port_id for delivery in result.verdicts[0].delivered] if result.verdicts else []
            found.append("+".join(arrived) if result.succeeded else None)
        return found

    async def on_the_wire(self, asked: Iterable[Question]) -> list[str | None]:
        probes = [
            Probe(
                self.workloads[port_id],
                ip_to_text(ip),
                "icmp" if protocol in PINGS else "tcp" if protocol == TCP else "ip",
                number or 0,
                protocol=protocol,
            )
            for port_id, ip, protocol, number in asked
        ]
        port_at = {each.namespace: each.port_id for each in self.workloads.values()}
        outcomes = await asyncio.to_thread(packets.outcomes, probes)
        return [
            "+".join(port_at[name] for name in outcome.receivers) if outcome.answered else None
            for outcome in outcomes
        ]

    async def agree(self, *, share: float = 1.0) -> tuple[int, int]:
        """Ask everything three times; give how many were to reach somebody, and how many nobody."""
        asked = self.questions(share=share)
        expected, simulated = self.expected(asked), self.in_memory(asked)
        real = await self.on_the_wire(asked)
        different = [
            f"{port_id} -> {ip_to_text(ip)} protocol {protocol} port {number}: "
            f"oracle {oracle}, simulated {memory}, Open vSwitch {wire}"
            for (port_id, ip, protocol, number), oracle, memory, wire in zip(
                asked, expected, simulated, real, strict=True
            )
            if not oracle == memory == wire
        ]
        assert not different, "\n".join([f"{len(different)} of {len(asked)} differ", *different[:20]])
        reached = sum(answerer is not None for answerer in expected)
        return reached, len(asked) - reached


def rich_region() -> Region:
    """Two tenants with equal addresses: networks a and b with a router, network c with two subnets and another.

    Groups: `web` (port range from a group, ping by type and prefix), `client` (ssh from a prefix), `any`
    (everything), `mute` (sends nothing), `pings` (ICMP of every type, nothing else), `quick` (stateless: web
    requests from an address group, and replies to high ports), `lost` (stateless, and no rule for replies).
    """
    region = Region()
    for tenant, vni in (("red", 100), ("blue", 200)):
        region.add_net(f"{tenant}-a", vni, "10.0.0.0/24")
        region.add_net(f"{tenant}-b", vni + 1, "10.0.1.0/24")
        region.add_net(f"{tenant}-c", vni + 2, "10.0.0.0/25", "10.0.0.128/25")
        region.routers[f"{tenant}-r"] = {f"{tenant}-a-s0", f"{tenant}-b-s0"}
        region.routers[f"{tenant}-q"] = {f"{tenant}-c-s0", f"{tenant}-c-s1"}
        add_groups(region, tenant)
    for tenant, shift in (("red", 0), ("blue", 1)):
        add_ports(region, tenant, shift)
    return region


def add_groups(region: Region, tenant: str) -> None:
    web, client, anything, mute, pings = (
        f"{tenant}-{name}" for name in ("web", "client", "any", "mute", "pings")
    )
    for group in (web, client, anything, pings):
        region.add_rule(group, f"{group}-out", ingress=False)
    # The tenants differ, so that a packet judged by the other's rules gives itself away.
    high = 85 if tenant == "red" else 80
    region.add_rule(web, f"{web}-range", ingress=True, protocol=TCP, low=80, high=high, remote=client)
    region.add_rule(web, f"{web}-ping", ingress=True, protocol=ICMP, low=8, prefix="10.0.0.0/25")
    region.add_rule(client, f"{client}-ssh", ingress=True, protocol=TCP, low=22, high=22, prefix="10.0.1.0/24")
    region.add_rule(anything, f"{anything}-in", ingress=True)
    region.add_rule(mute, f"{mute}-in", ingress=True)
    region.add_rule(mute, f"{mute}-out", ingress=False, protocol=TCP, low=443, high=443, remote=web)
    region.add_rule(pings, f"{pings}-in", ingress=True, protocol=ICMP)
    region.add_rule(pings, f"{pings}-reply", ingress=True, protocol=ICMP, low=0, prefix="0.0.0.0/0")
    add_stateless_groups(region, tenant)


def add_stateless_groups(region: Region, tenant: str) -> None:
    quick, lost, friends = (f"{tenant}-{name}" for name in ("quick", "lost", "friends"))
    region.stateless |= {quick, lost}
    region.set_addresses(friends, "10.0.0.10/31", "10.0.0.16/29", "10.0.1.0/24")
    for group in (quick, lost):
        region.add_rule(group, f"{group}-out", ingress=False)
        for protocol in (TCP, SCTP):
            rule_id = f"{group}-web-{protocol}"
            region.add_rule(group, rule_id, ingress=True, protocol=protocol, low=80, high=80, addresses=friends)
    for protocol in (TCP, SCTP):
        rule_id = f"{quick}-replies-{protocol}"
        region.add_rule(quick, rule_id, ingress=True, protocol=protocol, low=32_768, high=61_000)
    region.add_rule(quick, f"{quick}-gre", ingress=True, protocol=GRE, addresses=friends)


def add_ports(region: Region, tenant: str, shift: int) -> None:
    """Give the second tenant the same addresses on other hosts; a few that only one of them has."""

    def port(subnet: str, last: int, host: int, *groups: str, **more: bool) -> None:
        name = f"{tenant}-{subnet}-{last}"
        on = region.hosts[(host + shift) % len(region.hosts)]
        owned = (f"{tenant}-{group}" for group in groups)
        region.add_port(name, f"{tenant}-{subnet}", last, on, *owned, **more)

    for host in range(3):
        port("a-s0", 10 + host, host, "client")
        port("b-s0", 10 + host, host, "web")
    port("a-s0", 20, 0, "client", "web")
    port("a-s0", 21, 1, "any")
    port("a-s0", 22 + shift, 1, "pings")
    port("b-s0", 20, 2)  # in no group
    port("b-s0", 21, 0, security=False)
    port("b-s0", 22, 1, "any", up=False)
    port("b-s0", 23 + shift, 2, "mute")
    port("a-s0", 24, 2, "quick")
    port("b-s0", 24, 0, "quick")
    port("b-s0", 25, 1, "lost")
    port("c-s0", 10, 0, "any")
    port("c-s0", 30, 1, "web", "client")
    port("c-s1", 10, 2, "client")
    port("c-s1", 30 + shift, 0, "pings", "any")


@contextlib.asynccontextmanager
async def both(region: Region) -> AsyncIterator[Parity]:
    """Bring a region up on both data planes, in a lab of its own: two drivers would fight over one switch."""
    with Laboratory(hosts=3) as lab:
        parity = Parity(lab, region)
        try:
            await parity.start()
            yield parity
        finally:
            await parity.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parity() -> AsyncIterator[Parity]:
    async with both(dual_stacked(rich_region())) as parity:
        yield parity


@pytest.mark.asyncio(loop_scope="module")
async def test_every_pair_gets_the_same_verdict_on_both_data_planes(parity: Parity) -> None:
    reached, blocked = await parity.agree()
    assert reached > 600
    assert blocked > 2000


@pytest.mark.asyncio(loop_scope="module")
async def test_they_agree_after_each_of_a_few_changes(parity: Parity) -> None:
    region = parity.region
    region.add_rule("red-web", "red-web-443", ingress=True, protocol=TCP, low=400, high=500)
    await parity.follow()
    await parity.agree(share=0.1)
    for tenant in TENANTS:
        del region.rules[f"{tenant}-web"][f"{tenant}-web-range"]
    await parity.follow()
    await parity.agree(share=0.1)
    region.ports["blue-a-s0-21"].groups = ("blue-client",)
    region.ports["red-a-s0-20"].groups = ("red-web",)
    await parity.follow()
    await parity.agree(share=0.1)
    region.set_addresses("red-friends", "10.0.0.0/8")
    region.set_addresses("blue-friends")
    region.stateless.discard("red-quick")
    region.ports["red-b-s0-10"].host = "h3"
    region.ports["blue-a-s0-10"].host = "h1"
    await parity.follow()
    await parity.agree(share=0.1)
    region.routers["red-r"].discard("red-b-s0")
    region.down_routers.add("blue-q")
    await parity.follow()
    await parity.agree(share=0.1)


@pytest.mark.parametrize("seed", RANDOM_REGIONS)
async def test_they_agree_on_random_regions_and_changes(seed: int) -> None:
    chance = random.Random(seed)
    async with both(random_region(chance)) as parity:
        assert min(await parity.agree()) > 30
        for _ in range(6):
            mutate(parity.region, chance)
        await parity.follow()
        await parity.agree(share=0.5)
