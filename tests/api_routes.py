"""Requests to every route there is: paths with objects' ids put in, and bodies that would be right."""

from collections.abc import Mapping
from typing import Any

import httpx

from alcor.model.default_rules import BUILT_IN
from api_scene import Scene

# Kinds of tenants' objects, with the body that makes a change of one. Each has routes by id, and is isolated.
CHANGES: dict[str, Any] = {
    "networks": {"network": {"name": "taken"}},
    "subnets": {"subnet": {"name": "taken"}},
    "ports": {"port": {"name": "taken"}},
    "port-groups": {"port_group": {"name": "taken"}},
    "routers": {"router": {"name": "taken"}},
    "security-groups": {"security_group": {"name": "taken"}},
    "security-group-rules": {"security_group_rule": {"description": "taken"}},
    "rbac-policies": {"rbac_policy": {"target_tenant": "taken"}},
    "address-scopes": {"address_scope": {"name": "taken"}},
    "subnetpools": {"subnetpool": {"name": "taken"}},
    "address-groups": {"address_group": {"name": "taken"}},
    "trunks": {"trunk": {"name": "taken"}},
}


def filled(path: str, ids: Mapping[str, str]) -> str:
    """Put in ids of objects that are there."""
    kind = path.split("/")[2] if path.count("/") > 1 else ""
    if kind == "events":
        return f"{path}?follow=false"
    named = {"id": ids.get(kind, "host-1"), "alias": "router", "revision": "1", "tag": "t", "host": "host-2"}
    return path.format(**named)


async def ask(s: Scene, method: str, path: str, who: Mapping[str, str]) -> httpx.Response:
    """Send what would be right, were it not for the caller."""
    kind = path.split("/")[2] if path.count("/") > 1 else ""
    body = {"tags": []} if path.endswith("/tags") else CHANGES.get(kind, {})
    return await s.client.request(method, path, json=body, headers=who)


async def blue_objects(s: Scene) -> dict[str, str]:
    """Make one object of each kind."""
    network_id, subnet_id = await s.wired_network()
    group = await s.make("security_group", name="g")
    router = await s.make("router", name="r")
    addresses = await s.make("address_group", addresses=["10.0.0.0/8"])
    port_group = await s.make("port_group", network_id=network_id, hosts=["host-1"], admin=True)
    port = await s.make("port", network_id=network_id, device_owner="compute:az1")
    share = {"object_type": "network", "object_id": network_id, "action": "access_as_shared"}
    body = {"rbac_policy": {**share, "target_tenant": "red"}}
    policy = (await s.ask("POST", "/rbac-policies", body, expect=201)).json()["rbac_policy"]
    scope = await s.make("address_scope", name="scope", ip_version=4)
    pool = await s.make(
        "subnetpool", name="p", prefixes=["10.128.0.0/9"], default_prefixlen=24, is_default=True, admin=True
    )
    await s.ask("GET", "/auto-allocated-topology/blue", expect=200)
    trunk = await s.make("trunk", port_id=(await s.make("port", network_id=network_id))["id"])
    return {
        "networks": network_id,
        "subnets": subnet_id,
        "ports": port["id"],
        "port-groups": port_group["id"],
        "routers": router["id"],
        "security-groups": group["id"],
        "security-group-rules": group["security_group_rules"][0]["id"],
        "rbac-policies": policy["id"],
        "address-scopes": scope["id"],
        "subnetpools": pool["id"],
        "address-groups": addresses["id"],
        "default-security-group-rules": BUILT_IN[0].id,
        "quotas": "blue",
        "auto-allocated-topology": "blue",
        "trunks": trunk["id"],
    }
