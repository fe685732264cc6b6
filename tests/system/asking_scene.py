"""Hosts with Open vSwitch in networks that are asked for: a real controller, real agents and real packets."""

import asyncio

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.ovs.driver import OvsDataPlane
from alcor.lab import namespaces
from alcor.lab import workload as workloads
from alcor.lab.laboratory import Laboratory
from alcor.lab.workload import Workload, WorkloadPlan
from alcor.model.addressing import ip_to_text
from alcor.model.errors import Broken
from alcor.model.ids import HostId
from alcor.runtime.event_log import SILENT
from doubles.asking_region import AskingRegion
from doubles.waiting import eventually

FIRST_TRY_S = "0.9"  # a workload resolves, and repeats what it sends, after a second


class Scene(AskingRegion):
    """A region in a lab, and its workloads."""

    def __init__(self, lab: Laboratory) -> None:
        super().__init__()
        self.lab = lab
        self.hosts = {host.name: host for host in lab.hosts}
        self.drivers: dict[str, OvsDataPlane] = {}
        self.plugged: dict[str, Workload] = {}

    async def start_in_lab(self) -> None:
        facts = []
        for name, host in self.hosts.items():
            mac = 0x0E0000000000 + int.from_bytes(host.vtep[2:], "big")
            facts.append(HostFacts(HostId(name), host.vtep, mac))
            self.drivers[name] = OvsDataPlane(facts[-1], host.run_dir, SILENT)
        await self.start([(each, self.drivers[each.host]) for each in facts])

    async def plug(self, *names: str) -> None:
        """Give workloads to ports, with their addresses; nothing is resolved by it."""
        ports = [self.ports[name] for name in names]
        plans = [WorkloadPlan(port.id, port.mac, self.hosts[port.host]) for port in ports]
        made = await asyncio.to_thread(self.lab.add_workloads, plans)
        self.plugged |= dict(zip(names, made, strict=True))
        for name, each in zip(names, made, strict=True):
            address = f"{self.ip(name)}/16"
            await asyncio.to_thread(workloads.configure, each, address=address, gateway=None, mtu=1450)
        ids = [self.ports[name].id for name in names]
        revision = await self.store.revision()
        assert await self.controller.convergence.wait(ids, revision=revision, until="active", timeout_s=10)

    def ip(self, name: str) -> str:
        return ip_to_text(self.ports[name].fixed_ips[0].ip)

    def ipv6(self, name: str) -> str:
        return ip_to_text(self.ports[name].fixed_ips[1].ip)

    async def inside(self, name: str, *command: str) -> str:
        line = namespaces.inside(self.plugged[name].namespace, list(command))
        return await asyncio.to_thread(namespaces.run, line)  # drivers and controller need this loop meanwhile

    async def ping(self, source: str, to_ip: str) -> bool:
        """Send one echo request, and one only."""
        try:
            await self.inside(source, "ping", "-n", "-c", "1", "-W", FIRST_TRY_S, to_ip)
        except Broken:
            return False
        return True

    async def forget_resolved(self, *names: str) -> None:
        for name in names:
            await self.inside(name, "ip", "neigh", "flush", "all")

    async def forgets(self, host: str, name: str) -> None:
        """Let a host say that it needs a neighbour no longer, until its switch forwards nothing there."""
        self.release(host, name)
        await eventually(lambda: not self.knows(host, name))
        await self.drivers[host]._turns.take(_nothing)

    def knows(self, host: str, name: str) -> bool:
        return self.ports[name].id in self.placements(host)


async def _nothing() -> None:
    """Take a turn: what was asked of the switch before is done when this is."""
