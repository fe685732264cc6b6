"""What each resource does, over HTTP against a store in memory."""

import asyncio
from typing import Any

import pytest

from alcor.contracts.convergence import TraceResult, TraceStep
from alcor.model.ids import HostId, PortId
from api_scene import Scene, error_of, scene

OTHER = {"project": "red"}


async def test_what_belongs_to_another_project_does_not_exist() -> None:
    async with scene() as s:
        network_id, subnet_id = await s.wired_network()
        port = await s.make("port", network_id=network_id)
        group = await s.make("security_group", name="g")
        router = await s.make("router", name="r")
        for path in (
            f"/networks/{network_id}",
            f"/subnets/{subnet_id}",
            f"/ports/{port['id']}",
            f"/security-groups/{group['id']}",
            f"/routers/{router['id']}",
        ):
            singular = path.split("/")[1].removesuffix("s").replace("-", "_")
            assert error_of(await s.ask("GET", path, **OTHER))[0] == 404
            assert error_of(await s.ask("PUT", path, {singular: {"name": "mine"}}, **OTHER))[0] == 404
            assert error_of(await s.ask("DELETE", path, **OTHER))[0] == 404
            assert (await s.ask("GET", path, project="admin", admin=True)).status_code == 200
        body = {"port": {"network_id": network_id}}
        assert error_of(await s.ask("POST", "/ports", body, **OTHER)) == (404, "NetworkNotFound")
        subnet = {"subnet": {"network_id": network_id, "ip_version": 4, "cidr": "10.9.0.0/24"}}
        assert error_of(await s.ask("POST", "/subnets", subnet, **OTHER)) == (404, "NetworkNotFound")
        theirs, _ = await s.wired_network(project="red")
        body = {"port": {"network_id": theirs, "security_groups": [group["id"]]}}
        assert error_of(await s.ask("POST", "/ports", body, **OTHER)) == (404, "SecurityGroupNotFound")
        their_router = await s.make("router", **OTHER)
        add = f"/routers/{their_router['id']}/add_router_interface"
        assert error_of(await s.ask("PUT", add, {"subnet_id": subnet_id}, **OTHER))[0] == 404
        listed = (await s.ask("GET", "/networks", **OTHER)).json()["networks"]
        assert [network["id"] for network in listed] == [theirs]
        assert (await s.ask("GET", "/networks?project_id=blue", **OTHER)).json()["networks"] == []
        assert len((await s.ask("GET", "/networks", project=None)).json()["networks"]) == 2


async def test_attributes_for_administrators_are_shown_to_administrators_only() -> None:
    async with scene() as s:
        network = await s.make("network", name="n")
        assert "provider:segmentation_id" not in network
        shown = (await s.ask("GET", f"/networks/{network['id']}", project=None)).json()["network"]
        assert shown["provider:network_type"] == "vxlan"
        found = await s.ask(
            "GET", f"/networks?provider:segmentation_id={shown['provider:segmentation_id']}", project=None
        )
        assert len(found.json()["networks"]) == 1
        chosen = await s.make(
            "network", admin=True, provider__segmentation_id=77, provider__network_type="vxlan"
        )
        assert chosen["provider:segmentation_id"] == 77
        again = {"network": {"provider:segmentation_id": 77}}
        assert error_of(await s.ask("POST", "/networks", again, admin=True))[0] == 409


async def test_objects_count_their_revisions_and_hold_if_match() -> None:
    async with scene() as s:
        network = await s.make("network", name="n")
        assert (network["revision_number"], network["created_at"][-1]) == (1, "Z")
        path = f"/networks/{network['id']}"
        after = await s.ask("PUT", path, {"network": {"name": "m"}}, headers={"If-Match": "revision_number=1"})
        assert after.json()["network"]["revision_number"] == 2
        assert after.headers["x-alcor-revision"] == "2"
        stale = await s.ask("PUT", path, {"network": {"name": "o"}}, headers={"If-Match": "revision_number=1"})
        assert error_of(stale) == (412, "RevisionNumberConstraintFailed")
        stale = await s.ask("DELETE", path, headers={"If-Match": "revision_number=1"})
        assert error_of(stale)[0] == 412
        assert error_of(await s.ask("DELETE", path, headers={"If-Match": "x"}))[0] == 400
        await s.ask("DELETE", path, headers={"If-Match": "revision_number=2"}, expect=204)


async def test_subnets_of_a_network_do_not_overlap_even_when_made_at_once() -> None:
    async with scene() as s:
        network = await s.make("network")
        body = {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/16"}}
        answers = await asyncio.gather(*(s.ask("POST", "/subnets", body) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [201] + [400] * 7
        both = [
            {"network_id": network["id"], "ip_version": 4, "cidr": cidr}
            for cidr in ("10.2.0.0/16", "10.2.3.0/24")
        ]
        assert error_of(await s.ask("POST", "/subnets", {"subnets": both}))[0] == 400
        assert len((await s.ask("GET", "/subnets")).json()["subnets"]) == 1


async def test_a_subnet_has_the_gateway_and_pools_that_neutron_gives_it() -> None:
    async with scene() as s:
        network = await s.make("network")
        where = {"network_id": network["id"], "ip_version": 4}
        subnet = await s.make("subnet", **where, cidr="10.0.0.7/24")
        assert (subnet["cidr"], subnet["gateway_ip"]) == ("10.0.0.0/24", "10.0.0.1")
        assert subnet["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.254"}]
        bare = await s.make("subnet", **where, cidr="10.1.0.0/24", gateway_ip=None)
        assert bare["gateway_ip"] is None
        assert bare["allocation_pools"] == [{"start": "10.1.0.1", "end": "10.1.0.254"}]
        body = {**where, "cidr": "10.2.0.0/24", "allocation_pools": [{"start": "10.2.0.1", "end": "10.2.0.9"}]}
        assert (
            error_of(await s.ask("POST", "/subnets", {"subnet": body}))[1]
            == "GatewayConflictWithAllocationPools"
        )
        body["allocation_pools"] = [{"start": "10.3.0.2", "end": "10.3.0.9"}]
        assert error_of(await s.ask("POST", "/subnets", {"subnet": body}))[1] == "OutOfBoundsAllocationPool"
        update = {"subnet": {"cidr": "10.9.0.0/24"}}
        assert error_of(await s.ask("PUT", f"/subnets/{subnet['id']}", update))[0] == 400


async def test_what_is_in_use_is_not_deleted() -> None:
    async with scene() as s:
        network_id, subnet_id = await s.wired_network()
        group = await s.make("security_group", name="g")
        port = await s.make("port", network_id=network_id, security_groups=[group["id"]])
        for path, reason in (
            (f"/networks/{network_id}", "NetworkInUse"),
            (f"/subnets/{subnet_id}", "SubnetInUse"),
            (f"/security-groups/{group['id']}", "SecurityGroupInUse"),
        ):
            assert error_of(await s.ask("DELETE", path)) == (409, reason)
        await s.ask("DELETE", f"/ports/{port['id']}", expect=204)
        await s.ask("DELETE", f"/security-groups/{group['id']}", expect=204)
        await s.ask("DELETE", f"/networks/{network_id}", expect=204)
        assert error_of(await s.ask("GET", f"/subnets/{subnet_id}"))[0] == 404


async def test_32_first_uses_make_one_default_group() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        body = {"port": {"network_id": network_id}}
        calls = [
            s.ask("POST", "/ports", body, expect=201)
            if number % 2
            else s.ask("GET", "/security-groups", expect=200)
            for number in range(32)
        ]
        await asyncio.gather(*calls)
        groups = (await s.ask("GET", "/security-groups")).json()["security_groups"]
        assert [group["name"] for group in groups] == ["default"]
        path = f"/security-groups/{groups[0]['id']}"
        assert error_of(await s.ask("PUT", path, {"security_group": {"name": "x"}}))[0] == 409
        assert error_of(await s.ask("DELETE", path))[0] == 409
        assert (
            error_of(await s.ask("POST", "/security-groups", {"security_group": {"name": "default"}}))[0] == 409
        )


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"port_range_min": 1, "port_range_max": 2}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"protocol": "tcp", "port_range_min": 2, "port_range_max": 1}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_range_min": 2}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_range_min": 0, "port_range_max": 1}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65536}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "icmp", "port_range_min": 256}, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "icmp", "port_range_max": 1}, "SecurityGroupMissingIcmpType"),
        ({"protocol": "gre", "port_range_min": 1, "port_range_max": 2}, "SecurityGroupInvalidProtocolForPort"),
        ({"protocol": "nothing"}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": 256}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": "icmpv6"}, "SecurityGroupEthertypeConflictWithProtocol"),
        ({"remote_ip_prefix": "fd00::/8"}, "SecurityGroupRuleParameterConflict"),
        ({"remote_ip_prefix": "10.0.0.0/99"}, "InvalidCIDR"),
        ({"remote_group_id": "SELF", "remote_ip_prefix": "10.0.0.0/8"}, "SecurityGroupMultipleRemoteEntites"),
    ],
)
async def test_rules_that_cannot_be_are_refused(rule: dict[str, Any], reason: str) -> None:
    async with scene() as s:
        group = await s.make("security_group", name="g")
        body = {"security_group_id": group["id"], "direction": "ingress", **rule}
        if rule.get("remote_group_id") == "SELF":
            body["remote_group_id"] = group["id"]
        answer = await s.ask("POST", "/security-group-rules", {"security_group_rule": body})
        assert error_of(answer) == (400, reason)


async def test_a_rule_is_made_once_and_revises_its_group() -> None:
    async with scene() as s:
        group = await s.make("security_group", name="g")
        web = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
        rule = {"security_group_rule": {**web, "port_range_min": 80, "port_range_max": 80}}
        answers = await asyncio.gather(*(s.ask("POST", "/security-group-rules", rule) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
        assert error_of(answers[-1])[1] == "SecurityGroupRuleExists"
        path = f"/security-groups/{group['id']}"
        shown = (await s.ask("GET", path)).json()["security_group"]
        assert (shown["revision_number"], len(shown["security_group_rules"])) == (2, 3)
        other = await s.make("security_group", name="other")
        by_number = await s.make(
            "security_group_rule",
            security_group_id=other["id"],
            direction="ingress",
            protocol=6,
            remote_group_id=group["id"],
        )
        assert by_number["protocol"] == "6"
        await s.ask("DELETE", path, expect=204)
        left = (await s.ask("GET", f"/security-groups/{other['id']}")).json()["security_group"]
        assert len(left["security_group_rules"]) == 2
        await s.ask("DELETE", f"/security-group-rules/{left['security_group_rules'][0]['id']}", expect=204)


async def test_a_router_joins_subnets_and_parts_from_them() -> None:
    async with scene() as s:
        network_id, subnet_id = await s.wired_network("10.0.0.0/24")
        _, overlapping = await s.wired_network("10.0.0.128/25")
        router = await s.make("router", name="r")
        add, remove = (f"/routers/{router['id']}/{verb}_router_interface" for verb in ("add", "remove"))
        joined = (await s.ask("PUT", add, {"subnet_id": subnet_id}, expect=200)).json()
        port = (await s.ask("GET", f"/ports/{joined['port_id']}")).json()["port"]
        assert port["fixed_ips"] == [{"subnet_id": subnet_id, "ip_address": "10.0.0.1"}]
        assert (port["device_owner"], port["device_id"]) == ("network:router_interface", router["id"])
        assert error_of(await s.ask("PUT", add, {"subnet_id": subnet_id}))[0] == 400
        assert error_of(await s.ask("PUT", add, {"subnet_id": overlapping}))[0] == 400
        assert error_of(await s.ask("PUT", add, {}))[0] == 400
        assert error_of(await s.ask("PUT", add, {"subnet_id": subnet_id, "port_id": port["id"]}))[0] == 400
        assert error_of(await s.ask("DELETE", f"/ports/{port['id']}")) == (409, "ServicePortInUse")
        moved = {"port": {"fixed_ips": [], "device_id": "x"}}
        assert error_of(await s.ask("PUT", f"/ports/{port['id']}", moved)) == (409, "PortInUse")
        gateway = {"subnet": {"gateway_ip": "10.0.0.5"}}
        assert error_of(await s.ask("PUT", f"/subnets/{subnet_id}", gateway)) == (409, "GatewayIpInUse")
        assert error_of(await s.ask("DELETE", f"/routers/{router['id']}")) == (409, "RouterInUse")
        assert error_of(await s.ask("DELETE", f"/subnets/{subnet_id}")) == (409, "SubnetInUse")
        other = await s.make("router")
        taken = await s.ask("PUT", f"/routers/{other['id']}/add_router_interface", {"subnet_id": subnet_id})
        assert error_of(taken) == (409, "IpAddressInUse")
        own = await s.make("port", network_id=network_id, fixed_ips=[{"ip_address": "10.0.0.254"}])
        by_port = await s.ask("PUT", f"/routers/{other['id']}/add_router_interface", {"port_id": own["id"]})
        assert by_port.json()["subnet_ids"] == [subnet_id]
        again = await s.ask("PUT", add, {"port_id": own["id"]})
        assert error_of(again) == (409, "PortInUse")
        missing = await s.ask("PUT", remove, {"subnet_id": overlapping})
        assert error_of(missing) == (404, "RouterInterfaceNotFoundForSubnet")
        await s.ask("PUT", remove, {"subnet_id": subnet_id}, expect=200)
        assert error_of(await s.ask("GET", f"/ports/{port['id']}"))[0] == 404
        await s.ask("DELETE", f"/routers/{router['id']}", expect=204)
        forged = {"port": {"network_id": network_id, "device_owner": "network:router_interface"}}
        assert error_of(await s.ask("POST", "/ports", forged))[0] == 400


async def test_a_port_group_makes_and_removes_its_ports() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        group = await s.make(
            "port_group", name="web", network_id=network_id, count=6, port={"description": "d", "tags": ["x"]}
        )
        assert (group["ports"], group["in_force"], group["state"], group["count"]) == (6, 0, "BUILD", 6)
        path = f"/ports?port_group_id={group['id']}&sort_key=name"
        ports = (await s.ask("GET", path, admin=True)).json()["ports"]
        assert [port["name"] for port in ports] == [f"web-{number}" for number in range(1, 7)]
        hosts = sorted(port["binding:host_id"] for port in ports)
        assert hosts == ["host-1", "host-1", "host-2", "host-2", "host-3", "host-3"]
        for port in ports:
            s.convergence.acknowledge(port["id"])
        shown = (await s.ask("GET", f"/port-groups/{group['id']}")).json()["port_group"]
        assert (shown["state"], shown["in_force"], shown["port"]) == (
            "IN_FORCE",
            6,
            {"description": "d", "tags": ["x"]},
        )
        before = await s.store.revision()
        await s.ask("DELETE", f"/port-groups/{group['id']}", expect=204)
        assert await s.store.revision() == before + 1
        assert (await s.ask("GET", "/ports")).json()["ports"] == []
        listed = {"port_group": {"network_id": network_id, "hosts": ["host-2", "host-2"], "name": "l"}}
        assert error_of(await s.ask("POST", "/port-groups", listed)) == (403, "PolicyNotAuthorized")
        made = await s.ask("POST", "/port-groups", listed, admin=True, expect=201)
        assert made.json()["port_group"]["ports"] == 2
        for wrong in ({}, {"count": 0}, {"count": 1, "port": {"mac_address": "x"}}, {"count": 1, "port": []}):
            body = {"port_group": {"network_id": network_id, **wrong}}
            assert error_of(await s.ask("POST", "/port-groups", body))[0] == 400


async def test_tags_are_set_found_and_removed() -> None:
    async with scene() as s:
        network = await s.make("network", tags=["b", "a"])
        await s.make("network", tags=["c"])
        path = f"/networks/{network['id']}/tags"
        assert (await s.ask("GET", path)).json() == {"tags": ["a", "b"]}
        await s.ask("PUT", f"{path}/z", expect=201)
        await s.ask("GET", f"{path}/z", expect=204)
        assert error_of(await s.ask("DELETE", f"{path}/q")) == (404, "TagNotFound")
        await s.ask("DELETE", f"{path}/z", expect=204)
        for query, count in (
            ("tags=a,b", 1),
            ("tags=a,c", 0),
            ("tags-any=a,c", 2),
            ("not-tags=a,b", 1),
            ("not-tags-any=a,c", 0),
        ):
            assert len((await s.ask("GET", f"/networks?{query}")).json()["networks"]) == count, query
        assert (await s.ask("PUT", path, {"tags": ["n"]}, expect=200)).json() == {"tags": ["n"]}
        await s.ask("DELETE", path, expect=204)


async def pages(s: Scene, query: str) -> list[list[str]]:
    """Follow the links from a first page; give the names on each."""
    found = []
    href = f"/v2.0/networks?{query}"
    for _ in range(20):
        answer = (await s.client.get(href, headers={"X-Project-Id": "blue"})).json()
        found.append([network["name"] for network in answer["networks"]])
        following = [link["href"] for link in answer.get("networks_links", ()) if link["rel"] == "next"]
        if not following:
            return found
        href = following[0].removeprefix("http://api.test")
    raise AssertionError("the links do not end")


async def test_lists_are_sorted_filtered_and_paged_with_links() -> None:
    async with scene() as s:
        for name in ("c", "a", "e", "b", "d"):
            await s.make("network", name=name, description=name.upper(), admin_state_up=name != "e")
        assert await pages(s, "sort_key=name&sort_dir=asc&limit=2") == [["a", "b"], ["c", "d"], ["e"]]
        assert await pages(s, "sort_key=name&sort_dir=desc&limit=2") == [["e", "d"], ["c", "b"], ["a"]]
        assert await pages(s, "sort_key=description&limit=2") == [["a", "b"], ["c", "d"], ["e"]]
        assert await pages(s, "sort_key=name&limit=2&admin_state_up=True") == [["a", "b"], ["c", "d"], []]
        assert await pages(s, "name=a&name=d") == [["a", "d"]]
        assert await pages(s, "status=active&description=B") == [["b"]]
        everything = (await s.ask("GET", "/networks?sort_key=name&fields=id&fields=name")).json()["networks"]
        marker = everything[3]["id"]
        back = (await s.ask("GET", f"/networks?sort_key=name&limit=2&marker={marker}&page_reverse=True")).json()
        assert [network["name"] for network in back["networks"]] == ["b", "c"]
        assert {link["rel"] for link in back["networks_links"]} == {"next", "previous"}
        assert [set(network) for network in everything] == [{"id", "name"}] * 5


async def test_discovery_names_only_what_is_in_force() -> None:
    async with scene() as s:
        root = (
            await s.client.get("/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "cloud"})
        ).json()
        assert root["versions"][0]["links"][0]["href"] == "https://cloud/v2.0/"
        assert {"networks", "port_groups"} <= {
            each["collection"] for each in (await s.ask("GET", "/")).json()["resources"]
        }
        aliases = {each["alias"] for each in (await s.ask("GET", "/extensions")).json()["extensions"]}
        assert "security-group" in aliases
        assert not aliases & {"qos", "external-net", "dvr", "alcor-trace"}
        assert (await s.ask("GET", "/extensions/sorting")).json()["extension"]["alias"] == "sorting"
        assert error_of(await s.ask("GET", "/extensions/qos"))[0] == 404
        assert (await s.client.get("/healthz")).status_code == 200


async def test_hosts_are_shown_to_administrators() -> None:
    async with scene() as s:
        s.convergence.add_host("host-4", is_alive=False, zone="b")
        hosts = (await s.ask("GET", "/hosts", project=None)).json()["hosts"]
        assert [(host["id"], host["alive"]) for host in hosts][2:] == [("host-3", True), ("host-4", False)]
        assert (await s.ask("GET", "/hosts/host-4", project=None)).json()["host"]["zone"] == "b"
        of_version = (await s.ask("GET", "/hosts?agent_version=0.9", project=None)).json()["hosts"]
        assert [(host["id"], host["agent_version"]) for host in of_version][-1] == ("host-3", "0.9")
        agents = (await s.ask("GET", "/agents?host=host-1", project=None)).json()["agents"]
        shown = await s.ask("GET", f"/agents/{agents[0]['id']}", project=None)
        assert shown.json()["agent"] == agents[0]
        assert (await s.ask("GET", "/availability_zones")).json()["availability_zones"][0]["name"] == "b"
        assert (await s.ask("GET", "/agents")).json() == {"agents": []}
        assert error_of(await s.ask("GET", "/hosts"))[0] == 403
        assert error_of(await s.ask("GET", "/hosts/host-1"))[0] == 403


class _Recorder:
    """A tracer that says what it was asked."""

    async def trace(
        self, *, port_id: PortId, to_ip: bytes, protocol: str, dst_port: int, icmp_type: int | None
    ) -> TraceResult:
        step = TraceStep(host=HostId("host-1"), table="spoof", rule=f"{protocol} {dst_port}", action="drop")
        return TraceResult(delivered=False, to_port=None, decided_by=f"{port_id} {to_ip.hex()}", steps=(step,))


async def test_a_packet_is_traced_from_ones_own_port() -> None:
    async with scene(tracer=_Recorder()) as s:
        network_id, _ = await s.wired_network()
        port_id = (await s.make("port", network_id=network_id))["id"]
        body = {"trace": {"port_id": port_id, "to_ip": "10.0.0.9", "protocol": "tcp", "dst_port": 80}}
        found = (await s.ask("POST", "/trace", body, expect=200)).json()["trace"]
        assert (found["delivered"], found["decided_by"]) == (False, f"{port_id} 0a000009")
        assert found["steps"][0]["rule"] == "tcp 80"
        assert error_of(await s.ask("POST", "/trace", body, **OTHER)) == (404, "PortNotFound")
        for wrong in ({"to_ip": "x"}, {"protocol": "gre"}, {"dst_port": 1 << 16}, {"colour": 1}):
            bad = {"trace": {**body["trace"], **wrong}}
            assert error_of(await s.ask("POST", "/trace", bad))[0] == 400
        aliases = {each["alias"] for each in (await s.ask("GET", "/extensions")).json()["extensions"]}
        assert "alcor-trace" in aliases
    async with scene() as s:
        assert error_of(await s.ask("POST", "/trace", body))[0] == 404
