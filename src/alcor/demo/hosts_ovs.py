"""Hosts as network namespaces with their own Open vSwitch and agent process; workloads as namespaces."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from alcor.client.api import ApiClient
from alcor.demo import scenario, tenants
from alcor.demo.results import Plug
from alcor.demo.scenario import Attempt, Endpoint
from alcor.lab import packets
from alcor.lab.agents import LabAgents
from alcor.lab.laboratory import Laboratory
from alcor.lab.packets import Probe
from alcor.lab.percentiles import percentile
from alcor.lab.ping_stream import PingStream
from alcor.lab.plugging import Plugger
from alcor.lab.workload import Workload, WorkloadPlan
from alcor.model import errors
from alcor.model.addressing import mac_from_text
from alcor.runtime.clock import SystemClock

FIRST_PING_TIMEOUT_S = 20.0
HOLD_TRIES = 3
MANY_ATTEMPTS = 1000
GUESTS_AT_ONCE = 8
T = TypeVar("T")


class OvsHosts:
    """Implements `DemoHosts` on a lab."""

    data_plane = "ovs"

    def __init__(self, count: int) -> None:
        self._lab = Laboratory(hosts=count)
        self._agents: LabAgents | None = None
        self._workloads: dict[str, Workload] = {}
        self._plugger = Plugger()
        self.plugged_at_ms: list[int] = []  # since 1970 UTC: just before each interface came onto a bridge
        # One thread for the lab: when a start is given up, the clean-up waits for its end.
        self._lab_thread = ThreadPoolExecutor(1)
        self._guests = ThreadPoolExecutor(GUESTS_AT_ONCE)
        self.names = [host.name for host in self._lab.hosts]

    async def start(self, agent_url: str, authority: Path, queue_url: str) -> None:
        await self._in_lab(self._lab.start)
        self._agents = LabAgents(self._lab, agent_url, authority, queue_url)
        await self._agents.start()

    async def start_agent_again(self, host: str, *, with_stream: bool) -> None:
        await self._running.start_again(host, with_stream=with_stream)

    async def plug(self, api: ApiClient, sample: Sequence[Endpoint], *, since: float | None = None) -> Plug:
        hosts = {host.name: host for host in self._lab.hosts}
        plans = [WorkloadPlan(each.port_id, mac_from_text(each.mac), hosts[each.host]) for each in sample]
        made = await self._in_lab(self._lab.add_workloads, plans, plugged=False)
        self._workloads |= {each.port_id: each for each in made}
        active: list[float] = []
        pings: list[asyncio.Task[float]] = []
        for endpoint, each in zip(sample, made, strict=True):
            # One at a time, as workloads come to a host; addresses are asked for while the next is plugged.
            started = time.perf_counter()
            self.plugged_at_ms.append(SystemClock().now_us() // 1000)
            await self._plugger.plug(each)
            await tenants.until_active(api, endpoint.port_id)
            active.append((time.perf_counter() - started) * 1000)
            pings.append(asyncio.create_task(self._first_ping(endpoint, each, since or started)))
        first_ping = [took for took in await asyncio.gather(*pings) if took >= 0]
        await self._in_lab(self._settle_ipv6, list(zip(sample, made, strict=True)))
        await self._in_lab(packets.serve, made, scenario.WEB_PORT)
        await self._in_lab(packets.serve, made, scenario.DB_PORT)
        return Plug(
            len(made),
            percentile(active, 0.5),
            percentile(active, 0.99),
            percentile(first_ping, 0.5),
            percentile(first_ping, 0.99),
            min(first_ping, default=0.0),
        )

    async def attempt(self, attempts: Sequence[Attempt]) -> list[bool]:
        probes = [self._probe(each) for each in attempts]
        outcomes = await self._in_lab(packets.probe_matrix, probes)
        if len(attempts) >= MANY_ATTEMPTS:
            await self._in_lab(packets.forget_neighbours, list(self._workloads.values()))
        return outcomes

    async def kill_agent(self, host: str) -> None:
        """End a host's agent as a crash would."""
        await self._running.children[host].kill()

    async def start_agent(self, host: str) -> None:
        """Start a host's agent again."""
        await self._running.children[host].start()

    async def ping_stream(self, source: Endpoint, target: Endpoint, *, interval_s: float) -> PingStream:
        """Begin to ping one workload from another, without pause."""
        namespace = self._workloads[source.port_id].namespace
        return await self._in_lab(PingStream, namespace, target.ip, interval_s=interval_s)

    async def hold(self, source: Endpoint, target: Endpoint, port: int) -> Callable[[], Awaitable[bool]]:
        """Open a TCP connection; the result asks whether it carries a word there and back. Raises Broken."""
        namespace = self._workloads[source.port_id].namespace
        for _ in range(HOLD_TRIES):
            held = await self._in_lab(self._lab.inside.hold, namespace, target.ip, port)
            if held is not None:
                break
        else:
            raise errors.Broken(f"{source.ip} does not reach {target.ip} by TCP")
        return lambda: self._in_lab(self._lab.inside.talk, held, timeout_s=3.0)

    def logs(self) -> Sequence[Path]:
        return sorted(self._lab.directory.glob("agent-*.log"))

    async def stop(self) -> None:
        self._plugger.close()
        if self._agents is not None:
            await self._agents.stop()
        await self._in_lab(self._lab.close)

    @property
    def _running(self) -> LabAgents:
        assert self._agents is not None, "not started"
        return self._agents

    def _settle_ipv6(self, plugged: Sequence[tuple[Endpoint, Workload]]) -> None:
        """Wait until all have their IPv6 addresses, those that ask for them and those that make them."""
        given = [pair for pair in plugged if scenario.IPV6_MODES[pair[0].tenant] == scenario.GIVEN]
        self._lab.configure_by_dhcpv6([(each, endpoint.ipv6) for endpoint, each in given])
        self._lab.await_slaac([(each, endpoint.ipv6) for endpoint, each in plugged])

    def _probe(self, attempt: Attempt) -> Probe:
        """Within a tenant the target itself must answer; of another tenant's, nobody may, whoever it is."""
        source, target = (self._workloads[each.port_id] for each in (attempt.source, attempt.target))
        return Probe(
            from_workload=source,
            to_ip=attempt.to_ip,
            kind="icmp" if attempt.port is None else "tcp",
            port=attempt.port or 0,
            answerer=target if attempt.source.tenant == attempt.target.tenant else None,
        )

    async def _in_lab(self, work: Callable[..., T], *arguments: object, **named: object) -> T:
        call = functools.partial(work, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._lab_thread, call)

    async def _as_guest(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._guests, work, *arguments)

    async def _first_ping(self, endpoint: Endpoint, each: Workload, started: float) -> float:
        """Address by DHCP, then ping the gateway. Give milliseconds since plugging began, -1 if it may not."""
        await self._as_guest(self._lab.configure_by_dhcp, [each])
        if endpoint.group not in scenario.SENDS_EVERYTHING:
            return -1.0
        gateway = scenario.gateway(endpoint.subnet)
        deadline = time.perf_counter() + FIRST_PING_TIMEOUT_S
        while not (await self._as_guest(packets.probe_matrix, [Probe(each, gateway, "icmp")]))[0]:
            if time.perf_counter() > deadline:
                raise errors.Broken(f"{endpoint.ip} on {endpoint.host} does not reach its gateway {gateway}")
        return (time.perf_counter() - started) * 1000
