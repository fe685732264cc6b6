"""IPv6 through the API: subnets of all modes, ports of both versions, routers, and what is refused."""

from typing import Any

import pytest

from alcor.model.addressing import derived_ip, ip_from_text, ip_to_text, mac_from_text
from api_scene import Scene, error_of, scene

SLAAC = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
STATEFUL = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"}


async def subnet(s: Scene, network_id: str, cidr: str, **said: Any) -> Any:
    version = 6 if ":" in cidr else 4
    return await s.make("subnet", network_id=network_id, ip_version=version, cidr=cidr, **said)


async def port_of(s: Scene, port_id: str) -> Any:
    return (await s.ask("GET", f"/ports/{port_id}", expect=200)).json()["port"]


def ips(port: Any) -> dict[str, str]:
    return {fixed["subnet_id"]: fixed["ip_address"] for fixed in port["fixed_ips"]}


def own(port: Any, prefix: str) -> str:
    return ip_to_text(derived_ip(ip_from_text(prefix), mac_from_text(port["mac_address"])))


async def test_a_subnet_is_shown_in_one_form_whatever_was_written() -> None:
    async with scene() as s:
        network = await s.make("network")
        made = await subnet(
            s,
            network["id"],
            "2001:0DB8:0:0:0:0:0:7/64",
            dns_nameservers=["2001:DB8::0053", "192.0.2.1"],
            host_routes=[{"destination": "2001:DB8:9::1/48", "nexthop": "2001:0db8::0001"}],
            **STATEFUL,
        )
        assert (made["ip_version"], made["cidr"], made["gateway_ip"]) == (6, "2001:db8::/64", "2001:db8::1")
        assert made["allocation_pools"] == [{"start": "2001:db8::2", "end": "2001:db8::ffff:ffff:ffff:ffff"}]
        assert made["dns_nameservers"] == ["2001:db8::53", "192.0.2.1"]
        assert made["host_routes"] == [{"destination": "2001:db8:9::/48", "nexthop": "2001:db8::1"}]
        assert {name: made[name] for name in STATEFUL} == STATEFUL
        plain = await subnet(s, network["id"], "2001:db8:1::/126", gateway_ip=None)
        assert (plain["gateway_ip"], plain["ipv6_ra_mode"], plain["ipv6_address_mode"]) == (None, None, None)
        assert plain["allocation_pools"] == [{"start": "2001:db8:1::1", "end": "2001:db8:1::3"}]
        four = await subnet(s, network["id"], "10.0.0.0/24")
        for filters, expected in (
            ("ip_version=6", {made["id"], plain["id"]}),
            ("ip_version=4", {four["id"]}),
            ("ipv6_ra_mode=dhcpv6-stateful", {made["id"]}),
            ("ipv6_address_mode=slaac", set()),
            (f"ip_version=6&network_id={network['id']}&sort_key=ip_version", {made["id"], plain["id"]}),
            ("cidr=2001:db8::/64", {made["id"]}),
        ):
            listed = (await s.ask("GET", f"/subnets?{filters}", expect=200)).json()["subnets"]
            assert {it["id"] for it in listed} == expected, filters
        assert error_of(await s.ask("GET", "/subnets?ip_version=six"))[0] == 400
        (use,) = (await s.ask("GET", "/network-ip-availabilities", admin=True)).json()[
            "network_ip_availabilities"
        ]
        assert use["total_ips"] == 2**64 - 2 + 3 + 253


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"cidr": "fe80::/64"}, "holds no addresses for hosts"),
        ({"cidr": "ff05::/64"}, "holds no addresses for hosts"),
        ({"cidr": "::1/126"}, "holds no addresses for hosts"),
        ({"cidr": "::ffff:10.0.0.0/120"}, "holds no addresses for hosts"),
        ({"cidr": "::/0"}, "prefix length"),
        ({"cidr": "2001:db8::/127"}, "between 1 and 126"),
        ({"cidr": "2001:db8::%eth0/64"}, "not a valid IP subnet"),
        ({"cidr": "2001:db8::/129"}, "not a valid IP subnet"),
        ({"cidr": "10.0.0.0/24"}, "cidr '10.0.0.0/24' does not match the ip_version '6'"),
        ({"ip_version": 4}, "does not match the ip_version '4'"),
        ({"ip_version": 5}, "not in [4, 6]"),
        ({"gateway_ip": "fe80::1"}, "link-local"),
        ({"gateway_ip": "2001:db8:1::1"}, "Gateway is not valid on subnet"),
        ({"gateway_ip": "10.0.0.1"}, "gateway_ip '10.0.0.1' does not match"),
        ({"gateway_ip": "2001:db8::1%eth0"}, "not a valid IP address"),
        ({"allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.9"}]}, "allocation pool"),
        ({"host_routes": [{"destination": "10.0.0.0/8", "nexthop": "10.0.0.1"}]}, "nexthop '10.0.0.1'"),
        ({"host_routes": [{"destination": "10.0.0.0/8", "nexthop": "2001:db8::9"}]}, "same IP version"),
        ({"ipv6_ra_mode": "slaac", "ipv6_address_mode": "dhcpv6-stateful"}, "same value"),
        ({"ipv6_ra_mode": "slaac", "enable_dhcp": False}, "enable_dhcp is set to False"),
        ({"ipv6_ra_mode": "radvd"}, "not in"),
        ({"ipv6_address_mode": ""}, "not in"),
        ({"cidr": "2001:db8::/80", "ipv6_address_mode": "slaac"}, "requires the prefix to be /64"),
        ({"cidr": "10.0.0.0/24", "ip_version": 4, "ipv6_ra_mode": "slaac"}, "not valid when ip_version is 4"),
        ({"cidr": None, "subnetpool_id": "prefix_delegation"}, "prefix delegation is not supported"),
    ],
)
async def test_what_cannot_be_is_refused(said: dict[str, Any], words: str) -> None:
    async with scene() as s:
        network = await s.make("network")
        body = {"network_id": network["id"], "ip_version": 6, "cidr": "2001:db8::/64", **said}
        answer = await s.ask("POST", "/subnets", {"subnet": body})
        assert error_of(answer)[0] == 400
        assert words in answer.text, answer.text


async def test_modes_are_for_ever() -> None:
    async with scene() as s:
        network = await s.make("network")
        made = await subnet(s, network["id"], "2001:db8::/64", **STATEFUL)
        for change in ({"ipv6_ra_mode": None}, {"ipv6_address_mode": "slaac"}, {"ip_version": 4}):
            assert error_of(await s.ask("PUT", f"/subnets/{made['id']}", {"subnet": change}))[0] == 400
        off = await s.ask("PUT", f"/subnets/{made['id']}", {"subnet": {"enable_dhcp": False}})
        assert "Cannot disable enable_dhcp" in off.text
        other = {
            "gateway_ip": "2001:db8::ff",
            "allocation_pools": [{"start": "2001:db8::1", "end": "2001:db8::9"}],
        }
        changed = (await s.ask("PUT", f"/subnets/{made['id']}", {"subnet": other}, expect=200)).json()["subnet"]
        assert {name: changed[name] for name in other} == other


async def test_ports_have_an_address_of_each_version_and_what_follows() -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        early = await s.make("port", network_id=network)
        four = (await subnet(s, network, "10.0.0.0/24"))["id"]
        auto = (await subnet(s, network, "2001:db8:a::/64", **SLAAC))["id"]
        stateful = (await subnet(s, network, "2001:db8:b::/64", **STATEFUL))["id"]
        port = await s.make("port", network_id=network)
        assert ips(port) == {four: "10.0.0.2", auto: own(port, "2001:db8:a::"), stateful: "2001:db8:b::2"}
        bare = await s.make("port", network_id=network, fixed_ips=[])
        assert ips(bare) == {auto: own(bare, "2001:db8:a::")}
        last = {"ip_address": "2001:DB8:B:0:ffff:ffff:ffff:ffff"}
        asked = await s.make("port", network_id=network, fixed_ips=[last])
        assert ips(asked) == {stateful: "2001:db8:b:0:ffff:ffff:ffff:ffff", auto: own(asked, "2001:db8:a::")}
        shown = await port_of(s, early["id"])
        assert ips(shown) == {auto: own(early, "2001:db8:a::")}
        assert shown["revision_number"] == early["revision_number"] + 1
        for filters, expected in (
            ("ip_address=2001:0db8:b::0002", {port["id"]}),
            (f"ip_address=2001:db8:b::2&fixed_ips=subnet_id={auto}", set()),
            (f"subnet_id={auto}", {early["id"], port["id"], bare["id"], asked["id"]}),
            ("ip_address_substr=db8:b", {port["id"], asked["id"]}),
        ):
            listed = (await s.ask("GET", f"/ports?fixed_ips={filters}", expect=200)).json()["ports"]
            assert {it["id"] for it in listed} == expected, filters
        group = {"name": "g", "network_id": network, "count": 3}
        assert (await s.ask("POST", "/port-groups", {"port_group": group}, expect=201)).json()["port_group"]
        grouped = (await s.ask("GET", "/ports?name=g-3")).json()["ports"]
        assert set(ips(grouped[0])) == {four, auto, stateful}


async def test_addresses_follow_their_port_and_end_with_their_subnet() -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        four = (await subnet(s, network, "10.0.0.0/24"))["id"]
        auto = (await subnet(s, network, "2001:db8:a::/64", **SLAAC))["id"]
        port = await s.make("port", network_id=network, mac_address="fa:16:3e:00:00:01")
        assert ips(port)[auto] == "2001:db8:a:0:f816:3eff:fe00:1"
        path = f"/ports/{port['id']}"
        moved = await s.ask("PUT", path, {"port": {"mac_address": "fa:16:3e:00:00:02"}}, expect=200)
        assert ips(moved.json()["port"]) == {four: "10.0.0.2", auto: "2001:db8:a:0:f816:3eff:fe00:2"}
        again = {"port": {"fixed_ips": moved.json()["port"]["fixed_ips"]}}
        assert ips((await s.ask("PUT", path, again, expect=200)).json()["port"]) == ips(moved.json()["port"])
        less = await s.ask("PUT", path, {"port": {"fixed_ips": []}}, expect=200)
        assert ips(less.json()["port"]) == {auto: "2001:db8:a:0:f816:3eff:fe00:2"}
        wrong = {"fixed_ips": [{"subnet_id": auto, "ip_address": "2001:db8:a::5"}]}
        for method, where, body in (("PUT", path, wrong), ("POST", "/ports", {**wrong, "network_id": network})):
            assert error_of(await s.ask(method, where, {"port": body})) == (
                400,
                "AllocationOnAutoAddressSubnet",
            )
        router = (await s.make("router"))["id"]
        joined = await s.ask("PUT", f"/routers/{router}/add_router_interface", {"subnet_id": auto}, expect=200)
        assert ips(await port_of(s, joined.json()["port_id"])) == {auto: "2001:db8:a::1"}
        assert error_of(await s.ask("DELETE", f"/subnets/{auto}")) == (409, "SubnetInUse")
        await s.ask("PUT", f"/routers/{router}/remove_router_interface", {"subnet_id": auto}, expect=200)
        await s.ask("DELETE", f"/subnets/{auto}", expect=204)
        assert ips(await port_of(s, port["id"])) == {}
        stateful = (await subnet(s, network, "2001:db8:b::/64", **STATEFUL))["id"]
        await s.make("port", network_id=network)
        assert error_of(await s.ask("DELETE", f"/subnets/{stateful}")) == (409, "SubnetInUse")


async def test_guests_get_what_follows_too() -> None:
    """Whose port it is does not matter: the network's owner makes the subnet."""
    async with scene() as s:
        network = (await s.make("network", shared=True, admin=True))["id"]
        await subnet(s, network, "10.0.0.0/24", admin=True)
        guest = await s.make("port", network_id=network, project="green")
        auto = (await subnet(s, network, "2001:db8:a::/64", admin=True, **SLAAC))["id"]
        shown = (await s.ask("GET", f"/ports/{guest['id']}", project="green")).json()["port"]
        assert ips(shown)[auto] == own(guest, "2001:db8:a::")
        await s.ask("DELETE", f"/subnets/{auto}", admin=True, expect=204)
        shown = (await s.ask("GET", f"/ports/{guest['id']}", project="green")).json()["port"]
        assert auto not in ips(shown)


async def test_routers_join_subnets_of_both_versions() -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        four = (await subnet(s, network, "10.0.0.0/24"))["id"]
        six = (await subnet(s, network, "2001:db8:a::/64"))["id"]
        more = (await subnet(s, network, "2001:db8:b::/64"))["id"]
        router = (await s.make("router"))["id"]
        wide = [{"subnet_id": it} for it in (four, six, more)]
        port = (await s.make("port", network_id=network, fixed_ips=wide))["id"]
        path = f"/routers/{router}"
        joined = (await s.ask("PUT", f"{path}/add_router_interface", {"port_id": port}, expect=200)).json()
        assert set(joined["subnet_ids"]) == {four, six, more}
        again = await s.ask("PUT", f"{path}/add_router_interface", {"subnet_id": six})
        assert "already has a port on subnet" in again.text
        routes = [
            {"destination": "::/0", "nexthop": "2001:0db8:a::9"},
            {"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"},
        ]
        shown = (await s.ask("PUT", path, {"router": {"routes": routes}}, expect=200)).json()["router"]
        assert {it["nexthop"] for it in shown["routes"]} == {"2001:db8:a::9", "10.0.0.9"}
        own_hop = [{"destination": "::/0", "nexthop": ips(await port_of(s, port))[six]}]
        assert error_of(await s.ask("PUT", path, {"router": {"routes": own_hop}}))[0] == 400
        mixed = [{"destination": "::/0", "nexthop": "10.0.0.9"}]
        assert error_of(await s.ask("PUT", path, {"router": {"routes": mixed}}))[0] == 400
        part = f"{path}/remove_router_interface"
        assert error_of(await s.ask("PUT", part, {"subnet_id": six})) == (409, "RouterInterfaceInUseByRoute")
        parted = (await s.ask("PUT", part, {"subnet_id": more}, expect=200)).json()
        assert (parted["port_id"], parted["subnet_ids"]) == (port, [more])
        assert set(ips(await port_of(s, port))) == {four, six}
        await s.ask("PUT", path, {"router": {"routes": []}}, expect=200)
        assert (await s.ask("PUT", part, {"port_id": port}, expect=200)).json()["port_id"] == port
        await s.ask("GET", f"/ports/{port}", expect=404)
        two = [{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.6"}]
        double = (await s.make("port", network_id=network, fixed_ips=two))["id"]
        refused = await s.ask("PUT", f"{path}/add_router_interface", {"port_id": double})
        assert "multiple IPv4 subnets" in refused.text


async def test_pools_and_scopes_of_ipv6() -> None:
    async with scene() as s:
        scope = await s.make("address_scope", name="six", ip_version=6)
        other = await s.make("address_scope", name="four", ip_version=4)
        pool = await s.make(
            "subnetpool", name="p", prefixes=["2001:DB8::/48"], address_scope_id=scope["id"], default_quota=2
        )
        lengths = ("min_prefixlen", "default_prefixlen", "max_prefixlen", "ip_version")
        assert [pool[name] for name in lengths] == [64, 64, 128, 6]
        network = (await s.make("network"))["id"]
        ask = {"network_id": network, "ip_version": 6, "subnetpool_id": pool["id"]}
        first = await s.make("subnet", **ask, **SLAAC)
        assert first["cidr"] == "2001:db8::/64"
        assert (await s.make("subnet", **ask))["cidr"] == "2001:db8:0:1::/64"
        assert error_of(await s.ask("POST", "/subnets", {"subnet": ask})) == (409, "SubnetPoolQuotaExceeded")
        wrong = await s.ask("POST", "/subnets", {"subnet": {**ask, "ip_version": 4}})
        assert "Cannot allocate IPv4 subnet from IPv6 subnet pool" in wrong.text
        await subnet(s, network, "10.0.0.0/24")  # of no pool: those of each version for themselves
        shown = (await s.ask("GET", f"/networks/{network}")).json()["network"]
        assert (shown["ipv4_address_scope"], shown["ipv6_address_scope"]) == (None, scope["id"])
        refused = await s.ask(
            "PUT", f"/subnetpools/{pool['id']}", {"subnetpool": {"address_scope_id": other["id"]}}
        )
        assert error_of(refused) == (400, "IllegalSubnetPoolIpVersionAssociationToAddressScope")
        add = {"prefixes": ["10.0.0.0/8"]}
        assert (
            error_of(await s.ask("PUT", f"/subnetpools/{pool['id']}/add_prefixes", add))[1]
            == "PrefixVersionMismatch"
        )
        alone = (await s.make("network"))["id"]
        stays, moves = await subnet(s, alone, "10.0.0.0/24"), await subnet(s, alone, "2001:db8:77::/64")
        onboard = f"/subnetpools/{pool['id']}/onboard_network_subnets"
        got = (await s.ask("PUT", onboard, {"network_id": alone}, expect=200)).json()
        assert [it["id"] for it in got] == [moves["id"]]
        assert (await s.ask("GET", f"/subnets/{stays['id']}")).json()["subnet"]["subnetpool_id"] is None


async def test_each_version_has_a_default_pool() -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        ask = {"network_id": network, "use_default_subnetpool": True}
        none = await s.ask("POST", "/subnets", {"subnet": {**ask, "ip_version": 6}})
        assert "No default subnetpool found for IPv6" in none.text
        for prefix in ("10.0.0.0/8", "2001:db8::/48"):
            await s.make(
                "subnetpool",
                name=prefix,
                prefixes=[prefix],
                is_default=True,
                shared=True,
                admin=True,
                min_prefixlen=24 if "." in prefix else 64,
            )
        second = {"name": "x", "prefixes": ["2001:db9::/48"], "is_default": True}
        assert error_of(await s.ask("POST", "/subnetpools", {"subnetpool": second}, admin=True))[0] == 400
        both = {"subnets": [{**ask, "ip_version": 6}, {**ask, "ip_version": 4}]}
        made = (await s.ask("POST", "/subnets", both, expect=201)).json()["subnets"]
        assert [it["cidr"] for it in made] == ["2001:db8::/64", "10.0.0.0/24"]


async def test_groups_rules_pairs_and_options_of_ipv6() -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        await subnet(s, network, "2001:db8::/64")
        entries = ["2001:DB8:1::/48", "2001:db8::5/128", "10.0.0.0/8"]
        group = await s.make("address_group", name="a", addresses=entries)
        assert set(group["addresses"]) == {"2001:db8:1::/48", "2001:db8::5/128", "10.0.0.0/8"}
        port = await s.make(
            "port",
            network_id=network,
            allowed_address_pairs=[{"ip_address": "2001:DB8::0077"}, {"ip_address": "fd00::/64"}],
            extra_dhcp_opts=[
                {"opt_name": "dns-server", "opt_value": "2001:db8::53", "ip_version": 6},
                {"opt_name": "dns-server", "opt_value": "10.0.0.53"},
                {"opt_name": "23", "opt_value": "7", "ip_version": "4"},
            ],
        )
        assert [it["ip_address"] for it in port["allowed_address_pairs"]] == ["2001:db8::77", "fd00::/64"]
        assert [(it["opt_name"], it["ip_version"]) for it in port["extra_dhcp_opts"]] == [
            ("23", 4),
            ("dns-server", 4),
            ("dns-server", 6),
        ]
        path = f"/ports/{port['id']}"
        for wrong in (
            {"extra_dhcp_opts": [{"opt_name": "1", "opt_value": "00:01", "ip_version": 6}]},
            {"extra_dhcp_opts": [{"opt_name": "router", "opt_value": "2001:db8::1", "ip_version": 6}]},
            {"extra_dhcp_opts": [{"opt_name": "dns-server", "opt_value": "10.0.0.1", "ip_version": 6}]},
            {"extra_dhcp_opts": [{"opt_name": "dns-server", "opt_value": "10.0.0.1", "ip_version": 5}]},
            {"allowed_address_pairs": [{"ip_address": "fe80::1%eth0"}]},
        ):
            assert error_of(await s.ask("PUT", path, {"port": wrong}))[0] == 400, wrong


async def test_a_request_that_is_sent_again_gives_addresses_once() -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        port = await s.make("port", network_id=network)
        body = {"subnet": {"network_id": network, "ip_version": 6, "cidr": "2001:db8::/64", **SLAAC}}
        key = {"Idempotency-Key": "k"}
        first = (await s.ask("POST", "/subnets", body, headers=key, expect=201)).json()
        again = (await s.ask("POST", "/subnets", body, headers=key, expect=201)).json()
        assert first["subnet"]["id"] == again["subnet"]["id"]
        assert len((await port_of(s, port["id"]))["fixed_ips"]) == 1


async def test_a_host_route_must_be_one_that_a_router_can_tell() -> None:
    async with scene() as s:
        network = await s.make("network")
        route = {"destination": "2001:db8:9::/48", "nexthop": "2001:db8::9"}
        told = await subnet(s, network["id"], "2001:db8::/64", **STATEFUL)
        answer = await s.ask("PUT", f"/subnets/{told['id']}", {"subnet": {"host_routes": [route]}}, expect=400)
        assert "is not the gateway" in answer.text
        both = {"subnet": {"host_routes": [route], "gateway_ip": "2001:db8::9", "allocation_pools": []}}
        await s.ask("PUT", f"/subnets/{told['id']}", both, expect=200)
        alone = {"subnet": {"gateway_ip": "2001:db8::8"}}
        assert "is not the gateway" in (await s.ask("PUT", f"/subnets/{told['id']}", alone, expect=400)).text
        outside = [{"destination": "2001:db8:9::/48", "nexthop": "2001:db8:1::9"}]
        untold = await subnet(s, network["id"], "2001:db8:1::/64", host_routes=outside)
        assert untold["host_routes"] == outside, "whoever makes its ports tells their workloads"


async def test_a_network_that_does_not_carry_ipv6_has_no_subnet_of_it() -> None:
    async with scene() as s:
        small = await s.make("network", mtu=1279)
        await subnet(s, small["id"], "10.0.0.0/24")
        body = {"subnet": {"network_id": small["id"], "cidr": "2001:db8::/64", "ip_version": 6}}
        answer = await s.ask("POST", "/subnets", body, expect=409)
        assert answer.json()["NeutronError"]["type"] == "NetworkMTUSubnetConflict"
        await s.ask("PUT", f"/networks/{small['id']}", {"network": {"mtu": 1280}}, expect=200)
        await s.ask("POST", "/subnets", body, expect=201)
        await s.ask("PUT", f"/networks/{small['id']}", {"network": {"mtu": 1279}}, expect=409)
        await s.ask("PUT", f"/networks/{small['id']}", {"network": {"mtu": 1450}}, expect=200)
