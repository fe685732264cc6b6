"""A trunk in a real region: API, PostgreSQL, controller and agents, over moves and a restart."""

from pathlib import Path
from typing import Any

from region_scene import emulated, eventually, network, region

from alcor.client.api import ApiClient
from alcor.data_plane.simulated import exchange
from alcor.model.addressing import ip_from_text, ip_to_int
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts


async def until(api: ApiClient, trunk: dict[str, Any], status: str) -> None:
    async def is_so() -> bool:
        return bool((await api.get(f"/v2.0/trunks/{trunk['id']}"))["trunk"]["status"] == status)

    await eventually(is_so, f"the trunk is {status}")


async def route_through(api: ApiClient, port: dict[str, Any], *network_ids: str) -> None:
    """Join networks by a router that has a route with the port as its next hop."""
    router = (await api.post("/v2.0/routers", {"router": {}}))["router"]
    for network_id in network_ids:
        (subnet,) = (await api.get("/v2.0/subnets", network_id=network_id))["subnets"]
        await api.put(f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    hop = port["fixed_ips"][0]["ip_address"]
    routes = {"router": {"routes": [{"destination": "172.20.0.0/16", "nexthop": hop}]}}
    await api.put(f"/v2.0/routers/{router['id']}/add_extraroutes", routes)


async def forwards(hosts: EmulatedHosts, source: dict[str, Any], target: dict[str, Any]) -> bool:
    """Does a ping for an address of nobody's arrive at the port that is to forward it?"""
    far = ip_to_int(ip_from_text("172.20.0.5"))
    sent = exchange.ping(hosts.fabric, PortId(source["id"]), far).verdicts
    return [each.port_id for verdict in sent[:1] for each in verdict.delivered] == [target["id"]]


def pings(hosts: EmulatedHosts, source: dict[str, Any], target: dict[str, Any]) -> bool:
    address = ip_to_int(ip_from_text(target["fixed_ips"][0]["ip_address"]))
    return exchange.ping(hosts.fabric, PortId(source["id"]), address).succeeded


async def test_a_trunk_is_in_force_follows_its_parent_and_outlives_the_region(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # the embedded database runs as another user
    async with region(tmp_path) as process, emulated(process, 2) as hosts:
        async with ApiClient(process.url) as api:
            red, _ = await network(api, cidr="10.1.0.0/24", name="red")
            green, _ = await network(api, cidr="10.2.0.0/24", name="green")
            asks = [
                {"network_id": red, "binding:host_id": "host-0"},
                {"network_id": green},
                {"network_id": green},
                {"network_id": green, "binding:host_id": "host-1"},
            ]
            parent, one, two, peer = (await api.post("/v2.0/ports", {"ports": asks}))["ports"]
            group = {
                "security_group_id": peer["security_groups"][0],
                "direction": "ingress",
                "protocol": "icmp",
            }
            await api.post("/v2.0/security-group-rules", {"security_group_rule": group})
            subs = [
                {"port_id": port["id"], "segmentation_type": "vlan", "segmentation_id": vlan}
                for port, vlan in ((one, 100), (two, 200))
            ]
            body = {"trunk": {"port_id": parent["id"], "sub_ports": subs[:1]}}
            trunk = (await api.post("/v2.0/trunks", body))["trunk"]
            assert trunk["status"] == "DOWN"
            hosts.data_planes[HostId("host-1")].plug(PortId(peer["id"]))
            hosts.data_planes[HostId("host-0")].plug(PortId(parent["id"]))
            await until(api, trunk, "ACTIVE")
            shown = (await api.get(f"/v2.0/ports/{one['id']}"))["port"]
            assert (shown["status"], shown["binding:host_id"]) == ("ACTIVE", "host-0")
            assert pings(hosts, one, peer)
            assert pings(hosts, peer, one)
            await api.put(f"/v2.0/trunks/{trunk['id']}/add_subports", {"sub_ports": subs[1:]})
            await until(api, trunk, "ACTIVE")
            assert pings(hosts, two, one), "through the same workload"
            await route_through(api, peer, red, green)
            await eventually(
                lambda: forwards(hosts, parent, peer), "a packet for elsewhere goes to the next hop"
            )
            moved = {"port": {"binding:host_id": "host-1"}}
            await api.put(f"/v2.0/ports/{parent['id']}?wait=in_force&timeout=30", moved)
            await until(api, trunk, "DOWN")
            hosts.data_planes[HostId("host-0")].unplug(PortId(parent["id"]))
            hosts.data_planes[HostId("host-1")].plug(PortId(parent["id"]))
            await until(api, trunk, "ACTIVE")
            assert pings(hosts, one, peer)
            gone = {"sub_ports": [{"port_id": one["id"]}]}
            revision = (await api.put(f"/v2.0/trunks/{trunk['id']}/remove_subports", gone))["revision_number"]
            assert revision == 3

            async def is_gone() -> bool:
                return bool((await api.get(f"/v2.0/ports/{one['id']}"))["port"]["status"] == "DOWN")

            await eventually(is_gone, "the sub-port is plugged nowhere")
        await process.stop()
        assert pings(hosts, two, peer), "what forwards goes on"
        await process.start()
        async with ApiClient(process.url) as api:
            await until(api, trunk, "ACTIVE")
            assert pings(hosts, two, peer)
