"""Hosts for benches: a fleet of emulated ones in one process, or a lab with Open vSwitch and real agents."""

import asyncio
from pathlib import Path
from typing import Protocol

from alcor.lab.agents import LabAgents
from alcor.lab.children import Child, alcor_command
from alcor.lab.laboratory import Laboratory
from alcor.lab.region_process import RegionProcess


class BenchHosts(Protocol):
    """Owner of the hosts that it starts."""

    data_plane: str
    names: list[str]

    async def start(self, region: RegionProcess) -> None: ...
    async def stop(self) -> None: ...


class EmulatedFleet:
    """`alcor fleet`: real agents, simulated data planes, one process."""

    data_plane = "simulated"

    def __init__(self, count: int) -> None:
        self.names = [f"host-{number}" for number in range(count)]
        self._child: Child | None = None

    async def start(self, region: RegionProcess) -> None:
        command = alcor_command("fleet", "--hosts", str(len(self.names)), "--controller", region.agent_url)
        self._child = Child("the fleet", command, region.directory / "fleet.log")
        await self._child.start()

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop()


class OvsLab:
    """A laboratory with its agents."""

    data_plane = "ovs"

    def __init__(self, count: int) -> None:
        self.lab = Laboratory(hosts=count)
        self.names = [host.name for host in self.lab.hosts]
        self._agents: LabAgents | None = None

    async def start(self, region: RegionProcess) -> None:
        await asyncio.to_thread(self.lab.start)
        self._agents = LabAgents(self.lab, region.agent_url)
        await self._agents.start()

    async def stop(self) -> None:
        if self._agents is not None:
            await self._agents.stop()
        await asyncio.to_thread(self.lab.close)

    def state_dir(self, host: str) -> Path:
        """Where a host's agent keeps its journal."""
        return LabAgents.state_dir(self.lab, host)
