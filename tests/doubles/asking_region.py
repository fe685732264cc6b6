"""A region where hosts ask: a real controller and real agents in this process, on any data planes."""

import asyncio
import itertools
from collections.abc import Sequence

import msgspec

from alcor.contracts import memory_channel
from alcor.contracts.agent_channel import Channel, Learned, Release
from alcor.contracts.data_plane import DataPlane, HostFacts
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.host_agent.agent import Agent
from alcor.host_agent.journal import NoJournal
from alcor.model.addressing import ip_from_text
from alcor.model.goal_state import HostState
from alcor.model.ids import GroupId, HostId, PortId, RouterId, RuleId, SubnetId
from alcor.model.records import (
    ROUTER_INTERFACE,
    ExtraRoute,
    FixedIp,
    Port,
    RecordSet,
    Router,
    SecurityGroupRule,
    Subnet,
)
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import PROJECT, commit, group, network, port, rule, subnet
from doubles.waiting import eventually

BOUNDS = OnDemandBounds(above=3, below=2)


class AskingRegion:
    """A network, `net-1` with 10.16.0.0/16 and 2001:db8:0:1::/64, and hosts. Owner of the agents, not of the
    data planes. Ports have an address of each.

    Groups: `web` lets everything in and out, `guarded` everything out and only members of `web` in, `alone`
    only out, to anybody, and `bound` in from anybody and out to members of `web`.
    """

    def __init__(self, bounds: OnDemandBounds = BOUNDS) -> None:
        self.store = MemoryStore()
        self.controller = Controller(self.store, SystemClock(), SILENT, on_demand=bounds)
        self.agents: dict[str, Agent] = {}
        self.ports: dict[str, Port] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = itertools.count(10)

    async def start(self, hosts: Sequence[tuple[HostFacts, DataPlane]]) -> None:
        """Start the controller and an agent for each data plane; wait until all are alive."""
        await self.controller.start()
        rules = (
            rule("in", "web"),
            rule("guarded-in", "guarded", "web"),
            rule("bound-in", "bound"),
            *(_out(f"{name}-out", name) for name in ("web", "guarded", "alone")),
            _out("bound-out", "bound", "web"),
        )
        rules += tuple(
            msgspec.structs.replace(each, id=RuleId(f"{each.id}-v6"), ethertype="IPv6") for each in rules
        )
        await commit(
            self.store,
            networks=(network(),),
            subnets=_subnets(1),
            security_groups=tuple(group(name) for name in ("web", "guarded", "alone", "bound")),
            security_group_rules=rules,
        )
        for facts, plane in hosts:
            agent = Agent(
                facts,
                "",
                plane,
                NoJournal(),
                self.connect,
                SystemClock(),
                SILENT,
                urls=("memory",),
            )
            self.agents[facts.host] = agent
            self._tasks.append(asyncio.create_task(agent.run()))
        await eventually(
            lambda: sum(status.alive for status in self.controller.convergence.hosts()) == len(hosts),
            timeout_s=20,
        )

    async def stop(self) -> None:
        await self.controller.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def connect(self, url: str) -> Channel:
        ours, theirs = memory_channel.pair()
        self._tasks.append(asyncio.create_task(self.controller.serve_channel(theirs)))
        return ours

    async def add_network(self, number: int) -> None:
        """Make another network, whose ports use the same security group."""
        await commit(self.store, networks=(network(number),), subnets=_subnets(number))

    async def advertise(self, *numbers: int) -> None:
        """Let the routers of networks be advertised, and addresses be given by DHCPv6."""
        modes = {"ra_mode": "dhcpv6-stateful", "address_mode": "dhcpv6-stateful"}
        subnets = tuple(msgspec.structs.replace(_prefix(number), **modes) for number in numbers)
        revision = await commit(self.store, updates=RecordSet(subnets=subnets))
        assert await self.controller.convergence.wait_revision(revision, timeout_s=5)

    async def join(self, *numbers: int, routes: tuple[ExtraRoute, ...] = ()) -> None:
        """Join networks by a router that has the gateway addresses of all subnets."""
        id_ = RouterId("router-1")
        legs = tuple(
            Port(
                id=PortId(f"leg-{number}"),
                project_id=PROJECT,
                network_id=network(number).id,
                mac=0x02BB00000000 + number,
                fixed_ips=tuple(FixedIp(each.id, each.gateway_ip) for each in _subnets(number)),
                device_owner=ROUTER_INTERFACE,
                device_id=id_,
            )
            for number in numbers
        )
        revision = await commit(
            self.store, routers=(Router(id=id_, project_id=PROJECT, routes=routes),), ports=legs
        )
        assert await self.controller.convergence.wait_revision(revision, timeout_s=5)

    def release(self, host: str, name: str) -> None:
        """Let a host say that it needs a neighbour no longer."""
        connections = self.agents[host]._connections
        assert connections.is_introduced
        connections.tell(Release((Learned(self.ports[name].network_id, (self.ports[name].id,)),)))

    async def create(self, *, net: int = 1, groups: tuple[str, ...] = ("web",), **where: str) -> None:
        """Create ports: name -> host; wait until every host concerned has them."""
        made = {
            name: dual_port(next(self._numbers), host, net=net, groups=groups) for name, host in where.items()
        }
        self.ports |= made
        await self.in_force(await commit(self.store, ports=tuple(made.values())), *where)

    async def bind(self, name: str, host: str) -> Port:
        """Bind a port to another host; give it as it was before."""
        before = self.ports[name]
        self.ports[name] = msgspec.structs.replace(before, host=HostId(host))
        updates = RecordSet(ports=(self.ports[name],))
        await self.in_force(await commit(self.store, updates=updates), name)
        return before

    async def regroup(self, name: str, *groups: str) -> None:
        """Put a port into other groups."""
        self.ports[name] = msgspec.structs.replace(
            self.ports[name], security_groups=tuple(map(GroupId, groups))
        )
        updates = RecordSet(ports=(self.ports[name],))
        await self.in_force(await commit(self.store, updates=updates), name)

    async def delete(self, name: str) -> None:
        gone = self.ports.pop(name)
        revision = await commit(self.store, deletes=RecordSet(ports=(gone,)))
        assert await self.controller.convergence.wait_revision(revision, timeout_s=5)

    async def in_force(self, revision: int, *names: str) -> None:
        ids = [self.ports[name].id for name in names]
        assert await self.controller.convergence.wait(ids, revision=revision, until="in_force", timeout_s=5)
        assert await self.controller.convergence.wait_revision(revision, timeout_s=5)

    def state(self, host: str) -> HostState:
        return self.agents[host]._applier.state

    def placements(self, host: str) -> set[PortId]:
        sections = self.state(host).sections.values()
        return {id_ for section in sections for id_ in getattr(section, "placements", ())}

    def check(self) -> None:
        """Every host holds exactly what it must, with what it learned."""
        for host in self.agents:
            learned = self.controller._compiler.interest.learned.of_host(HostId(host))
            held = {key: section.full() for key, section in self.state(host).sections.items()}
            assert held == compile_full(self.controller.region, HostId(host), learned)


def _out(rule_id: str, group_id: str, remote: str | None = None) -> SecurityGroupRule:
    return msgspec.structs.replace(rule(rule_id, group_id, remote), direction="egress")


def dual_port(number: int, host: str, *, net: int = 1, groups: tuple[str, ...] = ()) -> Port:
    """Make a port with an address of each version, and the same number in both."""
    made = port(number, host, net=net, groups=groups)
    fixed = FixedIp(_prefix(net).id, _prefix(net).cidr[0][:8] + number.to_bytes(8, "big"))
    return msgspec.structs.replace(made, fixed_ips=(*made.fixed_ips, fixed))


def gateway(number: int) -> bytes:
    """Give the gateway address of a network: its first."""
    return ((10 << 24) + (number << 20) + 1).to_bytes(4, "big")


def _subnets(number: int) -> tuple[Subnet, ...]:
    cidr = (((10 << 24) + (number << 20)).to_bytes(4, "big"), 16)
    return msgspec.structs.replace(subnet(number), cidr=cidr, gateway_ip=gateway(number)), _prefix(number)


def _prefix(number: int) -> Subnet:
    cidr = ip_from_text(f"2001:db8:0:{number}::"), 64
    return msgspec.structs.replace(
        subnet(number), id=SubnetId(f"prefix-{number}"), cidr=cidr, gateway_ip=cidr[0][:15] + b"\x01"
    )
