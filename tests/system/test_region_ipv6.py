"""IPv6 in a region: what the API says of subnets and ports is what hosts forward, from commit to packet."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from region_scene import emulated

from alcor.client.api import ApiClient
from alcor.lab.region_process import RegionProcess

SLAAC = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
STATEFUL = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"}


@pytest.fixture
async def api(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[ApiClient]:
    """Serve a region of two emulated hosts."""
    process = RegionProcess(tmp_path / "region", database=postgres_dsn, queue="none")
    await process.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.stop)
        await stack.enter_async_context(emulated(process, 2))
        yield await stack.enter_async_context(ApiClient(process.url))


async def made(api: ApiClient, kind: str, **said: Any) -> Any:
    answer: dict[str, Any] = await api.post(f"/v2.0/{kind.replace('_', '-')}s", {kind: said})
    return answer[kind]


async def subnet(api: ApiClient, network_id: str, cidr: str, **said: Any) -> str:
    version = 6 if ":" in cidr else 4
    found = await made(api, "subnet", network_id=network_id, ip_version=version, cidr=cidr, **said)
    return str(found["id"])


async def port(api: ApiClient, network_id: str, group: str, host: int) -> Any:
    said = {"network_id": network_id, "binding:host_id": f"host-{host}", "security_groups": [group]}
    return (await api.post("/v2.0/ports?wait=in_force&timeout=20", {"port": said}))["port"]


async def in_force(api: ApiClient, method: str, path: str, body: Any = None) -> None:
    """Change something, and wait until every host that it concerns has acknowledged it."""
    _, headers = await api.call(method, path, body=body)
    receipt = await api.get(f"/v2.0/changes/{headers['x-alcor-revision']}", wait="in_force", timeout=20)
    assert receipt["change"]["in_force"], receipt


async def delivered(api: ApiClient, source: Any, to_ip: str) -> bool:
    """Follow a packet through what the hosts hold."""
    asked = {"port_id": source["id"], "to_ip": to_ip, "protocol": "icmp"}
    trace: dict[str, Any] = (await api.post("/v2.0/trace", {"trace": asked}))["trace"]
    return bool(trace["delivered"])


async def ips(api: ApiClient, port_id: str) -> set[str]:
    found = (await api.get(f"/v2.0/ports/{port_id}"))["port"]
    return {fixed["ip_address"] for fixed in found["fixed_ips"]}


async def open_group(api: ApiClient) -> str:
    group = str((await made(api, "security_group", name="all"))["id"])
    for ethertype in ("IPv4", "IPv6"):
        said = {"security_group_id": group, "direction": "ingress", "ethertype": ethertype}
        await made(api, "security_group_rule", **said)
    return group


async def test_addresses_of_each_kind_reach_the_other_host(api: ApiClient) -> None:
    group, network = await open_group(api), (await made(api, "network"))["id"]
    early = [await port(api, network, group, host) for host in (0, 1)]
    await subnet(api, network, "10.0.0.0/24")
    await subnet(api, network, "2001:db8:b::/64", **STATEFUL)
    body = {"network_id": network, "ip_version": 6, "cidr": "2001:db8:a::/64", **SLAAC}
    await in_force(api, "POST", "/v2.0/subnets", {"subnet": body})
    ports = [await port(api, network, group, host) for host in (0, 1)]
    assert [len(each["fixed_ips"]) for each in ports] == [3, 3]
    for source, target in ((0, 1), (1, 0)):
        (address,) = await ips(api, early[target]["id"])
        for to_ip in (address, *await ips(api, ports[target]["id"])):
            assert await delivered(api, ports[source], to_ip), to_ip
        assert await delivered(api, early[source], address)
    # Another MAC address is another address, for those on other hosts too.
    (before,) = await ips(api, early[1]["id"])
    unbound = {"port": {"binding:host_id": ""}}
    await in_force(api, "PUT", f"/v2.0/ports/{early[1]['id']}", unbound)
    moved = {"port": {"mac_address": "fa:16:3e:00:00:01", "binding:host_id": "host-1"}}
    await in_force(api, "PUT", f"/v2.0/ports/{early[1]['id']}", moved)
    assert await ips(api, early[1]["id"]) == {"2001:db8:a:0:f816:3eff:fe00:1"}
    assert await delivered(api, early[0], "2001:db8:a:0:f816:3eff:fe00:1")
    assert not await delivered(api, early[0], before)


async def test_routers_forward_ipv6_within_a_scope(api: ApiClient) -> None:
    group, router = await open_group(api), (await made(api, "router"))["id"]
    scope = (await made(api, "address_scope", name="s", ip_version=6))["id"]
    pools, ports = [], []
    for number in range(2):
        prefixes = [f"2001:db8:{number}::/48"]
        pool = (await made(api, "subnetpool", name="p", prefixes=prefixes, address_scope_id=scope))["id"]
        network = (await made(api, "network"))["id"]
        cut = {"network_id": network, "ip_version": 6, "subnetpool_id": pool, **(SLAAC, STATEFUL)[number]}
        subnet_id = (await made(api, "subnet", **cut))["id"]
        await api.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet_id})
        pools.append(pool)
        ports.append(await port(api, network, group, number))
    addresses = [(await ips(api, each["id"])).pop() for each in ports]
    for source, target in ((0, 1), (1, 0)):
        assert await delivered(api, ports[source], addresses[target])
        assert not await delivered(api, ports[source], "2001:db8:77::5")
    route = {"destination": "2001:db8:77::/48", "nexthop": addresses[1]}
    loose = {"port": {"port_security_enabled": False, "security_groups": []}}
    await in_force(api, "PUT", f"/v2.0/ports/{ports[1]['id']}", loose)
    await in_force(api, "PUT", f"/v2.0/routers/{router}", {"router": {"routes": [route]}})
    assert await delivered(api, ports[0], "2001:db8:77::5")
    await in_force(api, "PUT", f"/v2.0/routers/{router}", {"router": {"routes": []}})
    await in_force(api, "PUT", f"/v2.0/subnetpools/{pools[1]}", {"subnetpool": {"address_scope_id": None}})
    for source, target in ((0, 1), (1, 0)):
        assert not await delivered(api, ports[source], addresses[target]), "they are in different scopes"


async def test_rules_and_pairs_of_ipv6_decide(api: ApiClient) -> None:
    network = (await made(api, "network"))["id"]
    await subnet(api, network, "2001:db8::/64")
    group = (await made(api, "security_group", name="g"))["id"]
    source, target = [await port(api, network, group, host) for host in (0, 1)]
    address = (await ips(api, target["id"])).pop()
    assert not await delivered(api, source, address)
    entries = (await made(api, "address_group", name="a", addresses=["2001:db8::/64"]))["id"]
    rule = {
        "security_group_id": group,
        "direction": "ingress",
        "ethertype": "IPv6",
        "protocol": "ipv6-icmp",
        "remote_address_group_id": entries,
    }
    await in_force(api, "POST", "/v2.0/security-group-rules", {"security_group_rule": rule})
    assert await delivered(api, source, address)
    assert not await delivered(api, source, "2001:db8::77")
    pairs = {"port": {"allowed_address_pairs": [{"ip_address": "2001:db8::77"}]}}
    await in_force(api, "PUT", f"/v2.0/ports/{target['id']}", pairs)
    assert await delivered(api, source, "2001:db8::77")
