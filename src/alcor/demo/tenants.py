"""Builds the tenants' VPCs through the API, as their own projects would."""

from typing import Any

import msgspec

from alcor.client.api import ApiClient
from alcor.demo import scenario
from alcor.model import errors

ACTIVE_TIMEOUT_S = 30


class Vpc(msgspec.Struct, frozen=True):
    """What one tenant owns, by id."""

    tenant: str
    network: str
    subnets: dict[str, str]  # subnet letter -> id
    ipv6_subnet: str
    groups: dict[str, str]  # group name -> id

    def fixed_ips(self, subnet: str) -> list[dict[str, str]]:
        """Say what addresses a port in a subnet is to have, one of IPv6 as well."""
        wanted = [self.subnets[subnet]]
        if scenario.IPV6_MODES[self.tenant] == scenario.GIVEN:
            wanted.append(self.ipv6_subnet)  # where they are made, every port of the network has one anyway
        return [{"subnet_id": subnet_id} for subnet_id in wanted]


async def build(url: str) -> dict[str, Vpc]:
    """Create every tenant's VPC; give them by tenant."""
    return {tenant: await _build_one(url, tenant) for tenant in scenario.TENANTS}


async def until_active(api: ApiClient, port_id: str) -> None:
    """Wait until a port is ACTIVE. Raises Broken when it is not in time."""
    port = (await api.get(f"/v2.0/ports/{port_id}", wait="active", timeout=ACTIVE_TIMEOUT_S))["port"]
    if port["status"] != "ACTIVE":
        raise errors.Broken(f"port {port_id} is {port['status']} {ACTIVE_TIMEOUT_S} s after it was plugged")


async def _build_one(url: str, tenant: str) -> Vpc:
    async with ApiClient(url, project=tenant) as api:
        network = (await api.post("/v2.0/networks", {"network": {"name": "vpc"}}))["network"]["id"]
        router = (await api.post("/v2.0/routers", {"router": {"name": "router"}}))["router"]["id"]
        subnets = {}
        for letter, cidr in scenario.SUBNETS.items():
            body = {
                "name": f"subnet-{letter}",
                "network_id": network,
                "cidr": cidr,
                "ip_version": 4,
                "dns_nameservers": ["192.0.2.53"],
            }
            subnets[letter] = (await api.post("/v2.0/subnets", {"subnet": body}))["subnet"]["id"]
            await api.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnets[letter]})
        mode = scenario.IPV6_MODES[tenant]
        body = {
            "name": "subnet-ipv6",
            "network_id": network,
            "cidr": scenario.IPV6_PREFIX,
            "ip_version": 6,
            "ipv6_ra_mode": mode,
            "ipv6_address_mode": mode,
            "dns_nameservers": ["2001:db8::53"],
        }
        ipv6_subnet = (await api.post("/v2.0/subnets", {"subnet": body}))["subnet"]["id"]
        await api.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": ipv6_subnet})
        groups = {name: await _new_group(api, name) for name in scenario.GROUPS}
        rules = [
            _rule_body(rule, groups[name], groups, ethertype)
            for name in groups
            for rule in scenario.RULES[name]
            for ethertype in (("IPv4", "IPv6") if rule.remote_subnet is None else ("IPv4",))
        ]
        await api.post("/v2.0/security-group-rules", {"security_group_rules": rules})
        return Vpc(tenant, network, subnets, ipv6_subnet, groups)


async def _new_group(api: ApiClient, name: str) -> str:
    group = (await api.post("/v2.0/security-groups", {"security_group": {"name": name}}))["security_group"]
    if name not in scenario.SENDS_EVERYTHING:
        for rule in group["security_group_rules"]:  # the egress rules that every new group starts with
            await api.delete(f"/v2.0/security-group-rules/{rule['id']}")
    group_id: str = group["id"]
    return group_id


def _rule_body(rule: scenario.RuleSpec, group: str, groups: dict[str, str], ethertype: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "security_group_id": group,
        "direction": rule.direction,
        "ethertype": ethertype,
        "protocol": "ipv6-icmp" if (rule.protocol, ethertype) == ("icmp", "IPv6") else rule.protocol,
    }
    if rule.port is not None:
        body |= {"port_range_min": rule.port, "port_range_max": rule.port}
    if rule.remote_group is not None:
        body["remote_group_id"] = groups[rule.remote_group]
    if rule.remote_subnet is not None:
        body["remote_ip_prefix"] = scenario.SUBNETS[rule.remote_subnet]
    return body
