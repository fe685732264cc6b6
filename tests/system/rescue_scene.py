"""A region with hosts that can rescue each other, on this machine: real agents, switches and packets."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alcor.client.api import ApiClient
from alcor.lab import packets
from alcor.lab.agents import LabAgents
from alcor.lab.children import Child
from alcor.lab.laboratory import Laboratory
from alcor.lab.packets import Probe
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.lab.workload import Workload, WorkloadPlan
from alcor.model.addressing import mac_from_text


class RescueScene:
    """One tenant's network over the hosts of a lab. Owner of what it plugs."""

    def __init__(self, lab: Laboratory, region: RegionProcess, agents: LabAgents, api: ApiClient) -> None:
        self.lab = lab
        self.region = region
        self.agents = agents
        self.api = api
        self.hosts = {host.name: host for host in lab.hosts}
        self.workloads: dict[str, Workload] = {}
        self.ips: dict[str, str] = {}
        self.ips_v6: dict[str, str] = {}
        self.subnet_v6 = ""
        self.network_id = ""
        self._group = ""

    async def build(self) -> None:
        """Make a network with a subnet of either IP version, and a group that lets everything in."""
        network = (await self.api.post("/v2.0/networks", {"network": {"name": "n"}}))["network"]
        self.network_id = network["id"]
        subnet = {"network_id": self.network_id, "cidr": "10.9.0.0/24", "ip_version": 4}
        await self.api.post("/v2.0/subnets", {"subnet": subnet})
        modes = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"}
        subnet = {"network_id": self.network_id, "cidr": "2001:db8:9::/64", "ip_version": 6, **modes}
        self.subnet_v6 = (await self.api.post("/v2.0/subnets", {"subnet": subnet}))["subnet"]["id"]
        group = await self.api.post("/v2.0/security-groups", {"security_group": {"name": "open"}})
        self._group = group["security_group"]["id"]
        for ethertype in ("IPv4", "IPv6"):
            rule = {"security_group_id": self._group, "direction": "ingress", "ethertype": ethertype}
            await self.api.post("/v2.0/security-group-rules", {"security_group_rule": rule})

    async def port(self, name: str, host: str, *, group: str = "") -> dict[str, Any]:
        """Create a port on a host, in the open group or another; does not wait."""
        body = {
            "name": name,
            "network_id": self.network_id,
            "binding:host_id": host,
            "security_groups": [group or self._group],
        }
        port: dict[str, Any] = (await self.api.post("/v2.0/ports", {"port": body}))["port"]
        self._note_addresses(name, port)
        return port

    async def bind(self, name: str, host: str, port: dict[str, Any]) -> dict[str, Any]:
        """Put a port that somebody made on a host, as the compute service does."""
        bound = {"port": {"binding:host_id": host}}
        answer: dict[str, Any] = (await self.api.put(f"/v2.0/ports/{port['id']}", bound))["port"]
        self._note_addresses(name, port)
        return answer

    def _note_addresses(self, name: str, port: dict[str, Any]) -> None:
        for fixed in port["fixed_ips"]:
            noted = self.ips_v6 if ":" in fixed["ip_address"] else self.ips
            noted[name] = fixed["ip_address"]

    async def give_ipv6(self, *names: str) -> None:
        """Let workloads get their IPv6 addresses by DHCPv6."""
        wanted = [(self.workloads[name], self.ips_v6[name]) for name in names]
        await asyncio.to_thread(self.lab.configure_by_dhcpv6, wanted)

    async def plug(
        self, name: str, host: str, *, made: dict[str, Any] | None = None, group: str = ""
    ) -> dict[str, Any]:
        """Create a port, or take one, with its workload, ACTIVE, addressed by DHCP and serving TCP 80."""
        port = await (self.port(name, host, group=group) if made is None else self.bind(name, host, made))
        plan = WorkloadPlan(port["id"], mac_from_text(port["mac_address"]), self.hosts[host])
        plugged = await asyncio.to_thread(self.lab.add_workloads, [plan])
        self.workloads[name] = plugged[0]
        answer = await self.api.get(f"/v2.0/ports/{port['id']}", wait="active", timeout=10)
        await asyncio.to_thread(self.lab.configure_by_dhcp, plugged)
        await asyncio.to_thread(packets.serve, plugged, 80)
        active: dict[str, Any] = answer["port"]
        return active

    async def plug_tagged(self, name: str, parent: str, vlan: int) -> None:
        """Create a port as the sub-port of a plugged one, with a workload behind its parent's."""
        port = await self.port(name, "")
        parent_id = self.workloads[parent].port_id
        under = {"port_id": port["id"], "segmentation_type": "vlan", "segmentation_id": vlan}
        await self.api.post("/v2.0/trunks", {"trunk": {"port_id": parent_id, "sub_ports": [under]}})
        active = (await self.api.get(f"/v2.0/ports/{port['id']}", wait="active", timeout=10))["port"]
        assert active["status"] == "ACTIVE"
        mac = mac_from_text(port["mac_address"])
        add = self.lab.add_tagged
        made = await asyncio.to_thread(add, self.workloads[parent], port_id=port["id"], mac=mac, vlan=vlan)
        self.workloads[name] = made
        await asyncio.to_thread(self.lab.configure_by_dhcp, [made])
        await asyncio.to_thread(packets.serve, [made], 80)

    async def in_force(self, method: str, path: str, body: object = None) -> Any:
        """Make a request, wait until what it commits is in force everywhere, and give the answer."""
        answer, headers = await self.api.call(method, path, body=body)
        change = f"/v2.0/changes/{headers['x-alcor-revision']}"
        receipt = (await self.api.get(change, wait="in_force", timeout=20))["change"]
        assert receipt["in_force"], receipt
        return answer

    async def reaches(self, one: str, other: str, *, over_ipv6: bool = False) -> bool:
        """Does one workload reach another by ping and by TCP?"""
        return all(await self._probe(one, other, over_ipv6=over_ipv6))

    async def is_cut_off(self, one: str, other: str) -> bool:
        """Does one workload reach another by neither?

        Asked again if it does: the datapath's cache follows the flows within milliseconds, busy machines later.
        """
        for _ in range(2):
            if not any(await self._probe(one, other, over_ipv6=False)):
                return True
        return False

    async def _probe(self, one: str, other: str, *, over_ipv6: bool) -> list[bool]:
        source, to_ip = self.workloads[one], (self.ips_v6 if over_ipv6 else self.ips)[other]
        probes = [
            Probe(source, to_ip, "icmp", answerer=self.workloads[other]),
            Probe(source, to_ip, "tcp", 80, answerer=self.workloads[other]),
        ]
        return await asyncio.to_thread(packets.probe_matrix, probes)

    async def hold(self, one: str, other: str) -> Callable[[], Awaitable[bool]]:
        """Open a TCP connection; the result asks whether it still carries a word there and back."""
        namespace = self.workloads[one].namespace
        held = await asyncio.to_thread(self.lab.inside.hold, namespace, self.ips[other], 80)
        assert held is not None
        return lambda: asyncio.to_thread(self.lab.inside.talk, held, timeout_s=3.0)

    async def host(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.api.get(f"/v2.0/hosts/{name}"))["host"]
        return answer

    async def until(
        self, name: str, holds: Callable[[dict[str, Any]], bool], *, timeout_s: float = 15.0
    ) -> dict[str, Any]:
        """Wait until something holds of a host, and give it."""
        deadline = time.monotonic() + timeout_s
        while not holds(host := await self.host(name)):
            assert time.monotonic() < deadline, f"{host}\n{self.log(name)}"
            await asyncio.sleep(0.02)
        return host

    def agent(self, name: str) -> Child:
        return self.agents.children[name]

    def log(self, name: str) -> str:
        """The ends of the logs, to say more when something did not happen."""
        files = [self.region.directory / "region.log", *sorted(self.lab.directory.glob("agent-*.log"))]
        return "\n".join(f"{file.name}:\n{file.read_text()[-6000:]}" for file in files if file.exists())


@asynccontextmanager
async def rescue_scene(directory: Path, *, hosts: int) -> AsyncIterator[RescueScene]:
    """Bring it all up with a network in it, and remove it at the end."""
    directory.chmod(0o755)
    region = RegionProcess(directory / "region")
    with Laboratory(hosts=hosts) as lab:
        agents: LabAgents | None = None
        try:
            await region.start()
            agents = LabAgents(lab, region.agent_url, region.authority, region.queue_url)
            await agents.start()
            async with ApiClient(region.url) as api:
                await hosts_alive(api, hosts)
                scene = RescueScene(lab, region, agents, api)
                await scene.build()
                yield scene
        finally:
            if agents is not None:
                await agents.stop()
            await region.stop()


def is_rescued(host: dict[str, Any]) -> bool:
    return host["rescue"] is not None


def has_its_agent(host: dict[str, Any]) -> bool:
    return bool(host["alive"]) and host["rescue"] is None
