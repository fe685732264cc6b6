"""Hosts for benches: a fleet of emulated ones in one process, or a lab with Open vSwitch and real agents."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from alcor.adapters import identity
from alcor.lab.agents import LabAgents
from alcor.lab.fleet_processes import FleetProcesses
from alcor.lab.laboratory import Laboratory
from alcor.lab.region_process import RegionProcess, free_port
from alcor.processes import fleet
from alcor.runtime.event_log import EventLog, Level


class BenchHosts(Protocol):
    """Owner of the hosts that it starts."""

    data_plane: str
    names: list[str]

    async def start(self, region: RegionProcess) -> None: ...
    async def stop(self) -> None: ...


class AgentDoor:
    """Where streams of a fleet dial in: a socket file, or TLS on loopback, as from other machines."""

    def __init__(self, *, tls: bool) -> None:
        self._tls_url = f"tcps://127.0.0.1:{free_port()}" if tls else ""

    @property
    def region_options(self) -> tuple[str, ...]:
        """What `alcor up` is to be told."""
        return ("--agents", self._tls_url) if self._tls_url else ()

    def fleet_options(self, region: RegionProcess, hosts: int) -> tuple[str, ...]:
        """What `alcor fleet` is to be told. Over TLS, each host is issued its certificate first."""
        if not self._tls_url:
            return ("--controller", region.agent_url)
        directory = region.directory / "certificates"
        identity.issue_fleet(region.authority, directory, fleet.emulated_names(hosts))
        return ("--controller", self._tls_url, "--certificates", str(directory))


class EmulatedFleet:
    """`alcor fleet`: real agents, simulated data planes, in a process for each core of the machine."""

    data_plane = "simulated"

    def __init__(self, count: int, *, paths: Sequence[str] | None = None) -> None:
        """`paths`: options that say how the controller is reached; None: by its streams."""
        self.names = [f"host-{number}" for number in range(count)]
        self._paths = paths
        self._processes: FleetProcesses | None = None

    async def start(self, region: RegionProcess) -> None:
        paths = ("--controller", region.agent_url) if self._paths is None else self._paths
        self._processes = FleetProcesses(
            len(self.names),
            paths,
            EventLog(level=Level.WARNING),
            processes=os.cpu_count() or 1,
            log_directory=region.directory,
        )
        await self._processes.start()

    @property
    def pids(self) -> list[int]:
        assert self._processes is not None, "start first"
        return self._processes.pids

    async def stop(self) -> None:
        if self._processes is not None:
            await self._processes.stop()


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

    def agent_pid(self, host: str) -> int:
        """Name the process of a host's agent."""
        assert self._agents is not None, "start first"
        return self._agents.children[host].pid

    def switch_pid(self, host: str) -> int:
        """Name the process of a host's ovs-vswitchd."""
        run_dir = next(each.run_dir for each in self.lab.hosts if each.name == host)
        return int((run_dir / "ovs-vswitchd.pid").read_text())

    def state_dir(self, host: str) -> Path:
        """Where a host's agent keeps its journal."""
        return LabAgents.state_dir(self.lab, host)
