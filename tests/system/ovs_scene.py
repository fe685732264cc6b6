"""A small region by hand: hosts of a lab, their drivers and their goal state, without a control plane."""

import asyncio
import io
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec
import pytest

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.ovs.driver import DRIFT_EVERY_S, OvsDataPlane
from alcor.lab import namespaces, packets
from alcor.lab.host import EmulatedHost
from alcor.lab.laboratory import Laboratory
from alcor.lab.workload import Workload, WorkloadPlan
from alcor.model.addressing import Cidr, ip_from_text
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
    Tag,
    apply_change,
    empty_section_for,
    group_key,
    network_key,
    router_key,
)
from alcor.model.ids import GroupId, NetworkId, PortId, RuleId, SubnetId, Vni
from alcor.model.records import AddressPair, ExtraRoute, FixedIp
from alcor.model.version import Version
from alcor.runtime.event_log import EventLog

needs_ovs = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ovs-vswitchd") is None, reason="needs root and Open vSwitch"
)

OPEN = "open"  # a group that allows everything in and out
LEGS = {"red": ("10.1.0.0/24", "10.1.0.1"), "green": ("10.2.0.0/24", "10.2.0.1")}  # network: range, gateway


class Events:
    """Notes what a data plane tells. Owner of its lists."""

    def __init__(self) -> None:
        self.plugs: set[PortId] = set()
        self.history: list[str] = []
        self.announcements: list[tuple[PortId, bytes]] = []
        self.asked: list[tuple[Vni, bytes]] = []
        self.is_asking_useful = False
        self.losses = 0
        self.is_ready = asyncio.Event()
        self.changed = asyncio.Event()

    def plugged(self, port_id: PortId) -> None:
        self.plugs.add(port_id)
        self.history.append(f"+{port_id}")
        self.changed.set()

    def unplugged(self, port_id: PortId) -> None:
        self.plugs.discard(port_id)
        self.history.append(f"-{port_id}")
        self.changed.set()

    def unknown(self, vni: Vni, ip: bytes) -> bool:
        self.asked.append((vni, ip))
        self.changed.set()
        return self.is_asking_useful

    def announced(self, port_id: PortId, ip: bytes) -> None:
        self.announcements.append((port_id, ip))
        self.changed.set()

    def lost(self, reason: str) -> None:
        self.losses += 1
        self.is_ready.clear()
        self.changed.set()

    def ready(self) -> None:
        self.is_ready.set()

    async def until_plugged(self, port_ids: Iterable[str], *, timeout_s: float = 10.0) -> None:
        wanted = {PortId(port_id) for port_id in port_ids}
        async with asyncio.timeout(timeout_s):
            while not wanted <= self.plugs:
                self.changed.clear()
                await self.changed.wait()


class Host:
    """One host with its driver and what it must hold."""

    def __init__(self, emulated: EmulatedHost, *, drift_every_s: float = DRIFT_EVERY_S) -> None:
        self.emulated = emulated
        self._drift_every_s = drift_every_s
        self.state = HostState()
        self.start_driver()

    def start_driver(self) -> None:
        router_mac = 0x0E0000000000 + int.from_bytes(self.emulated.vtep[2:], "big")
        facts = HostFacts(self.emulated.name, self.emulated.vtep, router_mac)
        self.events = Events()
        self.log = io.StringIO()
        self.driver = OvsDataPlane(
            facts, self.emulated.run_dir, EventLog(stream=self.log), drift_every_s=self._drift_every_s
        )

    async def start(self) -> None:
        await self.driver.start(self.events)
        await asyncio.wait_for(self.events.is_ready.wait(), 15.0)
        assert not await self.driver.synchronise(self.state, remove=True)

    async def apply(self, *updates: SectionUpdate) -> None:
        for update in updates:
            hold(self.state, update)
        assert not await self.driver.apply(self.state, updates)


class Scene:
    """Ports on the hosts of a lab; every host holds every section, as in one small domain."""

    def __init__(self, lab: Laboratory, *, drift_every_s: float = DRIFT_EVERY_S) -> None:
        self.lab = lab
        self.hosts = [Host(host, drift_every_s=drift_every_s) for host in lab.hosts]
        self.workloads: dict[str, Workload] = {}
        self._revision = 0
        self._networks: dict[str, int] = {}
        self._where: dict[str, Host] = {}
        self.macs: dict[str, int] = {}
        self.ips: dict[str, bytes] = {}
        self._placed: dict[str, tuple[str, Placement]] = {}

    @classmethod
    @asynccontextmanager
    async def in_lab(cls, *, hosts: int, drift_every_s: float = DRIFT_EVERY_S) -> AsyncIterator[Self]:
        """Make a lab, and a scene with nothing in it that has started there; end both."""
        with Laboratory(hosts=hosts) as lab:
            scene = cls(lab, drift_every_s=drift_every_s)
            try:
                await scene.start()
                yield scene
            finally:
                await scene.close()

    async def start(self) -> None:
        await asyncio.gather(*(host.start() for host in self.hosts))

    async def close(self) -> None:
        await asyncio.gather(*(host.driver.close() for host in self.hosts))

    async def one_network(self) -> None:
        """Deliver network red, and the group that allows everything."""
        await self._told_leg("red", vni=100)
        await self.group(OPEN, *everything())

    async def two_networks(self) -> None:
        """Deliver networks red and green, router r between them, and the group that allows everything."""
        for number, name in enumerate(LEGS):
            await self._told_leg(name, vni=100 + number)
        await self.router("r", LEGS)
        await self.group(OPEN, *everything())

    async def _told_leg(self, name: str, *, vni: int) -> None:
        cidr, gateway = LEGS[name]
        await self.network(name, vni=vni, cidr=cidr, gateway=gateway)

    async def network(
        self, name: str, *, vni: int, cidr: str, gateway: str | None = None, on_demand: bool = False
    ) -> None:
        address, _, length = cidr.partition("/")
        self._networks[name] = vni
        subnet = SubnetEntry(
            SubnetId(f"{name}-subnet"),
            (ip_from_text(address), int(length)),
            ip_from_text(gateway) if gateway else None,
            True,
            (ip_from_text("9.9.9.9"),),
            (),
        )
        entry = NetworkEntry(NetworkId(name), Vni(vni), 1450, True, on_demand)
        await self.everywhere(network_key(name), NetworkChange(network=entry, set_subnets=(subnet,)), full=True)

    async def port(
        self,
        name: str,
        network: str,
        ip: str,
        on: int,
        groups: tuple[str, ...] = (OPEN,),
        pair: str = "",
        options: tuple[tuple[int, bytes], ...] = (),
        secured: bool = True,
        tag: tuple[str, int] | None = None,
        told: bool = True,
    ) -> None:
        """Deliver a port; `on`: number of its host, from 0. `tag`: of a sub-port its parent, and the VLAN.

        `told`: let other hosts know at once where it is.
        """
        number = len(self.macs) + 1
        self.macs[name] = 0x02AA00000000 + number
        self.ips[name] = ip_from_text(ip)
        fixed = FixedIp(SubnetId(f"{network}-subnet"), ip_from_text(ip))
        members = tuple(GroupId(group) for group in groups if secured)
        port = LocalPort(PortId(name), self.macs[name], (fixed,), members, secured, True)
        if pair:
            port = msgspec.structs.replace(port, pairs=(pair_of(self.macs[name], pair),))
        port = msgspec.structs.replace(
            port, dhcp_options=options, tag=None if tag is None else Tag(PortId(tag[0]), tag[1])
        )
        home = self.hosts[on]
        self._where[name] = home
        placement = Placement(
            PortId(name), self.macs[name], (fixed.ip,), home.emulated.vtep, port.groups, port.pairs
        )
        self._placed[name] = (network, placement)
        for host in self.hosts if told else (home,):
            change = NetworkChange(set_ports=(port,) if host is home else (), set_placements=(placement,))
            await host.apply(self.update(host, network_key(network), change))

    def is_told(self, name: str, on: int) -> bool:
        """Does a host know where a port is?"""
        section = self.hosts[on].state.sections[network_key(self._placed[name][0])]
        return name in section.placements

    async def tell(self, name: str, on: int) -> None:
        """Let a host know where a port is."""
        network, placement = self._placed[name]
        host = self.hosts[on]
        change = NetworkChange(set_placements=(placement,))
        await host.apply(self.update(host, network_key(network), change))

    async def hold_address(self, name: str, ip: str) -> None:
        """Let every host know that a port holds an address of its pairs, and no other port does."""
        for other, (network, placement) in self._placed.items():
            announced = (ip_from_text(ip),) if other == name else ()
            if placement.announced != announced:
                placement = msgspec.structs.replace(placement, announced=announced)
                self._placed[other] = (network, placement)
                await self.everywhere(network_key(network), NetworkChange(set_placements=(placement,)))

    async def router(
        self,
        name: str,
        legs: dict[str, tuple[str, str]],
        routes: Iterable[tuple[str, str]] = (),
        scopes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Join networks: `{network: (cidr, gateway)}`. `routes`: destination, next hop."""
        interfaces = []
        for number, (network, (cidr, gateway)) in enumerate(sorted(legs.items())):
            address, _, length = cidr.partition("/")
            interfaces.append(
                RouterInterface(
                    PortId(f"{name}-{network}"),
                    NetworkId(network),
                    Vni(self._networks[network]),
                    (ip_from_text(address), int(length)),
                    ip_from_text(gateway),
                    0x02BB00000000 + number,
                    scopes.get(network, ""),
                )
            )
        extra = sorted(ExtraRoute(Cidr.from_text(cidr), ip_from_text(hop)) for cidr, hop in routes)
        change = RouterChange(set_interfaces=tuple(interfaces), routes=tuple(extra))
        await self.everywhere(router_key(name), change, full=True)

    async def group(self, name: str, *rules: Rule, stateful: bool = True) -> None:
        change = GroupChange(stateful=stateful, set_rules=rules)
        await self.everywhere(group_key(name), change, full=True)

    async def everywhere(self, key: SectionKey, change: SectionChange, *, full: bool = False) -> None:
        for host in self.hosts:
            await host.apply(self.update(host, key, change, full=full))

    def update(
        self, host: Host, key: SectionKey, change: SectionChange, *, full: bool = False
    ) -> SectionUpdate:
        self._revision += 1
        base = None if full else host.state.versions[key]
        return SectionUpdate(key, base, Version(1, self._revision), change)

    async def plug(self, *names: str, dhcp: bool = True) -> None:
        """Make workloads for ports, plug them in, and give them their addresses."""
        plans = [WorkloadPlan(name, self.macs[name], self._where[name].emulated) for name in names]
        made = await asyncio.to_thread(self.lab.add_workloads, plans)
        for workload in made:
            self.workloads[workload.port_id] = workload
        for name in names:
            await self._where[name].events.until_plugged([name])
        if dhcp:
            await asyncio.to_thread(self.lab.configure_by_dhcp, made)

    async def plug_tagged(self, name: str, parent: str, vlan: int, *, dhcp: bool = True) -> None:
        """Make the workload of a sub-port behind its parent's, and give it its address."""
        args = {"port_id": name, "mac": self.macs[name], "vlan": vlan}
        made = await asyncio.to_thread(self.lab.add_tagged, self.workloads[parent], **args)
        self.workloads[name] = made
        if dhcp:
            await asyncio.to_thread(self.lab.configure_by_dhcp, [made])

    async def inside(self, name: str, *command: str) -> str:
        """Run a command in a workload; a failure is an error that says what it printed."""
        line = namespaces.inside(self.workloads[name].namespace, list(command))
        return await asyncio.to_thread(namespaces.run, line)  # the drivers need this loop meanwhile

    async def serve(self, *ports: int) -> None:
        """Let every workload accept connections at these ports."""
        for port in ports:
            await asyncio.to_thread(packets.serve, list(self.workloads.values()), port)


def pair_of(mac: int, text: str) -> AddressPair:
    address, _, length = text.partition("/")
    ip = ip_from_text(address)
    return AddressPair(mac, ip, int(length or len(ip) * 8))


def rule(
    name: str,
    *,
    ingress: bool,
    protocol: int | None = None,
    ports: tuple[int, int] | None = None,
    remote_group: str | None = None,
    remote_prefix: str | None = None,
    ethertype: int = 4,
) -> Rule:
    low, high = ports if ports else (None, None)
    group = GroupId(remote_group) if remote_group else None
    prefix = Cidr.from_text(remote_prefix) if remote_prefix else None
    return Rule(RuleId(name), ingress, ethertype, protocol, low, high, group, prefix)


def everything(*ethertypes: int) -> tuple[Rule, ...]:
    """Allow everything of these versions, of IPv4 if none is named."""
    return tuple(
        rule(f"all-{way}-{version}", ingress=way == "in", ethertype=version)
        for version in ethertypes or (4,)
        for way in ("in", "out")
    )


def hold(state: HostState, update: SectionUpdate) -> None:
    state.versions[update.key] = update.version
    if update.change is None:
        state.sections.pop(update.key, None)
        return
    if update.base is None:
        state.sections[update.key] = empty_section_for(update.change)
    apply_change(state.sections[update.key], update.change)


def leftovers(lab: Laboratory) -> list[str]:
    named = [entry.name for entry in Path("/run/netns").iterdir() if entry.name.startswith(lab.id)]
    return sorted(named + ([str(lab.directory)] if lab.directory.exists() else []))
