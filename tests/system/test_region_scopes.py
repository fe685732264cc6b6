"""Address scopes in a region: what the API says of pools is what hosts forward, from commit to packet."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from region_scene import emulated

from alcor.client.api import ApiClient
from alcor.lab.region_process import RegionProcess


async def delivered(api: ApiClient, port_id: str, to_ip: str) -> bool:
    """Follow a packet through what the hosts hold."""
    asked = {"port_id": port_id, "to_ip": to_ip, "protocol": "icmp"}
    trace: dict[str, Any] = (await api.post("/v2.0/trace", {"trace": asked}))["trace"]
    return bool(trace["delivered"])


async def in_force(api: ApiClient, path: str, body: Any) -> None:
    """Change something, and wait until every host that it concerns has acknowledged it."""
    _, headers = await api.call("PUT", path, body=body)
    revision = headers["x-alcor-revision"]
    receipt = (await api.get(f"/v2.0/changes/{revision}", wait="in_force", timeout=20))["change"]
    assert receipt["in_force"], receipt
    assert {host["host"] for host in receipt["hosts"]} == {"host-0", "host-1"}, "both route between the two"


async def test_hosts_follow_a_pool_from_scope_to_scope(postgres_dsn: str, tmp_path: Path) -> None:
    process = RegionProcess(tmp_path / "region", database=postgres_dsn, queue="none")
    await process.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.stop)
        await stack.enter_async_context(emulated(process, 2))
        api = await stack.enter_async_context(ApiClient(process.url))
        scopes, pools, ports = [], [], []
        router = (await api.post("/v2.0/routers", {"router": {}}))["router"]["id"]
        allowed = {"security_group": {"name": "all"}}
        group = (await api.post("/v2.0/security-groups", allowed))["security_group"]["id"]
        rule = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4"}
        await api.post("/v2.0/security-group-rules", {"security_group_rule": rule})
        for number in range(2):
            made = await api.post("/v2.0/address-scopes", {"address_scope": {"ip_version": 4}})
            scopes.append(made["address_scope"]["id"])
            pool = {"name": "p", "prefixes": [f"10.{number}.0.0/16"], "default_prefixlen": 24}
            pools.append((await api.post("/v2.0/subnetpools", {"subnetpool": pool}))["subnetpool"]["id"])
            network = (await api.post("/v2.0/networks", {"network": {}}))["network"]["id"]
            subnet = {"network_id": network, "ip_version": 4, "subnetpool_id": pools[number]}
            subnet_id = (await api.post("/v2.0/subnets", {"subnet": subnet}))["subnet"]["id"]
            await api.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet_id})
            port = {"network_id": network, "binding:host_id": f"host-{number}", "security_groups": [group]}
            ports.append((await api.post("/v2.0/ports?wait=in_force&timeout=20", {"port": port}))["port"])
        addresses = [port["fixed_ips"][0]["ip_address"] for port in ports]
        for scope_ids, expected in (((0, None), False), ((0, 1), False), ((0, 0), True), ((None, 0), False)):
            for pool_id, number in zip(pools, scope_ids, strict=True):
                scope_id = None if number is None else scopes[number]
                path = f"/v2.0/subnetpools/{pool_id}"
                if (await api.get(path))["subnetpool"]["address_scope_id"] != scope_id:
                    await in_force(api, path, {"subnetpool": {"address_scope_id": scope_id}})
            assert await delivered(api, ports[0]["id"], addresses[1]) is expected, scope_ids
            assert await delivered(api, ports[1]["id"], addresses[0]) is expected, scope_ids
