"""The fast show and the queue show: ports by each path, one at a time, from the call until in force.

fast    ports that ask for the fast path, on the demonstration's hosts
queue   two more hosts whose agents have no stream: ports on them, workloads plugged, pings between them
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from alcor.data_plane.simulated import exchange
from alcor.demo import provisioning, scenario, tenants
from alcor.demo.scenario import Endpoint, Placing
from alcor.demo.stage import Stage
from alcor.lab.percentiles import percentile
from alcor.lab.region_process import hosts_alive
from alcor.model import errors
from alcor.model.addressing import ip_from_text, ip_to_int
from alcor.model.ids import HostId, PortId
from alcor.processes.agent import EmulatedHosts, emulated_name
from alcor.runtime.event_log import EventLog, Level

FAST_PORTS = 30
QUEUE_PORTS = 20
FIRST_EXTRA = 5000  # far from the names and tunnel addresses of the demonstration's own hosts
ZONE = "without-streams"


class PathShow(msgspec.Struct, frozen=True):
    """One path. Milliseconds: of the call until in force, and from commit to acknowledgement by the host."""

    ports: int
    in_force_p50_ms: float
    in_force_p99_ms: float
    acknowledged_p50_ms: float
    acknowledged_p99_ms: float
    reason: str
    pings: int = 0  # that were answered, of as many that must be


async def show_fast(stage: Stage) -> PathShow:
    """Create ports that ask for the fast path. Raises Broken when one goes another way."""
    measured = [
        await _one_port(stage, number, stage.hosts.names[number % len(stage.hosts.names)], path="fast")
        for number in range(FAST_PORTS)
    ]
    return await _path(stage, stage.hosts.names[0], [times for _, times in measured])


async def show_queue(stage: Stage) -> PathShow:
    """Start two hosts without streams, and prove their ports. Raises Broken when one is not in force."""
    names = [emulated_name(FIRST_EXTRA + number) for number in range(2)]
    stage.console.print(f"queue: {' and '.join(names)} have no stream to the controller")
    log = EventLog(level=Level.ERROR)
    hosts = EmulatedHosts(2, "", log, first=FIRST_EXTRA, zone=ZONE, queue=stage.queue)
    hosts.start()
    try:
        await hosts_alive(stage.api, len(stage.hosts.names) + 2)
        measured = [
            await _one_port(stage, number, names[number % 2], path="queue") for number in range(QUEUE_PORTS)
        ]
        endpoints = [endpoint for endpoint, _ in measured]
        for endpoint in endpoints:
            hosts.data_planes[HostId(endpoint.host)].plug(PortId(endpoint.port_id))
            await tenants.until_active(stage.api, endpoint.port_id)
        pings = _pings(hosts, endpoints)
        path = await _path(stage, names[0], [times for _, times in measured])
        for endpoint in endpoints:  # or every later change of the VPC would wait for hosts that are gone
            await stage.api.delete(f"/v2.0/ports/{endpoint.port_id}")
        return msgspec.structs.replace(path, pings=pings)
    finally:
        await hosts.stop()


def _pings(hosts: EmulatedHosts, endpoints: Sequence[Endpoint]) -> int:
    """Ping from every port on the first host to every one on the second; give how many were answered."""
    answered = 0
    for source in endpoints[::2]:
        for target in (each for each in endpoints[1::2] if each.tenant == source.tenant):
            found = exchange.ping(hosts.fabric, PortId(source.port_id), ip_to_int(ip_from_text(target.ip)))
            if not found.succeeded:
                raise errors.Broken(f"{source.ip} on {source.host} does not reach {target.ip} on {target.host}")
            answered += 1
    return answered


async def _one_port(stage: Stage, number: int, host: str, *, path: str) -> tuple[Endpoint, tuple[float, float]]:
    """Create a port; give it, the call's milliseconds until in force, and those from commit to answer."""
    place = Placing(tenant=scenario.TENANTS[number // 2 % 2], subnet="a", group="web", host=host)
    vpc = stage.vpcs[place.tenant]
    body = {
        "name": f"{path}-{number}",
        "project_id": place.tenant,
        "network_id": vpc.network,
        "fixed_ips": [{"subnet_id": vpc.subnets[place.subnet]}],
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
