"""A network through the API in which hosts ask for their neighbours, and the first packet of a pair, timed."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from alcor.bench.load import Connection
from alcor.bench.raw_agent import RawAgent
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.fabric import Fabric
from alcor.lab import namespaces
from alcor.lab.workload import Workload
from alcor.model import errors
from alcor.model.addressing import ip_from_text, ip_to_int, mac_from_text
from alcor.model.ids import PortId

IN_FORCE_TIMEOUT_S = 60
ANSWER_S = 2.0
FAR_HOSTS = 50
PREFIX_LEN = 8  # room for a million ports
_ROUND_TRIP = re.compile(r"time=([0-9.]+) ms")


async def introduce_far_hosts(url: str) -> None:
    """Let the hosts that fill networks be known: where a host is unknown, nobody is told of its ports."""
    for number in range(FAR_HOSTS):
        agent = await RawAgent.connect(url, far_name(number), (0x0AFC0001 + number).to_bytes(4, "big"))
        agent.close()


def far_name(number: int) -> str:
    """Give the name of a host that has no agent for long."""
    return f"far-{number}"


class MadePort(msgspec.Struct, frozen=True):
    """A port as the API answered it."""

    id: str
    ip: str
    mac: int
    host: str


class AskingNetwork:
    """Owner of the calls that make one network, and ports in it that everybody in it may reach."""

    def __init__(self, api: Connection) -> None:
        self._api = api
        group = self._new("security_group", {"name": "open"})
        rule = {"security_group_id": group, "direction": "ingress", "remote_ip_prefix": "0.0.0.0/0"}
        self._new("security_group_rule", {**rule, "ethertype": "IPv4"})
        self.open_group: str = group
        self.id = self._new("network", {"name": "asking"})
        self._new("subnet", {"network_id": self.id, "ip_version": 4, "cidr": f"10.0.0.0/{PREFIX_LEN}"})

    def fill(self, ports: int, *, hosts: int) -> None:
        """Create ports in one call, on so many far hosts."""
        bodies = [
            {
                "network_id": self.id,
                "binding:host_id": far_name(number % hosts),
                "port_security_enabled": False,
                "security_groups": [],
            }
            for number in range(ports)
        ]
        self._api.call("POST", "/v2.0/ports", {"ports": bodies})

    def first_port(self, host: str) -> float:
        """Give a host its first port; give ms from the commit until it acknowledged all of the network."""
        body = {"network_id": self.id, "binding:host_id": host, "security_groups": []}
        path = f"/v2.0/ports?wait=in_force&timeout={IN_FORCE_TIMEOUT_S}"
        revision = self._api.call("POST", path, {"port": body})[2]
        change = self._api.call("GET", f"/v2.0/changes/{revision}")[0]["change"]
        took_ms: float | None = {part["host"]: part["took_ms"] for part in change["hosts"]}.get(host)
        if took_ms is None:
            raise errors.Broken(f"the neighbours are not in force on {host} after {IN_FORCE_TIMEOUT_S} s")
        return took_ms

    def add(self, hosts: Sequence[str]) -> list[MadePort]:
        """Create a port on each of the hosts named, and wait until they are in force."""
        bodies = [
            {"network_id": self.id, "binding:host_id": host, "security_groups": [self.open_group]}
            for host in hosts
        ]
        path = f"/v2.0/ports?wait=in_force&timeout={IN_FORCE_TIMEOUT_S}"
        made = self._api.call("POST", path, {"ports": bodies})[0]["ports"]
        if not all(port["alcor:in_force"] for port in made):
            raise errors.Broken(f"a port is not in force after {IN_FORCE_TIMEOUT_S} s")
        return [_made(port) for port in made]

    def _new(self, kind: str, body: dict[str, Any]) -> str:
        made: dict[str, Any] = self._api.call("POST", f"/v2.0/{kind.replace('_', '-')}s", {kind: body})[0]
        new_id: str = made[kind]["id"]
        return new_id


async def first_ping(fabric: Fabric, source: MadePort, target: MadePort) -> float:
    """Let one simulated workload ping another, each asking for the other's address; give the milliseconds."""
    started = time.perf_counter()
    await _resolve(fabric, source, target)
    await _resolve(fabric, target, source)
    to_ip = ip_to_int(ip_from_text(target.ip))
    if not exchange.ping(fabric, PortId(source.id), to_ip).succeeded:
        raise errors.Broken(f"{source.ip} does not reach {target.ip}")
    return (time.perf_counter() - started) * 1000


async def _resolve(fabric: Fabric, source: MadePort, target: MadePort) -> None:
    """Ask until there is an answer: at once, late where the host has to ask too, or when the host was told."""
    fabric.late.clear()
    sender, asked = exchange.workload(fabric, PortId(source.id)), ip_to_int(ip_from_text(target.ip))
    deadline_s = time.monotonic() + ANSWER_S
    mac, verdict = exchange.resolve(fabric, sender, asked)
    while mac is None and not any(late.verdict.returned for late in fabric.late):
        if time.monotonic() > deadline_s:
            raise errors.Broken(f"nobody tells {source.ip} where {target.ip} is")
        await asyncio.sleep(0)
        if verdict is not None and not verdict.handed_over:
            mac, verdict = exchange.resolve(fabric, sender, asked)


def ping(workload: Workload, to_ip: str) -> float | None:
    """Send one echo request from a real workload; give the milliseconds to its answer, resolving included."""
    line = namespaces.inside(workload.namespace, ["ping", "-n", "-c", "1", "-W", str(ANSWER_S), to_ip])
    try:
        found = _ROUND_TRIP.search(namespaces.run(line))
    except errors.Broken:
        return None
    return float(found.group(1)) if found else None


def _made(port: dict[str, Any]) -> MadePort:
    ip = port["fixed_ips"][0]["ip_address"]
    return MadePort(port["id"], ip, mac_from_text(port["mac_address"]), port["binding:host_id"])
