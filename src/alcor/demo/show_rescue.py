"""The rescue show: an agent is killed, its host goes on and takes new workloads, and the agent comes back.

pings and a TCP connection through the host, all the time
kill -9 the agent -> ports for its host, at once -> workloads: DHCP, ACTIVE, every packet tried
the agent starts again -> it takes over -> every packet tried again
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from alcor.client.api import ApiClient
from alcor.demo import packet_check, provisioning, scenario
from alcor.demo.hosts_ovs import OvsHosts
from alcor.demo.results import Packets
from alcor.demo.scenario import Endpoint
from alcor.demo.stage import Stage
from alcor.model import errors
from alcor.runtime.clock import SystemClock

NEW_PORTS = 12  # both tenants, subnets and all groups
OTHERS = 8  # workloads that are there already, tried against the new ones
ROUNDS = 2
PING_INTERVAL_S = 0.02
POLL_S = 0.005
TIMEOUT_S = 20.0
# A packet lost so long after a plug is counted as its price: Open vSwitch's userspace datapath stands still
# while it takes an interface, whoever writes to the switch (decision 9).
PLUGGING_MS = 100


class Rescue(msgspec.Struct, frozen=True):
    """What was measured. Times from the kill, in milliseconds."""

    detected_ms: float
    rescued_ms: float
    first_ping_ms: float
    lost_packets_of_established: int
    lost_while_plugging: int  # of these, those that the new workloads' interfaces cost, and not the rescue
    packets_of_established: int
    lost_after_ms: tuple[int, ...]  # from the kill, each of them
    took_over_ms: float  # from the start of the agent
    rescuer: str
    new_ports: int
    packets: Packets


async def show(stage: Stage) -> Rescue:
    """Kill an agent and see. Raises Invalid where nobody can rescue, Broken when a packet goes wrong."""
    hosts = stage.hosts
    if not isinstance(hosts, OvsHosts) or len(hosts.names) < 2:
        raise errors.Invalid("the rescue show needs the ovs data plane and two hosts")
    victim = hosts.names[0]
    source, target = _established(stage.sample, victim)
    stage.console.print(f"rescue: killing the agent of {victim}, with pings and TCP through it")
    stream = await hosts.ping_stream(source, target, interval_s=PING_INTERVAL_S)
    try:
        talks = await hosts.hold(source, target, scenario.WEB_PORT)
        killed, killed_at_ms = time.perf_counter(), SystemClock().now_us() // 1000
        await hosts.kill_agent(victim)
        watch = asyncio.create_task(_watch(stage.api.url, victim, killed))
        new = await _new_ports(stage, victim, NEW_PORTS)
        plug = await hosts.plug(stage.api, new, since=killed)
        detected_ms, rescued_ms, rescuer = await watch
        plugged, some = [*new, *stage.sample], stage.sample[:OTHERS]
        tried = await packet_check.attempt_all(hosts, [*new, *some], beside=plugged, rounds=ROUNDS)
        survived = await talks()
        started = time.perf_counter()
        await hosts.start_agent(victim)
        await _until(stage.api, victim, lambda host: host["alive"] and host["rescue"] is None)
        took_over_ms = (time.perf_counter() - started) * 1000
        again = await packet_check.attempt_all(hosts, [*new[:4], *some], beside=plugged, rounds=ROUNDS)
        survived = survived and await talks()
        counted = await asyncio.to_thread(stream.stop)
    finally:
        stream.kill()
    packets = packet_check.joined(tried, again)
    if packets.wrong or not survived:
        raise errors.Broken(packets.wrong[0] if packets.wrong else "the TCP connection through the host broke")
    return Rescue(
        detected_ms=round(detected_ms, 1),
        rescued_ms=round(rescued_ms, 1),
        first_ping_ms=round(plug.first_ping_min_ms, 1),
        lost_packets_of_established=counted.lost,
        lost_while_plugging=_while_plugging(counted.lost_at_ms, hosts.plugged_at_ms),
        packets_of_established=counted.sent,
        lost_after_ms=tuple(at_ms - killed_at_ms for at_ms in counted.lost_at_ms),
        took_over_ms=round(took_over_ms, 1),
        rescuer=rescuer,
        new_ports=len(new),
        packets=packets,
    )


def _while_plugging(lost_at_ms: Sequence[int], plugged_at_ms: Sequence[int]) -> int:
    return sum(any(0 <= lost - plugged <= PLUGGING_MS for plugged in plugged_at_ms) for lost in lost_at_ms)


def _established(sample: Sequence[Endpoint], victim: str) -> tuple[Endpoint, Endpoint]:
    """Two workloads that may talk, the second one on the host in question."""
    for target in sample:
        if target.host == victim and target.group == "web":
            for source in sample:
                if source.tenant == target.tenant and source.host != victim and source.group == "web":
                    return source, target
    raise errors.Invalid(f"no two workloads of the sample talk through {victim}")


async def _new_ports(stage: Stage, host: str, count: int) -> list[Endpoint]:
    _, endpoints = await provisioning.batched(stage.api, stage.vpcs, [host], first=stage.ports, count=count)
    return endpoints


async def _watch(url: str, host: str, killed: float) -> tuple[float, float, str]:
    """Give the milliseconds from the kill until it is known, and until a neighbour writes; and which."""
    known: list[float] = []

    def is_rescued(answer: dict[str, Any]) -> bool:
        if not known and (answer["rescue"] or not answer["alive"]) and "dead" in answer["reason"]:
            known.append((time.perf_counter() - killed) * 1000)
        return answer["rescue"] is not None

    async with ApiClient(url) as api:
        answer = await _until(api, host, is_rescued)
    return known[0], (time.perf_counter() - killed) * 1000, answer["rescue"]["by"]


async def _until(api: ApiClient, host: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.perf_counter() + TIMEOUT_S
    while True:
        answer: dict[str, Any] = (await api.get(f"/v2.0/hosts/{host}"))["host"]
        if holds(answer):
            return answer
        if time.perf_counter() > deadline:
            raise errors.Broken(f"host {host} after {TIMEOUT_S} s: {answer['reason']}")
        await asyncio.sleep(POLL_S)
