"""The calls of clients that ask in their own ways: Terraform's provider, and Horizon."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from api_scene import Scene, error_of, scene


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene() as opened:
        yield opened


async def made(s: Scene, singular: str, path: str, **attributes: Any) -> Any:
    return (await s.ask("POST", path, {singular: attributes}, expect=201)).json()[singular]


async def put(s: Scene, path: str, body: Any) -> Any:
    return (await s.ask("PUT", path, body, expect=200)).json()


async def found(s: Scene, plural: str, **query: Any) -> list[Any]:
    path = f"/{plural.replace('_', '-')}?{urlencode(query, doseq=True)}"
    items: list[Any] = (await s.ask("GET", path, expect=200)).json()[plural]
    return items


async def test_terraform_applies_plans_again_and_destroys(s: Scene) -> None:
    network = await made(
        s, "network", "/networks", name="tf", admin_state_up=True, shared=False, description="", mtu=1400
    )
    tags = (await put(s, f"/networks/{network['id']}/tags", {"tags": ["a", "b"]}))["tags"]
    assert sorted(tags) == ["a", "b"]
    subnet = await made(
        s,
        "subnet",
        "/subnets",
        network_id=network["id"],
        name="",
        cidr="192.168.199.0/24",
        ip_version=4,
        enable_dhcp=True,
        gateway_ip=None,  # no_gateway
        dns_nameservers=["192.0.2.1"],
        allocation_pools=[{"start": "192.168.199.100", "end": "192.168.199.200"}],
    )
    assert subnet["gateway_ip"] is None
    group = await made(s, "security_group", "/security-groups", name="tf", description="")
    for rule in group["security_group_rules"]:  # delete_default_rules
        await s.ask("DELETE", f"/security-group-rules/{rule['id']}", expect=204)
    rule = await made(
        s,
        "security_group_rule",
        "/security-group-rules",
        direction="ingress",
        ethertype="IPv4",
        security_group_id=group["id"],
        port_range_min=22,
        port_range_max=22,
        protocol="tcp",
        remote_ip_prefix="0.0.0.0/0",
    )
    port = await made(
        s,
        "port",
        "/ports",
        network_id=network["id"],
        name="tf",
        admin_state_up=True,
        fixed_ips=[{"subnet_id": subnet["id"]}],
        security_groups=[group["id"]],
        allowed_address_pairs=[{"ip_address": "10.0.0.0/24"}],
        extra_dhcp_opts=[{"opt_name": "42", "opt_value": "192.0.2.3", "ip_version": 4}],
    )
    path = f"/ports/{port['id']}"
    assert port["fixed_ips"][0]["ip_address"] == "192.168.199.100"
    gone = {"port": {"extra_dhcp_opts": [{"opt_name": "42", "opt_value": None}]}}
    assert (await put(s, path, gone))["port"]["extra_dhcp_opts"] == []
    assert (await put(s, path, {"port": {"allowed_address_pairs": []}}))["port"]["allowed_address_pairs"] == []
    bare = {"port": {"security_groups": [], "fixed_ips": []}}
    assert (await put(s, path, bare))["port"]["fixed_ips"] == []
    router = await made(s, "router", "/routers", name="tf", admin_state_up=True)
    leg = {"subnet_id": subnet["id"]}
    assert error_of(await s.ask("PUT", f"/routers/{router['id']}/add_router_interface", leg))[0] == 400
    await put(s, f"/subnets/{subnet['id']}", {"subnet": {"gateway_ip": "192.168.199.1"}})
    joined = await put(s, f"/routers/{router['id']}/add_router_interface", leg)
    assert (await s.ask("GET", f"/ports/{joined['port_id']}", expect=200)).json()["port"][
        "device_id"
    ] == router["id"]
    hop = [{"destination": "10.0.1.0/24", "nexthop": "192.168.199.254"}]
    assert (await put(s, f"/routers/{router['id']}", {"router": {"routes": hop}}))["router"]["routes"] == hop
    await put(s, f"/routers/{router['id']}", {"router": {"routes": []}})

    # Data sources, as they ask.
    for plural, query in (
        ("networks", {"name": "tf", "router:external": "false", "shared": "false", "mtu": 1400, "tags": "a,b"}),
        (
            "subnets",
            {"network_id": network["id"], "enable_dhcp": "true", "ip_version": 4, "cidr": subnet["cidr"]},
        ),
        ("ports", {"name": "tf", "admin_state_up": "true", "mac_address": port["mac_address"], "limit": 1}),
        ("routers", {"name": "tf", "admin_state_up": "true", "status": "ACTIVE"}),
        ("security_groups", {"name": "tf", "tenant_id": "blue"}),
    ):
        assert len(await found(s, plural, **query)) == 1, plural

    # Destroyed in any order, tried again while it is in use.
    assert error_of(await s.ask("DELETE", f"/networks/{network['id']}"))[0] == 409
    await put(s, f"/routers/{router['id']}/remove_router_interface", leg)
    for gone_path in (
        f"/security-group-rules/{rule['id']}",
        path,
        f"/routers/{router['id']}",
        f"/subnets/{subnet['id']}",
        f"/networks/{network['id']}",
        f"/security-groups/{group['id']}",
    ):
        await s.ask("DELETE", gone_path, expect=204)
        assert (await s.ask("GET", gone_path)).status_code == 404


async def test_horizon_draws_its_pages(s: Scene) -> None:
    network = await made(s, "network", "/networks", name="hz", admin_state_up=True, tenant_id="blue")
    subnet = await made(
        s,
        "subnet",
        "/subnets",
        network_id=network["id"],
        name="hz",
        cidr="10.0.0.0/24",
        ip_version=4,
        gateway_ip="10.0.0.254",
        enable_dhcp=True,
        dns_nameservers=[],
        host_routes=[],
        tenant_id="blue",
    )
    await made(s, "port", "/ports", network_id=network["id"], name="", tenant_id="blue", admin_state_up=True)

    # Networks: one's own, shared ones, and those outside, told apart by what they are.
    assert [it["id"] for it in await found(s, "networks", tenant_id="blue", shared=False)] == [network["id"]]
    assert await found(s, "networks", shared=True) == []
    assert await found(s, "networks", **{"router:external": True}) == []
    assert await found(s, "networks", **{"router:external": True, "shared": True}) == []
    (shown,) = await found(s, "subnets", network_id=network["id"])
    assert (shown["id"], shown["gateway_ip"]) == (subnet["id"], "10.0.0.254")
    (port,) = await found(s, "ports", network_id=network["id"], tenant_id="blue")
    assert (port["device_owner"], port["status"], port["port_security_enabled"]) == ("", "DOWN", True)

    # The topology, and what it asks for on the way.
    await made(s, "router", "/routers", name="hz", tenant_id="blue")
    (router,) = await found(s, "routers", tenant_id="blue")
    assert router["external_gateway_info"] is None
    assert await found(s, "floatingips", tenant_id="blue") == []
    assert await found(s, "ports", device_owner="network:router_interface") == []

    # Security groups: rules with nothing said where nothing is meant.
    group = await made(s, "security_group", "/security-groups", name="hz", description="d", tenant_id="blue")
    rule = {
        "security_group_id": group["id"],
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": group["id"],
        "description": "",
    }
    await made(s, "security_group_rule", "/security-group-rules", **rule)
    names = {it["name"] for it in await found(s, "security_groups", tenant_id="blue")}
    assert names == {"hz", "default"}

    # The overview: quotas and their use; and what is supported.
    details = (await s.ask("GET", "/quotas/blue/details", expect=200)).json()["quota"]
    assert details["network"]["used"] == 1
    assert details == (await s.ask("GET", "/quotas/blue/details.json", expect=200)).json()["quota"]
    assert (await s.ask("GET", "/quotas/blue/default", expect=200)).json()["quota"]["port"] > 0
    aliases = {it["alias"] for it in await found(s, "extensions")}
    assert {"security-group", "router", "quotas", "quota_details", "agent"} <= aliases
    assert not aliases & {"dhcp_agent_scheduler", "l3_agent_scheduler", "dvr", "l3-ha", "qos", "external-net"}
    assert await found(s, "service_providers") != []
