"""A VPC of both IP versions, from REST to packets, over restarts of the region and of its agents."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from region_scene import QUICK, WAIT_S, all_in_force, all_ports, eventually

from alcor.client.api import ApiClient
from alcor.data_plane.simulated import exchange
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import goal_state
from alcor.model.addressing import Cidr, derived_ip, ip_from_text, ip_to_text, mac_from_text
from alcor.model.goal_state import NetworkSection, SectionKey
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts
from alcor.runtime.event_log import SILENT

HOSTS = 4
PORTS = 1_000
V4, V6, OTHER_V6 = "10.0.0.0/16", "2001:db8:1::/64", "2001:db8:2::/64"
SLAAC = {"ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}


class Scene:
    """A region process, and emulated hosts in this process whose journals are kept."""

    def __init__(self, directory: Path, on_demand_above: int | None) -> None:
        directory.chmod(0o755)  # the embedded database runs as another user
        self.journals = directory / "hosts"
        self.region = RegionProcess(directory / "region", on_demand_above=on_demand_above)
        self.hosts = EmulatedHosts(
            HOSTS, (self.region.agent_url,), SILENT, timing=QUICK, state_dir=self.journals
        )

    async def alive(self) -> None:
        async with ApiClient(self.region.url) as api:
            await hosts_alive(api, HOSTS, timeout_s=WAIT_S)

    def plug(self, port: dict[str, Any]) -> None:
        self.hosts.data_planes[HostId(port["binding:host_id"])].plug(PortId(port["id"]))

    def pings(self, source: dict[str, Any], target: dict[str, Any]) -> dict[int, bool]:
        """Ping from one port each address of another: IP version of it -> does it answer?"""
        return {
            4 if len(ip) == 4 else 6: exchange.ping(self.hosts.fabric, PortId(source["id"]), ip).succeeded
            for ip in ips_of(target)
        }

    def digests(self) -> dict[tuple[HostId, SectionKey], bytes]:
        """Give what every host holds, in a few bytes for each section."""
        return {
            (host, key): goal_state.digest(section.full())
            for host, agent in self.hosts._agents.items()
            for key, section in agent._applier.state.sections.items()
        }

    def journalled(self) -> int:
        """Give the bytes that were ever told to hosts, as far as their journals have not been rewritten."""
        return sum(each.stat().st_size for each in self.journals.rglob("*") if each.is_file())


@asynccontextmanager
async def scene(directory: Path, *, on_demand_above: int | None = None) -> AsyncIterator[Scene]:
    made = Scene(directory, on_demand_above)
    try:
        await made.region.start()
        made.hosts.start()
        await made.alive()
        yield made
    finally:
        await made.hosts.stop()
        await made.region.stop()


async def dual_stack(api: ApiClient) -> tuple[str, list[str]]:
    """Make a network with a subnet of each version; give its id and theirs."""
    network: dict[str, Any] = (await api.post("/v2.0/networks", {"network": {"name": "vpc"}}))["network"]
    bodies = [{"ip_version": 4, "cidr": V4}, {**SLAAC, "cidr": V6}]
    made = [
        (await api.post("/v2.0/subnets", {"subnet": {"network_id": network["id"], **body}}))["subnet"]
        for body in bodies
    ]
    return network["id"], [subnet["id"] for subnet in made]


def ips_of(port: dict[str, Any]) -> list[bytes]:
    return [ip_from_text(fixed["ip_address"]) for fixed in port["fixed_ips"]]


def check_addresses(port: dict[str, Any], *prefixes: str) -> None:
    """The port has one address of IPv4, and of each prefix the one that follows from its MAC address."""
    derived = {
        ip_to_text(derived_ip(Cidr.from_text(each).network, mac_from_text(port["mac_address"])))
        for each in prefixes
    }
    assert {ip_to_text(ip) for ip in ips_of(port) if len(ip) == 16} == derived
    assert sum(len(ip) == 4 for ip in ips_of(port)) == 1


async def test_a_thousand_ports_of_a_dual_stack_vpc_outlive_restarts_of_all(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, ApiClient(it.region.url, timeout_s=120.0) as api:
        network_id, subnets = await dual_stack(api)
        router = (await api.post("/v2.0/routers", {"router": {"name": "r"}}))["router"]
        for subnet_id in subnets:
            await api.put(f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet_id})
        group = {"network_id": network_id, "count": PORTS}
        made = await api.post("/v2.0/port-groups", {"port_group": group}, wait="in_force", timeout=60)
        assert made["port_group"]["in_force"] == PORTS

        ports = [port for port in await all_ports(api, network_id) if port["binding:host_id"]]
        assert len(ports) == PORTS
        for port in ports:
            check_addresses(port, V6)
        one = ports[0]
        other = next(port for port in ports if port["binding:host_id"] != one["binding:host_id"])
        it.plug(one)
        it.plug(other)
        assert it.pings(one, other) == {4: True, 6: True}
        legs = (await api.get("/v2.0/ports", device_id=router["id"]))["ports"]
        assert all(all(it.pings(one, leg).values()) for leg in legs), "the router answers in both versions"

        told, before = it.journalled(), it.digests()
        await it.region.stop()
        assert it.pings(one, other) == {4: True, 6: True}, "what forwards goes on"
        await it.region.start()
        await it.alive()
        await all_in_force(api, PORTS)
        assert it.digests() == before
        assert it.journalled() - told < told // 20, "what hosts hold is not told again"

        await it.hosts.crash(list(it.hosts.data_planes))
        await it.alive()
        await all_in_force(api, PORTS)
        assert it.digests() == before
        assert it.pings(one, other) == {4: True, 6: True}


async def test_a_prefix_that_comes_later_gives_every_port_an_address_and_takes_it_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, ApiClient(it.region.url, timeout_s=60.0) as api:
        network_id, _ = await dual_stack(api)
        group = {"network_id": network_id, "count": 50}
        await api.post("/v2.0/port-groups", {"port_group": group}, wait="in_force", timeout=30)
        before = it.digests()
        body = {"network_id": network_id, **SLAAC, "cidr": OTHER_V6}
        late = (await api.post("/v2.0/subnets", {"subnet": body}))["subnet"]
        for port in await all_ports(api, network_id):
            check_addresses(port, V6, OTHER_V6)
        await all_in_force(api, 50)
        assert it.digests() != before
        await api.delete(f"/v2.0/subnets/{late['id']}")
        for port in await all_ports(api, network_id):
            check_addresses(port, V6)

        async def as_before() -> bool:
            return it.digests() == before

        await eventually(as_before, "hosts hold what they held before")


async def test_where_hosts_ask_for_neighbours_they_ask_by_either_address(tmp_path: Path) -> None:
    async with scene(tmp_path, on_demand_above=3) as it, ApiClient(it.region.url) as api:
        network_id, _ = await dual_stack(api)
        bodies = [{"network_id": network_id, "binding:host_id": f"host-{number}"} for number in range(HOSTS)]
        made = (await api.post("/v2.0/ports", {"ports": bodies}, wait="in_force", timeout=30))["ports"]
        for port in made:
            it.plug(port)
        one, other, third, _ = made

        def learned(host: str) -> set[str]:
            sections = it.hosts._agents[HostId(host)]._applier.state.sections.values()
            return {
                id_ for section in sections if isinstance(section, NetworkSection) for id_ in section.placements
            }

        assert learned("host-0") == {one["id"]}

        async def reached(source: dict[str, Any], target: dict[str, Any], version: int) -> None:
            async def truth() -> bool:
                return it.pings(source, target)[version]

            await eventually(truth, f"IPv{version} from {source['id']} to {target['id']}", timeout_s=5)

        await reached(one, other, 6)
        assert learned("host-0") == {one["id"], other["id"]}
        assert it.pings(one, other) == {4: True, 6: True}, "who learned a port knows all its addresses"
        await reached(third, one, 4)
        assert it.pings(third, one) == {4: True, 6: True}

        before = it.digests()
        await it.region.stop()
        await it.region.start()
        await it.alive()
        await all_in_force(api, HOSTS)
        assert it.digests() == before, "what was learned is kept"
        assert it.pings(one, other) == {4: True, 6: True}
