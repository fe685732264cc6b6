"""Hosts as objects with simulated data planes: real agents, packets in memory. For machines without root."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from alcor.adapters import identity
from alcor.adapters.nats import access
from alcor.client.api import ApiClient
from alcor.data_plane.simulated import exchange
from alcor.demo import scenario, tenants
from alcor.demo.results import Plug
from alcor.demo.scenario import Attempt, Endpoint
from alcor.lab.percentiles import percentile
from alcor.model import errors
from alcor.model.addressing import ip_from_text
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts, emulated_name
from alcor.runtime.event_log import EventLog, Level

ATTEMPTS_BETWEEN_TURNS = 20  # the agents of these hosts share our loop: they must go on beating


class SimulatedHosts:
    """Implements `DemoHosts` with emulated hosts in this process."""

    data_plane = "simulated"

    def __init__(self, count: int) -> None:
        self.names = [emulated_name(number) for number in range(count)]
        self._hosts: EmulatedHosts | None = None

    async def start(self, agent_url: str, authority: Path, queue_url: str) -> None:
        directory = authority.parent / "fleet"
        identity.issue_fleet(authority, directory)
        queue = access.choose(queue_url, certificates=directory, credentials=None)
        self._hosts = EmulatedHosts(len(self.names), (agent_url,), EventLog(level=Level.WARNING), queue=queue)
        self._hosts.start()

    async def start_agent_again(self, host: str, *, with_stream: bool) -> None:
        await self._running.start_again(HostId(host), with_stream=with_stream)

    async def plug(self, api: ApiClient, sample: Sequence[Endpoint]) -> Plug:
        active, first_ping = [], []
        for endpoint in sample:
            started = time.perf_counter()
            self._running.data_planes[HostId(endpoint.host)].plug(PortId(endpoint.port_id))
            await tenants.until_active(api, endpoint.port_id)
            active.append((time.perf_counter() - started) * 1000)
            if endpoint.group in scenario.SENDS_EVERYTHING:
                gateway = scenario.gateway(endpoint.subnet)
                if not self._reaches(endpoint, gateway, None):
                    raise errors.Broken(
                        f"{endpoint.ip} on {endpoint.host} does not reach its gateway {gateway}"
                    )
                first_ping.append((time.perf_counter() - started) * 1000)
        return Plug(
            len(sample),
            percentile(active, 0.5),
            percentile(active, 0.99),
            percentile(first_ping, 0.5),
            percentile(first_ping, 0.99),
            min(first_ping, default=0.0),
        )

    async def attempt(self, attempts: Sequence[Attempt]) -> list[bool]:
        outcomes = []
        for number, each in enumerate(attempts):
            outcomes.append(self._reaches(each.source, each.to_ip, each.port))
            if number % ATTEMPTS_BETWEEN_TURNS == 0:
                await asyncio.sleep(0)
        return outcomes

    def logs(self) -> Sequence[Path]:
        return ()  # they are in this process, and log where it does

    async def stop(self) -> None:
        if self._hosts is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._hosts.stop()

    @property
    def _running(self) -> EmulatedHosts:
        assert self._hosts is not None, "not started"
        return self._hosts

    def _reaches(self, source: Endpoint, to_ip: str, port: int | None) -> bool:
        fabric, target = self._running.fabric, ip_from_text(to_ip)
        port_id = PortId(source.port_id)
        if port is None:
            return exchange.ping(fabric, port_id, target).succeeded
        return exchange.connect_tcp(fabric, port_id, target, port).succeeded
