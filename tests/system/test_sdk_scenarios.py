"""openstacksdk, unchanged, over every resource and extension that the API says it has."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sdk_dual_stack import dual_stack
from sdk_steps import delete, lifecycle, tags

import client_coverage
from served_api import served

openstack = pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs, on names of their own

SERVER = "9b1f3c52-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def api_url() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture(scope="module")
def sdk(api_url: str) -> Any:
    """Give the network proxy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return openstack.connection.Connection(auth_type="none", endpoint=api_url).network


def networks(sdk: Any) -> None:
    network = lifecycle(
        sdk,
        "network",
        "networks",
        make={
            "name": "net",
            "mtu": 1400,
            "description": "d",
            "tags": ["t"],
            "availability_zone_hints": ["zone-1"],
        },
        change={"name": "web", "is_admin_state_up": False, "mtu": 1420, "is_port_security_enabled": False},
        find={"name": "net", "is_router_external": False, "is_shared": False, "tags": "t", "status": "ACTIVE"},
    )
    assert network.provider_network_type == "vxlan"
    assert (network.availability_zone_hints, network.availability_zones) == (["zone-1"], ["zone-1"])
    tags(sdk, network)
    with pytest.raises(openstack.exceptions.PreconditionFailedException):
        sdk.update_network(sdk.get_network(network.id), if_revision=1, name="late")
    assert [each.id for each in sdk.networks(name="web", sort_key="name", sort_dir="desc", limit=1)] == [
        network.id
    ]
    delete(sdk, "network", network)


def subnets(sdk: Any) -> None:
    network = sdk.create_network(name="subs")
    subnet = lifecycle(
        sdk,
        "subnet",
        "subnets",
        make={"name": "a", "network_id": network.id, "ip_version": 4, "cidr": "10.0.0.0/24"},
        change={
            "name": "b",
            "service_types": ["compute:az1"],
            "gateway_ip": "10.0.0.254",
            "dns_nameservers": ["192.0.2.1"],
            "is_dhcp_enabled": False,
            "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
            "allocation_pools": [{"start": "10.0.0.10", "end": "10.0.0.99"}],
        },
        find={"network_id": network.id, "cidr": "10.0.0.0/24", "ip_version": 4, "is_dhcp_enabled": True},
    )
    tags(sdk, subnet)
    (use,) = sdk.network_ip_availabilities(network_name="subs")
    assert (use.total_ips, use.used_ips) == (90, 0)
    assert sdk.find_network_ip_availability(network.id).network_name == "subs"
    delete(sdk, "subnet", subnet)
    delete(sdk, "network", network)


def subnet_pools(sdk: Any) -> None:
    scope = lifecycle(
        sdk,
        "address_scope",
        "address_scopes",
        make={"name": "wide", "ip_version": 4},
        change={"name": "wider"},
        find={"name": "wide", "ip_version": 4},
    )
    pool = lifecycle(
        sdk,
        "subnet_pool",
        "subnet_pools",
        make={
            "name": "pool",
            "prefixes": ["10.32.0.0/16"],
            "default_prefix_length": 24,
            "address_scope_id": scope.id,
        },
        change={"name": "pond", "minimum_prefix_length": 20, "is_default": True, "description": "d"},
        find={"name": "pool", "address_scope_id": scope.id, "is_default": False},
    )
    tags(sdk, pool)
    network = sdk.create_network(name="pooled")
    cut = sdk.create_subnet(network_id=network.id, ip_version=4, subnet_pool_id=pool.id, prefix_length=26)
    assert cut.cidr.endswith("/26")
    by_default = sdk.create_subnet(network_id=network.id, ip_version=4, use_default_subnet_pool=True)
    assert by_default.subnet_pool_id == pool.id
    for record in (cut, by_default):
        sdk.delete_subnet(record)
    sdk.delete_network(network)
    assert sdk.validate_auto_allocated_topology().id == "dry-run=pass"
    topology = sdk.get_auto_allocated_topology(pool.project_id)
    assert sdk.get_network(topology.id).name == "auto_allocated_network"
    sdk.delete_auto_allocated_topology(pool.project_id)
    delete(sdk, "subnet_pool", pool)
    delete(sdk, "address_scope", scope)


def ports(sdk: Any) -> None:
    network = sdk.create_network(name="wired")
    subnet = sdk.create_subnet(network_id=network.id, ip_version=4, cidr="10.1.0.0/24")
    port = lifecycle(
        sdk,
        "port",
        "ports",
        make={
            "name": "nic",
            "network_id": network.id,
            "fixed_ips": [{"subnet_id": subnet.id, "ip_address": "10.1.0.20"}],
            "mac_address": "fa:16:3e:00:00:01",
            "device_id": SERVER,
            "device_owner": "compute:az1",
            "binding_host_id": "host-1",
            "binding_profile": {"a": "b"},
            "allowed_address_pairs": [{"ip_address": "10.1.0.77"}],
            "extra_dhcp_opts": [{"opt_name": "42", "opt_value": "10.1.0.3"}],
        },
        change={
            "name": "card",
            "fixed_ips": [{"subnet_id": subnet.id, "ip_address": "10.1.0.30"}],
            "allowed_address_pairs": [],
            "security_group_ids": [],
            "data_plane_status": "DOWN",
            "description": "d",
        },
        find={
            "device_id": SERVER,
            "network_id": network.id,
            "fixed_ips": "ip_address=10.1.0.20",
            "mac_address": "fa:16:3e:00:00:01",
            "binding_host_id": "host-1",
        },
    )
    assert (port.binding_vif_type, port.ip_allocation) == ("ovs", "immediate")
    tags(sdk, port)
    off = sdk.update_port(port, is_port_security_enabled=False)
    assert not off.is_port_security_enabled
    many = list(
        sdk.create_ports([{"network_id": network.id, "name": f"p{n}", "tags": ["bulk"]} for n in range(3)])
    )
    assert [each.tags for each in many] == [["bulk"]] * 3
    paged = list(sdk.ports(network_id=network.id, limit=1, sort_key="name", sort_dir="asc"))
    assert [each.name for each in paged] == ["card", "p0", "p1", "p2"]
    assert {each.name for each in sdk.ports(fixed_ips="ip_address_substr=1.0.30")} == {"card"}
    for each in (*many, port):
        delete(sdk, "port", each)
    sdk.delete_network(network)


def port_bindings(sdk: Any) -> None:
    network = sdk.create_network(name="moving")
    port = sdk.create_port(network_id=network.id, device_id=SERVER, device_owner="compute:az1")
    made = sdk.create_port_binding(port, host="host-1", profile={"migrating_to": "host-1"})
    assert (made.host, made.status, made.vif_type) == ("host-1", "INACTIVE", "ovs")
    assert [each.host for each in sdk.port_bindings(port)] == ["host-1"]
    sdk.activate_port_binding(port, host="host-1")
    assert sdk.get_port(port.id).binding_host_id == "host-1"
    sdk.delete_port_binding(port, host="host-1")
    assert list(sdk.port_bindings(port)) == []
    sdk.delete_port(port)
    sdk.delete_network(network)


def routers(sdk: Any) -> None:
    network = sdk.create_network(name="legs")
    subnet = sdk.create_subnet(network_id=network.id, ip_version=4, cidr="10.2.0.0/24")
    router = lifecycle(
        sdk,
        "router",
        "routers",
        make={"name": "hub", "description": "d", "availability_zone_hints": ["zone-1"]},
        change={"name": "nabe", "is_admin_state_up": False},
        find={"name": "hub", "is_admin_state_up": True, "status": "ACTIVE"},
    )
    tags(sdk, router)
    sdk.add_interface_to_router(router, subnet_id=subnet.id)
    assert len(list(sdk.ports(device_id=router.id, device_owner="network:router_interface"))) == 1
    route = {"destination": "10.9.0.0/16", "nexthop": "10.2.0.9"}
    body = {"router": {"routes": [route]}}
    assert sdk.add_extra_routes_to_router(router, body).routes == [route]
    assert sdk.remove_extra_routes_from_router(router, body).routes == []
    assert sdk.update_router(router, routes=[route]).routes == [route]
    sdk.update_router(router, routes=[])
    sdk.remove_interface_from_router(router, subnet_id=subnet.id)
    port = sdk.create_port(network_id=network.id)
    sdk.add_interface_to_router(router, port_id=port.id)
    sdk.remove_interface_from_router(router, port_id=port.id)
    assert list(sdk.ips()) == []
    delete(sdk, "router", router)
    sdk.delete_network(network)


def trunks(sdk: Any) -> None:
    network = sdk.create_network(name="trunked")
    carrier, one, two = (sdk.create_port(network_id=network.id) for _ in range(3))
    first, second = (
        {"port_id": port.id, "segmentation_type": "vlan", "segmentation_id": vlan}
        for port, vlan in ((one, 100), (two, 200))
    )
    trunk = lifecycle(
        sdk,
        "trunk",
        "trunks",
        make={"name": "t", "port_id": carrier.id, "sub_ports": [first]},
        change={"name": "u", "description": "e", "is_admin_state_up": True},
        find={"name": "t", "port_id": carrier.id, "status": "DOWN", "is_admin_state_up": True},
    )
    sdk.add_trunk_subports(trunk, [second])
    assert sdk.get_trunk_subports(trunk)["sub_ports"] == [first, second]
    details = sdk.get_port(carrier.id).trunk_details
    assert [each["mac_address"] for each in details["sub_ports"]] == [one.mac_address, two.mac_address]
    sdk.delete_trunk_subports(trunk, [{"port_id": one.id}])
    assert sdk.get_trunk(trunk.id).sub_ports == [second]
    delete(sdk, "trunk", trunk)
    for port in (carrier, one, two):
        sdk.delete_port(port)
    sdk.delete_network(network)


def security_groups(sdk: Any) -> None:
    group = lifecycle(
        sdk,
        "security_group",
        "security_groups",
        make={"name": "web", "description": "d"},
        change={"name": "www", "description": "e", "stateful": False},
        find={"name": "web", "description": "d", "is_shared": False, "stateful": True},
    )
    tags(sdk, group)
    rule = lifecycle(
        sdk,
        "security_group_rule",
        "security_group_rules",
        make={
            "security_group_id": group.id,
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": 80,
            "port_range_max": 81,
            "remote_ip_prefix": "10.0.0.9/8",
        },
        change={},
        find={"security_group_id": group.id, "direction": "ingress", "protocol": "tcp"},
    )
    assert rule.normalized_cidr == "10.0.0.0/8"
    others = [
        {"security_group_id": group.id, "direction": "egress", "protocol": "udp", "remote_group_id": group.id},
        {"security_group_id": group.id, "direction": "ingress", "protocol": "icmp", "port_range_min": 8},
    ]
    assert len(list(sdk.create_security_group_rules(others))) == 2
    delete(sdk, "security_group_rule", rule)
    delete(sdk, "security_group", group)


def auto_topology(sdk: Any) -> None:
    pool = sdk.create_subnet_pool(
        name="auto", prefixes=["10.90.0.0/16"], default_prefix_length=24, is_default=True, is_shared=True
    )
    sdk.validate_auto_allocated_topology("admin")
    made = sdk.get_auto_allocated_topology("admin")
    assert [each.id for each in sdk.networks(name="auto_allocated_network")] == [made.id]
    sdk.delete_auto_allocated_topology("admin")
    assert list(sdk.networks(name="auto_allocated_network")) == []
    sdk.delete_subnet_pool(pool)


def address_groups(sdk: Any) -> None:
    group = lifecycle(
        sdk,
        "address_group",
        "address_groups",
        make={"name": "dmz", "addresses": ["10.0.0.0/8"], "description": "d"},
        change={"name": "far", "description": "e"},
        find={"name": "dmz", "description": "d"},
    )
    assert len(sdk.add_addresses_to_address_group(group, ["192.0.2.1/32"]).addresses) == 2
    assert sdk.remove_addresses_from_address_group(group, ["10.0.0.0/8"]).addresses == ["192.0.2.1/32"]
    guard = sdk.create_security_group(name="guard")
    rule = {"security_group_id": guard.id, "direction": "ingress", "remote_address_group_id": group.id}
    assert sdk.create_security_group_rule(**rule).remote_address_group_id == group.id
    with pytest.raises(openstack.exceptions.ConflictException, match="in use on one or more"):
        sdk.delete_address_group(group)
    sdk.delete_security_group(guard)
    delete(sdk, "address_group", group)


def default_rules(sdk: Any) -> None:
    rule = sdk.create_default_security_group_rule(
        direction="ingress",
        protocol="tcp",
        port_range_min=22,
        port_range_max=22,
        used_in_default_sg=False,
        used_in_non_default_sg=True,
    )
    assert [each.id for each in sdk.default_security_group_rules(protocol="tcp")] == [rule.id]
    assert sdk.find_default_security_group_rule(rule.id).port_range_min == 22
    group = sdk.create_security_group(name="templated")
    assert [
        each.port_range_min for each in sdk.security_group_rules(security_group_id=group.id, protocol="tcp")
    ]
    sdk.delete_security_group(group)
    delete(sdk, "default_security_group_rule", rule)
    among_each_other = sdk.create_default_security_group_rule(
        direction="ingress", remote_group_id="PARENT", used_in_default_sg=False, used_in_non_default_sg=True
    )
    assert among_each_other.remote_group_id == "PARENT"
    sdk.delete_default_security_group_rule(among_each_other)


def rbac_policies(sdk: Any) -> None:
    network = sdk.create_network(name="ours")
    wanted = {"object_type": "network", "object_id": network.id, "action": "access_as_shared"}
    policy = sdk.create_rbac_policy(**wanted, target_project_id="blue")
    assert [each.id for each in sdk.rbac_policies(object_id=network.id)] == [policy.id]
    assert sdk.find_rbac_policy(policy.id).target_project_id == "blue"
    assert sdk.update_rbac_policy(policy, target_project_id="*").target_project_id == "*"
    assert sdk.get_network(network.id).is_shared
    delete(sdk, "rbac_policy", policy)
    pool = sdk.create_subnet_pool(name="ours", prefixes=["10.40.0.0/16"])
    scope = sdk.create_address_scope(name="ours", ip_version=4)
    group = sdk.create_address_group(name="ours", addresses=[])
    for kind, shared in (("subnetpool", pool), ("address_scope", scope), ("address_group", group)):
        wanted = {"object_type": kind, "object_id": shared.id, "action": "access_as_shared"}
        delete(sdk, "rbac_policy", sdk.create_rbac_policy(**wanted, target_project_id="*"))
    sdk.delete_subnet_pool(pool)
    sdk.delete_address_scope(scope)
    sdk.delete_address_group(group)
    sdk.delete_network(network)


def quotas(sdk: Any) -> None:
    default = sdk.get_quota_default("green").ports
    changed = sdk.update_quota("green", ports=3, check_limit=True)
    assert (changed.ports, changed.networks) == (3, sdk.get_quota_default("green").networks)
    assert sdk.get_quota("green").ports == 3
    assert sdk.get_quota("green", details=True).ports == {"limit": 3, "used": 0, "reserved": 0}
    assert [(each.project_id, each.ports) for each in sdk.quotas()] == [("green", 3)]
    sdk.delete_quota("green")
    assert sdk.get_quota("green").ports == default
    assert list(sdk.quotas()) == []


def agents(sdk: Any) -> None:
    (gone,) = sdk.agents(host="host-9")
    assert (gone.is_alive, gone.binary) == (False, "alcor-agent")
    assert [each.host for each in sdk.agents(is_alive=True, availability_zone="zone-1")] == ["host-1"]
    sdk.update_agent(gone, description="gone for good")
    assert sdk.get_agent(gone.id).description == "gone for good"
    delete(sdk, "agent", gone)
    zones = [(each.name, each.resource, each.state) for each in sdk.availability_zones()]
    assert zones == [("zone-1", "network", "available"), ("zone-1", "router", "available")]
    assert [each.service_type for each in sdk.service_providers()] == ["L3_ROUTER_NAT"]


def extensions(sdk: Any) -> None:
    aliases = {each.alias for each in sdk.extensions()}
    assert sdk.find_extension("binding").alias in aliases
    assert sdk.find_extension("qos") is None


SCENARIOS: dict[str, Callable[[Any], None]] = {
    scenario.__name__: scenario
    for scenario in (
        networks,
        subnets,
        subnet_pools,
        ports,
        dual_stack,
        port_bindings,
        routers,
        trunks,
        auto_topology,
        security_groups,
        address_groups,
        default_rules,
        rbac_policies,
        quotas,
        agents,
        extensions,
    )
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_sdk(sdk: Any, name: str) -> None:
    SCENARIOS[name](sdk)


def test_every_resource_and_extension_has_a_scenario(api_url: str) -> None:
    client_coverage.check(api_url, SCENARIOS)


def test_pages_are_followed_to_their_end(sdk: Any) -> None:
    names = [f"page-{number}" for number in range(5)]
    made = [sdk.create_network(name=name, description="paged") for name in names]
    for limit in (1, 2, 5, 10):
        listed = sdk.networks(limit=limit, description="paged", sort_key="name", sort_dir="asc")
        assert [network.name for network in listed] == names
    for network in made:
        sdk.delete_network(network)
