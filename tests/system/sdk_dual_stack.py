"""openstacksdk's scenario of a network with both IP versions."""

from typing import Any

import pytest
from sdk_steps import delete, lifecycle

openstack = pytest.importorskip("openstack")


def dual_stack(sdk: Any) -> None:
    network = sdk.create_network(name="both")
    four = sdk.create_subnet(network_id=network.id, ip_version=4, cidr="10.6.0.0/24")
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    auto = sdk.create_subnet(network_id=network.id, ip_version=6, cidr="2001:db8:a::/64", **modes)
    stateful = lifecycle(
        sdk,
        "subnet",
        "subnets",
        make={
            "name": "leased",
            "network_id": network.id,
            "ip_version": 6,
            "cidr": "2001:DB8:B::/64",
            "ipv6_ra_mode": "dhcpv6-stateful",
            "ipv6_address_mode": "dhcpv6-stateful",
        },
        change={
            "gateway_ip": "2001:db8:b::ff",
            "dns_nameservers": ["2001:db8::53", "192.0.2.1"],
            "host_routes": [{"destination": "2001:db8:9::/48", "nexthop": "2001:db8:b::ff"}],
            "allocation_pools": [{"start": "2001:db8:b::10", "end": "2001:db8:b::99"}],
        },
        find={
            "network_id": network.id,
            "ip_version": 6,
            "ipv6_ra_mode": "dhcpv6-stateful",
            "ipv6_address_mode": "dhcpv6-stateful",
        },
    )
    (use,) = sdk.network_ip_availabilities(network_name="both")
    assert use.total_ips == 253 + 2**64 - 2 + 0x8A
    port = sdk.create_port(
        network_id=network.id,
        mac_address="fa:16:3e:00:00:06",
        allowed_address_pairs=[{"ip_address": "fd00::/64"}],
        extra_dhcp_opts=[{"opt_name": "dns-server", "opt_value": "2001:db8::53", "ip_version": 6}],
    )
    by_subnet = {fixed["subnet_id"]: fixed["ip_address"] for fixed in port.fixed_ips}
    assert by_subnet == {
        four.id: "10.6.0.2",
        auto.id: "2001:db8:a:0:f816:3eff:fe00:6",
        stateful.id: "2001:db8:b::10",
    }
    assert sdk.update_port(port, fixed_ips=port.fixed_ips).fixed_ips == port.fixed_ips
    assert [each.id for each in sdk.ports(fixed_ips="ip_address=2001:DB8:B::0010")] == [port.id]
    router = sdk.create_router(name="six")
    for subnet in (four, auto, stateful):
        sdk.add_interface_to_router(router, subnet_id=subnet.id)
    route = {"destination": "::/0", "nexthop": "2001:db8:b::10"}
    assert sdk.update_router(router, routes=[route]).routes == [route]
    with pytest.raises(openstack.exceptions.ConflictException):
        sdk.delete_subnet(auto)
    sdk.update_router(router, routes=[])
    for subnet in (four, auto, stateful):
        sdk.remove_interface_from_router(router, subnet_id=subnet.id)
    sdk.delete_router(router)
    delete(sdk, "subnet", auto)
    assert len(sdk.get_port(port.id).fixed_ips) == 2
    group = sdk.create_security_group(name="six")
    rule = sdk.create_security_group_rule(
        security_group_id=group.id,
        direction="ingress",
        ether_type="IPv6",
        protocol="ipv6-icmp",
        port_range_min=128,
        remote_ip_prefix="2001:db8::/32",
    )
    assert rule.remote_ip_prefix == "2001:db8::/32"
    sdk.delete_security_group(group)
    scope = sdk.create_address_scope(name="six", ip_version=6)
    pool = sdk.create_subnet_pool(name="six", prefixes=["2001:db8:c::/48"], address_scope_id=scope.id)
    assert (pool.ip_version, pool.default_prefix_length, pool.maximum_prefix_length) == (6, 64, 128)
    other = sdk.create_network(name="cut")
    cut = sdk.create_subnet(network_id=other.id, ip_version=6, subnet_pool_id=pool.id, prefix_length=80)
    assert cut.cidr == "2001:db8:c::/80"
    assert sdk.get_network(other.id).ipv6_address_scope_id == scope.id
    sdk.delete_network(other)
    sdk.delete_subnet_pool(pool)
    sdk.delete_address_scope(scope)
    sdk.delete_port(port)
    sdk.delete_network(network)
