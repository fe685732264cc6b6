"""Quotas over HTTP, in Neutron's form, and what each way of making records does to them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api_scene import Scene, error_of, scene

KINDS = {
    "network",
    "subnet",
    "port",
    "router",
    "security_group",
    "security_group_rule",
    "port_group",
    "rbac_policy",
    "subnetpool",
    "address_scope",
    "address_group",
    "address_group_entry",
    "trunk",
}


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene() as opened:
        yield opened


async def limit(s: Scene, project: str = "blue", **limits: Any) -> Any:
    answer = await s.ask("PUT", f"/quotas/{project}", {"quota": limits}, project=None, expect=200)
    return answer.json()["quota"]


async def used(s: Scene, project: str = "blue") -> dict[str, int]:
    answer = await s.ask("GET", f"/quotas/{project}/details", project=project, expect=200)
    return {kind: each["used"] for kind, each in answer.json()["quota"].items() if each["used"]}


async def refused(s: Scene, path: str, body: Any, kinds: list[str], **who: Any) -> None:
    answer = await s.ask("POST", path, body, **who)
    assert error_of(answer) == (409, "OverQuota")
    assert answer.json()["NeutronError"]["message"] == f"Quota exceeded for resources: {kinds}."


async def test_a_project_sees_its_limits_and_the_operator_changes_them(s: Scene) -> None:
    defaults = (await s.ask("GET", "/quotas/blue/default", expect=200)).json()["quota"]
    assert set(defaults) == KINDS
    assert (await s.ask("GET", "/quotas/blue", expect=200)).json()["quota"] == defaults
    assert (await s.ask("GET", "/quotas", project=None, expect=200)).json() == {"quotas": []}
    assert await limit(s, port=7, network="8") == {**defaults, "port": 7, "network": 8}
    assert await limit(s, port=-1) == {**defaults, "port": -1, "network": 8}
    (listed,) = (await s.ask("GET", "/quotas", project=None)).json()["quotas"]
    assert listed == {**defaults, "port": -1, "network": 8, "project_id": "blue", "tenant_id": "blue"}
    details = (await s.ask("GET", "/quotas/blue/details.json", expect=200)).json()["quota"]
    assert details["network"] == {"limit": 8, "used": 0, "reserved": 0}
    await s.ask("DELETE", "/quotas/blue", project=None, expect=204)
    assert (await s.ask("GET", "/quotas/blue")).json()["quota"] == defaults
    gone = await s.ask("DELETE", "/quotas/blue", project=None)
    assert error_of(gone) == (404, "TenantQuotaNotFound")
    assert (await s.ask("GET", "/quotas/tenant")).json() == {"tenant": {"tenant_id": "blue"}}
    assert (await s.ask("GET", "/quotas/project")).json() == {"project": {"project_id": "blue"}}
    for alias in ("quotas", "quota_details", "quota-check-limit"):
        await s.ask("GET", f"/extensions/{alias}", expect=200)


async def test_what_the_operator_says_else_of_a_project_stays(s: Scene) -> None:
    await s.ask("PUT", "/projects/blue", {"project": {"priority": 9}}, project=None, expect=200)
    await limit(s, port=3)
    await s.ask("PUT", "/projects/blue", {"project": {"priority": 8}}, project=None, expect=200)
    assert (await s.ask("GET", "/quotas/blue")).json()["quota"]["port"] == 3
    await s.ask("DELETE", "/quotas/blue", project=None, expect=204)
    assert (await s.ask("GET", "/projects/blue", project=None)).json()["project"]["priority"] == 8


async def test_quotas_of_others_are_nobodys_business(s: Scene) -> None:
    for path in ("/quotas/red", "/quotas/red/default", "/quotas/red/details", "/quotas"):
        assert error_of(await s.ask("GET", path)) == (403, "PolicyNotAuthorized")
    for path in ("/quotas/red", "/quotas/blue"):
        assert error_of(await s.ask("PUT", path, {"quota": {"port": 1}})) == (403, "PolicyNotAuthorized")
        assert error_of(await s.ask("DELETE", path)) == (403, "PolicyNotAuthorized")


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"quotas": {}},
        {"quota": 3},
        {"quota": {"port": "many"}},
        {"quota": {"port": -2}},
        {"quota": {"port": 2**31}},
        {"quota": {"port": None}},
        {"quota": {"port": 1.5}},
        {"quota": {"floatingip": 1}},
        {"quota": {"host": 1}},
        {"quota": {"port": 1, "check_limit": "perhaps"}},
    ],
)
async def test_limits_that_cannot_be_are_refused(s: Scene, body: Any) -> None:
    assert error_of(await s.ask("PUT", "/quotas/blue", body, project=None))[0] == 400
    assert (await s.ask("GET", "/quotas", project=None)).json() == {"quotas": []}


async def test_a_limit_below_what_is_used_is_set_unless_it_is_to_be_checked(s: Scene) -> None:
    for _ in range(3):
        await s.make("network", name="n")
    body = {"quota": {"network": 2, "check_limit": True}}
    answer = await s.ask("PUT", "/quotas/blue", body, project=None)
    assert error_of(answer) == (400, "HTTPBadRequest")
    assert "network must be greater than or equal to already used 3" in answer.text
    for limits in ({"network": 3, "check_limit": True}, {"network": -1, "check_limit": True}, {"network": 2}):
        await limit(s, **limits)
    await limit(s, network=1, check_limit=True, force=True)
    await refused(s, "/networks", {"network": {}}, ["network"])


async def test_every_kind_is_counted_and_held_to_its_limit(s: Scene) -> None:
    network_id, subnet_id = await s.wired_network()
    router = await s.make("router", name="r")
    group = await s.make("security_group", name="g")
    port = await s.make("port", network_id=network_id)
    port_group = await s.make("port_group", network_id=network_id, hosts=["host-1", "host-2"], admin=True)
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
    made_rule = await s.make("security_group_rule", **rule)
    addresses = await s.make("address_group", addresses=["10.0.0.0/8", "192.0.2.0/24"])
    trunk = await s.make("trunk", port_id=port["id"])
    # The default group is the project's second, with four rules; a group begins with two.
    expected = {
        "network": 1,
        "subnet": 1,
        "router": 1,
        "port": 3,
        "port_group": 1,
        "security_group": 2,
        "security_group_rule": 7,
        "address_group": 1,
        "address_group_entry": 2,
        "trunk": 1,
    }
    assert await used(s) == expected
    await limit(s, **dict.fromkeys(KINDS, 0))
    subnet = {"network_id": network_id, "ip_version": 4, "cidr": "10.1.0.0/24"}
    await refused(s, "/networks", {"network": {}}, ["network"])
    await refused(s, "/subnets", {"subnet": subnet}, ["subnet"])
    await refused(s, "/routers", {"router": {}}, ["router"])
    members = (await s.ask("GET", f"/ports?alcor:port_group={port_group['id']}")).json()["ports"]
    await refused(s, "/trunks", {"trunk": {"port_id": members[0]["id"]}}, ["trunk"])
    await refused(s, "/ports", {"port": {"network_id": network_id}}, ["port"])
    await refused(s, "/ports", {"ports": [{"network_id": network_id}] * 3}, ["port"])
    many = {"port_group": {"network_id": network_id, "hosts": ["host-1"] * 150}}
    await refused(s, "/port-groups", many, ["port", "port_group"], admin=True)
    await refused(s, "/security-groups", {"security_group": {}}, ["security_group", "security_group_rule"])
    await refused(
        s,
        "/security-group-rules",
        {"security_group_rule": {**rule, "protocol": "udp"}},
        ["security_group_rule"],
    )
    await refused(s, "/address-groups", {"address_group": {}}, ["address_group"])
    more = f"/address-groups/{addresses['id']}/add_addresses"
    assert error_of(await s.ask("PUT", more, {"addresses": ["10.9.0.0/16"]})) == (409, "OverQuota")
    assert await used(s) == expected
    # A router's interface is made for the project, not by it: counted, not refused.
    await s.ask("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet_id}, expect=200)
    assert (await used(s))["port"] == 4
    await s.ask("PUT", f"/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet_id}, expect=200)
    for path in (
        f"/trunks/{trunk['id']}",
        f"/port-groups/{port_group['id']}",
        f"/ports/{port['id']}",
        f"/security-group-rules/{made_rule['id']}",
        f"/security-groups/{group['id']}",
        f"/routers/{router['id']}",
        f"/networks/{network_id}",
        f"/address-groups/{addresses['id']}",
    ):
        await s.ask("DELETE", path, expect=204)
    assert await used(s) == {"security_group": 1, "security_group_rule": 4}


async def test_what_is_made_on_behalf_counts_for_whose_it_is(s: Scene) -> None:
    await limit(s, network=1)
    await s.make("network", project="admin", admin=True, project_id="blue")
    await refused(s, "/networks", {"network": {"project_id": "blue"}}, ["network"], project="admin", admin=True)
    await s.make("network", project="admin", admin=True)
    assert await used(s) == {"network": 1}


async def test_a_bulk_create_is_all_or_nothing(s: Scene) -> None:
    network_id, _ = await s.wired_network("10.0.0.0/16")
    await limit(s, port=150)
    await s.make("port", network_id=network_id)
    await refused(s, "/ports", {"ports": [{"network_id": network_id}] * 150}, ["port"])
    assert (await used(s))["port"] == 1
    await s.ask("POST", "/ports", {"ports": [{"network_id": network_id}] * 149}, expect=201)
    assert (await used(s))["port"] == 150


async def test_a_refused_port_gives_its_address_back(s: Scene) -> None:
    network_id, _ = await s.wired_network("10.0.0.0/29")  # five addresses
    await limit(s, port=0)
    for _ in range(12):
        await refused(s, "/ports", {"port": {"network_id": network_id}}, ["port"])
    await limit(s, port=5)
    answers = await asyncio.gather(
        *(s.ask("POST", "/ports", {"port": {"network_id": network_id}}) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {201}


async def test_the_list_of_projects_with_quotas_is_paged() -> None:
    async with scene() as s:
        for name in ("c", "a", "b"):
            await s.ask("PUT", f"/quotas/{name}", {"quota": {"network": 1}}, admin=True, expect=200)
        first = (await s.ask("GET", "/quotas?limit=2", admin=True, expect=200)).json()
        assert [each["project_id"] for each in first["quotas"]] == ["a", "b"]
        href = first["quotas_links"][0]["href"].partition("/v2.0")[2]
        last = (await s.ask("GET", href, admin=True, expect=200)).json()
        assert [each["project_id"] for each in last["quotas"]] == ["c"]
        assert "quotas_links" not in last
        assert error_of(await s.ask("GET", "/quotas?limit=x", admin=True))[0] == 400
