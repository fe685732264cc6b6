"""Security groups in full, as clients of Neutron know them: address groups, stateless groups, default rules."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.model.default_rules import BUILT_IN
from api_scene import Scene, error_of, scene, stored_scene

FOUR = [
    ("egress", "IPv4", None, True, True),
    ("egress", "IPv6", None, True, True),
    ("ingress", "IPv4", "PARENT", True, False),
    ("ingress", "IPv6", "PARENT", True, False),
]


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene() as opened:
        yield opened


@pytest.fixture
async def stored(postgres_store: PostgresStore) -> AsyncIterator[Scene]:
    """A scene over PostgreSQL, for what its transactions, indexes and migrations must do."""
    async with stored_scene(postgres_store) as opened:
        yield opened


async def refused(s: Scene, method: str, path: str, body: Any = None, **who: Any) -> tuple[int, str]:
    return error_of(await s.ask(method, path, body, **who))


async def rule(s: Scene, group: str, **more: Any) -> Any:
    return await s.make("security_group_rule", security_group_id=group, direction="ingress", **more)


async def ids(s: Scene, path: str, **who: Any) -> list[str]:
    plural = path.partition("?")[0].strip("/").replace("-", "_")
    return sorted(each["id"] for each in (await s.ask("GET", path, expect=200, **who)).json()[plural])


async def test_addresses_are_put_into_a_group_and_taken_out(stored: Scene) -> None:
    s = stored
    asked = ["10.0.0.5/24", "192.0.2.1/32", "10.0.0.0/24", "fd00::1/64"]
    made = await s.make("address_group", name="a", description="d", addresses=asked)
    assert made["addresses"] == ["10.0.0.0/24", "192.0.2.1/32", "fd00::/64"]
    assert (made["name"], made["description"], made["project_id"], made["shared"]) == ("a", "d", "blue", False)
    assert "tags" not in made
    path = f"/address-groups/{made['id']}"
    more = await s.ask("PUT", f"{path}/add_addresses", {"addresses": ["198.51.100.0/24"]}, expect=200)
    assert more.json()["address_group"]["addresses"] == [
        "10.0.0.0/24",
        "192.0.2.1/32",
        "198.51.100.0/24",
        "fd00::/64",
    ]
    assert more.json()["address_group"]["revision_number"] == made["revision_number"] + 1
    there = {"addresses": ["203.0.113.0/24", "192.0.2.1/32"]}
    assert await refused(s, "PUT", f"{path}/add_addresses", there) == (400, "AddressesAlreadyExist")
    absent = {"addresses": ["203.0.113.0/24", "192.0.2.1/32"]}
    assert await refused(s, "PUT", f"{path}/remove_addresses", absent) == (404, "AddressesNotFound")
    less = await s.ask(
        "PUT", f"{path}/remove_addresses", {"addresses": ["fd00::/64", "10.0.0.0/24"]}, expect=200
    )
    assert less.json()["address_group"]["addresses"] == ["192.0.2.1/32", "198.51.100.0/24"]
    assert await refused(s, "PUT", path, {"address_group": {"addresses": []}}) == (400, "HTTPBadRequest")
    renamed = await s.ask("PUT", path, {"address_group": {"name": "b"}}, expect=200)
    assert renamed.json()["address_group"]["addresses"] == less.json()["address_group"]["addresses"]
    stale = await s.ask(
        "PUT",
        f"{path}/add_addresses",
        {"addresses": ["10.9.9.9/32"]},
        headers={"If-Match": f"revision_number={made['revision_number']}"},
    )
    assert error_of(stale) == (412, "RevisionNumberConstraintFailed")
    assert await ids(s, "/address-groups?name=b") == [made["id"]]
    assert (await s.ask("GET", path)).json() == renamed.json()
    await s.ask("DELETE", path, expect=204)
    assert await refused(s, "GET", path) == (404, "AddressGroupNotFound")


@pytest.mark.parametrize(
    "body", [{}, {"addresses": "x"}, {"addresses": ["10.0.0.1"]}, {"addresses": [], "x": 1}]
)
async def test_what_is_no_list_of_networks_is_refused(body: Any) -> None:
    async with scene() as s:
        made = await s.make("address_group")
        assert made["addresses"] == []
        answer = await s.ask("PUT", f"/address-groups/{made['id']}/add_addresses", body)
        assert error_of(answer) == (400, "HTTPBadRequest")


async def test_an_address_group_that_a_rule_is_about_stays(stored: Scene) -> None:
    s = stored
    addresses = await s.make("address_group", addresses=["10.0.0.0/8"])
    group = await s.make("security_group", name="g")
    made = await rule(s, group["id"], remote_address_group_id=addresses["id"])
    assert made["remote_address_group_id"] == addresses["id"]
    assert await ids(s, f"/security-group-rules?remote_address_group_id={addresses['id']}") == [made["id"]]
    path = f"/address-groups/{addresses['id']}"
    assert await refused(s, "DELETE", path) == (409, "AddressGroupInUse")
    await s.ask("DELETE", f"/security-group-rules/{made['id']}", expect=204)
    used = {"used_in_default_sg": False, "used_in_non_default_sg": True}
    default = await s.make(
        "default_security_group_rule",
        project="blue",
        admin=True,
        direction="ingress",
        remote_address_group_id=addresses["id"],
        **used,
    )
    assert await refused(s, "DELETE", path) == (409, "AddressGroupInUse")
    await s.ask("DELETE", f"/default-security-group-rules/{default['id']}", admin=True, expect=204)
    await s.ask("DELETE", path, expect=204)
    assert await refused(
        s,
        "POST",
        "/security-group-rules",
        {
            "security_group_rule": {
                "security_group_id": group["id"],
                "direction": "ingress",
                "remote_address_group_id": addresses["id"],
            }
        },
    ) == (404, "AddressGroupNotFound")


async def test_many_clients_at_once_put_each_address_in_once(stored: Scene) -> None:
    s = stored
    made = await s.make("address_group")
    path = f"/address-groups/{made['id']}/add_addresses"
    bodies = [{"addresses": [f"10.0.{number % 8}.0/24"]} for number in range(32)]
    answers = await asyncio.gather(*(s.ask("PUT", path, body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] * 8 + [400] * 24
    held = (await s.ask("GET", f"/address-groups/{made['id']}")).json()["address_group"]
    assert held["addresses"] == [f"10.0.{number}.0/24" for number in range(8)]


async def test_a_rule_is_never_left_about_an_address_group_that_went(stored: Scene) -> None:
    s = stored
    group = await s.make("security_group", name="g")
    outcomes = set()
    for _ in range(8):
        addresses = await s.make("address_group", addresses=["10.0.0.0/8"])
        body = {
            "security_group_id": group["id"],
            "direction": "ingress",
            "remote_address_group_id": addresses["id"],
        }
        made, gone = await asyncio.gather(
            s.ask("POST", "/security-group-rules", {"security_group_rule": body}),
            s.ask("DELETE", f"/address-groups/{addresses['id']}"),
        )
        outcomes.add((made.status_code, gone.status_code))
    assert outcomes <= {(201, 409), (404, 204)}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"used_in_default_sg": None}, 400),
        ({"direction": "sideways"}, 400),
        ({"remote_group_id": "parent"}, 400),
        ({"remote_group_id": "PARENT", "remote_ip_prefix": "10.0.0.0/8"}, 400),
        ({"protocol": "dccp", "port_range_min": 1, "port_range_max": 2}, 400),
        ({"name": "x"}, 400),
        ({"remote_group_id": "00000000-0000-4000-8000-000000000000"}, 404),
        ({"remote_address_group_id": "00000000-0000-4000-8000-000000000000"}, 404),
    ],
)
async def test_default_rules_that_cannot_be_are_refused(s: Scene, said: Any, status: int) -> None:
    body = {"direction": "ingress", "used_in_default_sg": False, "used_in_non_default_sg": True, **said}
    path = "/default-security-group-rules"
    found = await refused(s, "POST", path, {"default_security_group_rule": body}, admin=True)
    assert found[0] == status
    del body["used_in_non_default_sg"]
    missing = await refused(s, "POST", path, {"default_security_group_rule": body}, admin=True)
    assert missing == (400, "HTTPBadRequest")
    assert await refused(s, "PUT", f"{path}/{BUILT_IN[0].id}", {}, admin=True) == (405, "HTTPMethodNotAllowed")


async def test_another_projects_address_group_does_not_exist(s: Scene) -> None:
    theirs = await s.make("address_group", project="green", addresses=["10.0.0.0/8"])
    group = await s.make("security_group", name="g")
    body = {"security_group_id": group["id"], "direction": "egress", "remote_address_group_id": theirs["id"]}
    answer = await refused(s, "POST", "/security-group-rules", {"security_group_rule": body})
    assert answer == (404, "AddressGroupNotFound")
    for action in ("add_addresses", "remove_addresses"):
        path = f"/address-groups/{theirs['id']}/{action}"
        assert await refused(s, "PUT", path, {"addresses": ["10.0.0.0/8"]}) == (404, "AddressGroupNotFound")


async def test_an_address_group_is_shared_by_policies_and_stays_so_while_it_is_used(stored: Scene) -> None:
    s = stored
    made = await s.make("address_group", addresses=["10.0.0.0/8"])
    path = f"/address-groups/{made['id']}"
    policy = {"object_type": "address_group", "object_id": made["id"], "action": "access_as_shared"}
    body = {"rbac_policy": {**policy, "target_tenant": "green"}}
    shared = (await s.ask("POST", "/rbac-policies", body, expect=201)).json()["rbac_policy"]
    shown = (await s.ask("GET", path, project="green", expect=200)).json()["address_group"]
    assert (shown["shared"], shown["addresses"]) == (True, ["10.0.0.0/8"])
    assert await ids(s, "/address-groups", project="green") == [made["id"]]
    assert await refused(s, "GET", path, project="red") == (404, "AddressGroupNotFound")
    for action in ("add_addresses", "remove_addresses"):
        answer = await refused(s, "PUT", f"{path}/{action}", {"addresses": ["10.0.0.0/8"]}, project="green")
        assert answer == (403, "PolicyNotAuthorized")
    assert await refused(s, "DELETE", path, project="green") == (403, "PolicyNotAuthorized")
    group = await s.make("security_group", project="green", name="g")
    theirs = await rule(s, group["id"], project="green", remote_address_group_id=made["id"])
    assert await refused(s, "DELETE", path) == (409, "AddressGroupInUse")
    assert await refused(s, "DELETE", f"/rbac-policies/{shared['id']}") == (409, "RbacPolicyInUse")
    await s.ask("DELETE", f"/security-group-rules/{theirs['id']}", project="green", expect=204)
    await s.ask("DELETE", f"/rbac-policies/{shared['id']}", expect=204)
    assert await refused(s, "GET", path, project="green") == (404, "AddressGroupNotFound")
    await s.ask("POST", "/rbac-policies", body, expect=201)
    await s.ask("DELETE", path, expect=204)
    assert (await s.ask("GET", "/rbac-policies")).json()["rbac_policies"] == []


async def test_stateless_groups_are_made_and_stay_so_while_they_are_used(stored: Scene) -> None:
    s = stored
    network_id, _ = await s.wired_network()
    quick = await s.make("security_group", name="q", stateful=False)
    other = await s.make("security_group", name="o", stateful="false")
    tracked = await s.make("security_group", name="t")
    assert (quick["stateful"], other["stateful"], tracked["stateful"]) == (False, False, True)
    assert await ids(s, "/security-groups?stateful=false") == sorted([quick["id"], other["id"]])
    port = await s.make("port", network_id=network_id, security_groups=[quick["id"], other["id"]])
    for group, stateful in ((quick, True), (other, True)):
        answer = await refused(
            s, "PUT", f"/security-groups/{group['id']}", {"security_group": {"stateful": stateful}}
        )
        assert answer == (409, "SecurityGroupInUse")
    await s.ask("PUT", f"/security-groups/{quick['id']}", {"security_group": {"stateful": False}}, expect=200)
    await s.ask("PUT", f"/security-groups/{tracked['id']}", {"security_group": {"stateful": False}}, expect=200)
    await s.ask("PUT", f"/security-groups/{tracked['id']}", {"security_group": {"stateful": True}}, expect=200)
    mixed = {"security_groups": [quick["id"], tracked["id"]]}
    conflict = (409, "SecurityGroupConflict")
    assert await refused(s, "POST", "/ports", {"port": {"network_id": network_id, **mixed}}) == conflict
    assert await refused(s, "PUT", f"/ports/{port['id']}", {"port": mixed}) == conflict
    await s.ask("PUT", f"/ports/{port['id']}", {"port": {"security_groups": [tracked["id"]]}}, expect=200)
    await s.ask("PUT", f"/security-groups/{quick['id']}", {"security_group": {"stateful": True}}, expect=200)
    await s.ask("PUT", f"/ports/{port['id']}", {"port": mixed}, expect=200)


async def test_a_group_cannot_turn_beside_a_port_that_is_put_into_it(stored: Scene) -> None:
    s = stored
    network_id, _ = await s.wired_network()
    one, other = [(await s.make("security_group", name=name))["id"] for name in "ab"]
    for number in range(6):
        is_stateful = number % 2 == 1
        turn = {"security_group": {"stateful": is_stateful}}
        port = {"port": {"network_id": network_id, "security_groups": [one, other]}}
        turned, made = await asyncio.gather(
            s.ask("PUT", f"/security-groups/{one}", turn), s.ask("POST", "/ports", port)
        )
        held = {
            each["id"]: each["stateful"]
            for each in (await s.ask("GET", "/security-groups")).json()["security_groups"]
        }
        if made.status_code == 201:
            assert held[one] == held[other]
            await s.ask("DELETE", f"/ports/{made.json()['port']['id']}", expect=204)
        else:
            assert error_of(made) == (409, "SecurityGroupConflict")
        await s.ask("PUT", f"/security-groups/{one}", {"security_group": {"stateful": True}}, expect=200)
        assert turned.status_code in (200, 409)


async def test_the_rules_of_new_groups_are_the_operators(stored: Scene) -> None:
    s = stored
    listed = (await s.ask("GET", "/default-security-group-rules", expect=200)).json()
    names = ("direction", "ethertype", "remote_group_id", "used_in_default_sg", "used_in_non_default_sg")
    found = [tuple(each[name] for name in names) for each in listed["default_security_group_rules"]]
    assert sorted(found, key=str) == sorted(FOUR, key=str)
    body = {
        "direction": "ingress",
        "protocol": "tcp",
        "port_range_min": 22,
        "port_range_max": 22,
        "remote_ip_prefix": "10.0.0.9/8",
        "description": "ssh",
        "used_in_default_sg": True,
        "used_in_non_default_sg": True,
    }
    path = "/default-security-group-rules"
    assert await refused(s, "POST", path, {"default_security_group_rule": body}) == (403, "PolicyNotAuthorized")
    made = await s.make("default_security_group_rule", project="admin", admin=True, **body)
    assert {name: made[name] for name in body} == body
    assert (await s.ask("GET", f"{path}/{made['id']}", expect=200)).json()[
        "default_security_group_rule"
    ] == made
    assert await ids(s, f"{path}?protocol=tcp&used_in_default_sg=true") == [made["id"]]
    again = await refused(s, "POST", path, {"default_security_group_rule": body}, admin=True)
    assert again == (409, "DefaultSecurityGroupRuleExists")
    own = {"direction": "ingress", "protocol": "icmp", "remote_group_id": "PARENT"}
    own |= {"used_in_default_sg": False, "used_in_non_default_sg": True}
    twice = {"default_security_group_rules": [own, own]}
    assert await refused(s, "POST", path, twice, admin=True) == (409, "DuplicateDefaultSgRuleInPost")
    await s.make("default_security_group_rule", admin=True, **own)
    group = await s.make("security_group", name="g")
    shown = {
        (each["direction"], each["protocol"], each["remote_group_id"]) for each in group["security_group_rules"]
    }
    assert shown == {
        ("egress", None, None),
        ("ingress", "tcp", None),
        ("ingress", "icmp", group["id"]),
    }
    [ssh] = [each for each in group["security_group_rules"] if each["protocol"] == "tcp"]
    assert (ssh["remote_ip_prefix"], ssh["normalized_cidr"]) == ("10.0.0.9/8", "10.0.0.0/8")
    assert ssh["description"] == ""
    [default] = (await s.ask("GET", "/security-groups?name=default", project="green")).json()["security_groups"]
    assert len(default["security_group_rules"]) == 5
    await s.ask("DELETE", f"{path}/{made['id']}", admin=True, expect=204)
    assert await refused(s, "DELETE", f"{path}/{made['id']}", admin=True) == (
        404,
        "DefaultSecurityGroupRuleNotFound",
    )
    assert len((await s.make("security_group", name="h"))["security_group_rules"]) == 3


async def test_a_default_group_that_a_port_makes_has_the_operators_rules(stored: Scene) -> None:
    s = stored
    for each in await ids(s, "/default-security-group-rules"):
        await s.ask("DELETE", f"/default-security-group-rules/{each}", admin=True, expect=204)
    network_id, _ = await s.wired_network(project="green")
    used = {"used_in_default_sg": True, "used_in_non_default_sg": False}
    await s.make("default_security_group_rule", admin=True, direction="ingress", protocol="vrrp", **used)
    port = await s.make("port", project="green", network_id=network_id)
    [group_id] = port["security_groups"]
    group = (await s.ask("GET", f"/security-groups/{group_id}", project="green")).json()["security_group"]
    assert [each["protocol"] for each in group["security_group_rules"]] == ["vrrp"]
    assert (await s.make("security_group", name="bare"))["security_group_rules"] == []


async def test_a_group_that_goes_takes_the_default_rules_about_it_along(stored: Scene) -> None:
    s = stored
    bastion = await s.make("security_group", project="admin", admin=True, name="bastion")
    used = {"used_in_default_sg": False, "used_in_non_default_sg": True}
    await s.make(
        "default_security_group_rule", admin=True, direction="ingress", remote_group_id=bastion["id"], **used
    )
    group = await s.make("security_group", name="g")
    assert bastion["id"] in [each["remote_group_id"] for each in group["security_group_rules"]]
    await s.ask("DELETE", f"/security-groups/{bastion['id']}", admin=True, expect=204)
    assert (
        len((await s.ask("GET", "/default-security-group-rules")).json()["default_security_group_rules"]) == 4
    )
    assert len((await s.make("security_group", name="h"))["security_group_rules"]) == 2


async def test_rules_tell_whether_they_are_of_the_default_group(s: Scene) -> None:
    group = await s.make("security_group", name="g")
    own = await rule(s, group["id"], protocol="sctp", port_range_min=7, port_range_max=9)
    assert own["belongs_to_default_sg"] is False
    assert len(await ids(s, "/security-group-rules?belongs_to_default_sg=true")) == 4
    assert await ids(s, "/security-group-rules?belongs_to_default_sg=false&protocol=sctp") == [own["id"]]
    for query in ("port_range_min=7", "port_range_max=9&direction=ingress", "protocol=sctp&ethertype=IPv4"):
        assert await ids(s, f"/security-group-rules?{query}") == [own["id"]]


async def test_two_equal_rules_in_one_call_are_refused_and_none_is_made(s: Scene) -> None:
    group = await s.make("security_group", name="g")
    one = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
    same = {**one, "protocol": "6", "remote_ip_prefix": "0.0.0.0/0"}
    before = await s.store.revision()
    answer = await refused(s, "POST", "/security-group-rules", {"security_group_rules": [one, same]})
    assert answer == (409, "DuplicateSecurityGroupRuleInPost")
    assert await s.store.revision() == before
    made = await s.make("security_group_rule", **one)
    again = await s.ask("POST", "/security-group-rules", {"security_group_rule": same})
    assert error_of(again) == (409, "SecurityGroupRuleExists")
    assert made["id"] in again.text
    after = (await s.ask("GET", f"/security-groups/{group['id']}")).json()["security_group"]
    assert after["revision_number"] == group["revision_number"] + 1


async def test_the_aliases_of_what_is_in_force_are_named(s: Scene) -> None:
    for alias in (
        "address-group",
        "rbac-address-group",
        "security-groups-remote-address-group",
        "stateful-security-group",
        "security-groups-default-rules",
        "security-groups-rules-belongs-to-default-sg",
        "security-groups-normalized-cidr",
    ):
        await s.ask("GET", f"/extensions/{alias}", expect=200)
