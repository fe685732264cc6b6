"""The fast show and the queue show: ports by each path, one at a time, from the call until in force.

fast    ports that ask for the fast path, on the demonstration's hosts
queue   two of the hosts get agents without streams: ports on them, workloads plugged, every packet tried
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from alcor.client.api import ApiClient
from alcor.demo import packet_check, provisioning, scenario
from alcor.demo.results import Packets
from alcor.demo.scenario import Endpoint, Placing
from alcor.demo.stage import Stage
from alcor.lab.percentiles import percentile
from alcor.model import errors

FAST_PORTS = 30
QUEUE_PORTS = 12
ROUNDS = 2
CHANGE_TIMEOUT_S = 20.0
POLL_S = 0.02


class PathShow(msgspec.Struct, frozen=True):
    """One path. Milliseconds: of the call until in force, and from commit to acknowledgement by the host."""

    ports: int
    in_force_p50_ms: float
    in_force_p99_ms: float
    acknowledged_p50_ms: float
    acknowledged_p99_ms: float
    reason: str
    packets: Packets | None = None  # between the new ports, where they were tried


async def show_fast(stage: Stage) -> PathShow:
    """Create ports that ask for the fast path. Raises Broken when one goes another way."""
    measured = [
        await _one_port(stage, number, stage.hosts.names[number % len(stage.hosts.names)], path="fast")
        for number in range(FAST_PORTS)
    ]
    return await _path(stage, stage.hosts.names[0], [times for _, times in measured])


async def show_queue(stage: Stage) -> PathShow:
    """Take two hosts' streams away, and prove their ports. Raises Invalid, or Broken when one is not."""
    names = stage.hosts.names[:2]
    if len(names) < 2:
        raise errors.Invalid("the queue show needs two hosts")
    stage.console.print(f"queue: the agents of {' and '.join(names)} start again, without streams")
    try:
        for name in names:
            await stage.hosts.start_agent_again(name, with_stream=False)
        await _until_by(stage.api, names, "queue")
        measured = [
            await _one_port(stage, number, names[number % 2], path="queue") for number in range(QUEUE_PORTS)
        ]
        endpoints = [endpoint for endpoint, _ in measured]
        await stage.hosts.plug(stage.api, endpoints)
        path = await _path(stage, names[0], [times for _, times in measured])
        packets = await packet_check.attempt_all(stage.hosts, endpoints, beside=stage.sample, rounds=ROUNDS)
        for endpoint in endpoints:  # whose addresses nobody else is to have in what is tried later
            await stage.api.delete(f"/v2.0/ports/{endpoint.port_id}")
    finally:
        for name in names:
            await stage.hosts.start_agent_again(name, with_stream=True)
    await _until_by(stage.api, names, "fast")
    if packets.wrong:
        raise errors.Broken(packets.wrong[0])
    return msgspec.structs.replace(path, packets=packets)


async def _until_by(api: ApiClient, names: Sequence[str], path: str) -> None:
    """Wait until changes go to hosts by a path. Raises Broken."""
    deadline = time.perf_counter() + CHANGE_TIMEOUT_S
    for name in names:
        while (host := (await api.get(f"/v2.0/hosts/{name}"))["host"])["path"] != path or not host["alive"]:
            if time.perf_counter() > deadline:
                raise errors.Broken(f"changes for {name} do not go by the {path} path: {host['path_reason']}")
            await asyncio.sleep(POLL_S)


async def _one_port(stage: Stage, number: int, host: str, *, path: str) -> tuple[Endpoint, tuple[float, float]]:
    """Create a port; give it, the call's milliseconds until in force, and those from commit to answer."""
    place = Placing(tenant=scenario.TENANTS[number // 2 % 2], subnet="a", group="web", host=host)
    vpc = stage.vpcs[place.tenant]
    body = {
        "name": f"{path}-{number}",
        "project_id": place.tenant,
        "network_id": vpc.network,
        "fixed_ips": vpc.fixed_ips(place.subnet),
        "security_groups": [vpc.groups[place.group]],
        "binding:host_id": host,
        "alcor:fast_path": path == "fast",
    }
    started = time.perf_counter()
    answer, headers = await stage.api.call(
        "POST", f"/v2.0/ports?wait=in_force&timeout={provisioning.IN_FORCE_TIMEOUT_S}", body={"port": body}
    )
    took_ms = (time.perf_counter() - started) * 1000
    part = await _part(stage, headers["X-Alcor-Revision"], host)
    if not answer["port"]["alcor:in_force"] or part["path"] != path:
        raise errors.Broken(f"port {number} on {host}: in force {answer['port']['alcor:in_force']}, {part}")
    return provisioning.endpoint_of(answer["port"], place), (took_ms, float(part["took_ms"]))


async def _part(stage: Stage, revision: str, host: str) -> dict[str, Any]:
    change = (await stage.api.get(f"/v2.0/changes/{revision}"))["change"]
    found: dict[str, Any] = next(part for part in change["hosts"] if part["host"] == host)
    return found


async def _path(stage: Stage, host: str, times: Sequence[tuple[float, float]]) -> PathShow:
    shown = (await stage.api.get(f"/v2.0/hosts/{host}"))["host"]
    calls, acknowledged = ([each[part] for each in times] for part in (0, 1))
    return PathShow(
        ports=len(times),
        in_force_p50_ms=round(percentile(calls, 0.5), 2),
        in_force_p99_ms=round(percentile(calls, 0.99), 2),
        acknowledged_p50_ms=round(percentile(acknowledged, 0.5), 2),
        acknowledged_p99_ms=round(percentile(acknowledged, 0.99), 2),
        reason=shown["path_reason"],
    )
