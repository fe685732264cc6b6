"""Sharing by RBAC policies through the API: who sees what, what guests may, what holds a policy."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from api_scene import Scene, error_of, scene

SHARED = "access_as_shared"


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene() as opened:
        yield opened


async def share(
    s: Scene, object_id: str, target: str, *, object_type: str = "network", **who: Any
) -> dict[str, Any]:
    """Make a policy, as blue if nobody else is named, and give it."""
    body = {"object_type": object_type, "object_id": object_id, "action": SHARED, "target_tenant": target}
    answer = await s.ask("POST", "/rbac-policies", {"rbac_policy": body}, expect=201, **who)
    made: dict[str, Any] = answer.json()["rbac_policy"]
    return made


async def listed(s: Scene, path: str, **who: Any) -> list[str]:
    answer = (await s.ask("GET", path, expect=200, **who)).json()
    return sorted(each["id"] for name, found in answer.items() if not name.endswith("_links") for each in found)


async def test_a_policy_is_made_shown_found_changed_and_removed(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    made = await share(s, network_id, "green")
    assert made["target_tenant"] == made["target_project"] == "green"
    assert made["project_id"] == made["tenant_id"] == "blue"
    assert (made["object_type"], made["object_id"], made["action"]) == ("network", network_id, SHARED)
    path = f"/rbac-policies/{made['id']}"
    assert (await s.ask("GET", path, expect=200)).json()["rbac_policy"] == made
    group = await s.make("security_group", name="g")
    other = await share(s, group["id"], "green", object_type=" Security_Group ")
    for query, wanted in (
        ("", [made["id"], other["id"]]),
        ("?object_type=network", [made["id"]]),
        (f"?object_id={group['id']}&target_project=green", [other["id"]]),
        ("?target_tenant=red", []),
        (f"?action={SHARED}&limit=1&sort_key=object_type", [made["id"]]),
        ("?project_id=green", []),
    ):
        assert await listed(s, f"/rbac-policies{query}") == sorted(wanted), query
    for name in ("target_tenant", "target_project"):
        changed = await s.ask("PUT", path, {"rbac_policy": {name: f"red-{name}"}}, expect=200)
        assert changed.json()["rbac_policy"]["target_tenant"] == f"red-{name}"
    old = {"If-Match": "revision_number=1"}
    assert error_of(await s.ask("DELETE", path, headers=old)) == (412, "RevisionNumberConstraintFailed")
    await s.ask("DELETE", path, expect=204)
    assert error_of(await s.ask("GET", path)) == (404, "RbacPolicyNotFound")
    details = (await s.ask("GET", "/quotas/blue/details", expect=200)).json()["quota"]
    assert details["rbac_policy"]["used"] == 1


async def test_what_cannot_be_shared_so_is_refused_in_neutrons_words(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    green_id = (await s.make("network", project="green"))["id"]
    await share(s, green_id, "blue", project="green")
    right = {"object_type": "network", "object_id": network_id, "action": SHARED, "target_tenant": "green"}
    nobody = "00000000-0000-4000-8000-000000000000"
    for wrong, status, reason in (
        ({"object_type": "router"}, 400, "InvalidInput"),
        ({"object_type": 7}, 400, "InvalidInput"),
        ({"object_id": "x"}, 400, "HTTPBadRequest"),
        ({"object_id": nobody}, 404, "NetworkNotFound"),
        ({"object_id": nobody, "object_type": "security_group"}, 404, "SecurityGroupNotFound"),
        ({"object_id": green_id}, 400, "InvalidInput"),  # shared with blue, not blue's to share
        ({"action": "access_as_external"}, 400, "InvalidActionForType"),
        ({"action": "access_as_king"}, 400, "InvalidActionForType"),
        ({"target_tenant": "*"}, 403, "PolicyNotAuthorized"),
        ({"target_tenant": ""}, 400, "HTTPBadRequest"),
        ({"target_tenant": None}, 400, "HTTPBadRequest"),
        ({"target_project": "red"}, 400, "HTTPBadRequest"),  # not what target_tenant says
        ({"project_id": "green"}, 400, "HTTPBadRequest"),
        ({"name": "n"}, 400, "HTTPBadRequest"),
    ):
        refused = await s.ask("POST", "/rbac-policies", {"rbac_policy": {**right, **wrong}})
        assert error_of(refused) == (status, reason), wrong
    for name in ("object_type", "object_id", "action", "target_tenant"):
        short = {key: value for key, value in right.items() if key != name}
        assert error_of(await s.ask("POST", "/rbac-policies", {"rbac_policy": short}))[0] == 400, name
    made = await share(s, network_id, "green")
    again = await s.ask("POST", "/rbac-policies", {"rbac_policy": right})
    assert again.json()["NeutronError"] == {
        "type": "DuplicateRbacPolicy",
        "message": "An RBAC policy already exists with those values.",
        "detail": "",
    }
    assert again.status_code == 409
    twice = {"rbac_policies": [{**right, "target_tenant": "red"}, {**right, "target_tenant": "red"}]}
    assert error_of(await s.ask("POST", "/rbac-policies", twice)) == (409, "DuplicateRbacPolicy")
    several = {"rbac_policies": [{**right, "target_tenant": name} for name in ("red", "grey")]}
    assert len((await s.ask("POST", "/rbac-policies", several, expect=201)).json()["rbac_policies"]) == 2
    path = f"/rbac-policies/{made['id']}"
    for body, status in (
        ({"action": SHARED}, 400),
        ({"object_id": network_id}, 400),
        ({"target_tenant": "red"}, 409),
        ({"target_tenant": "*"}, 403),
    ):
        assert error_of(await s.ask("PUT", path, {"rbac_policy": body}))[0] == status, body
    for method in ("GET", "PUT", "DELETE"):
        body = {"rbac_policy": {"target_tenant": "x"}} if method == "PUT" else None
        assert error_of(await s.ask(method, path, body, project="green")) == (404, "RbacPolicyNotFound")


async def test_a_project_sees_what_is_shared_with_it_and_changes_none_of_it(s: Scene) -> None:
    network_id, subnet_id = await s.wired_network(project="blue")
    own_id, own_subnet = await s.wired_network(project="green")
    group = await s.make("security_group", name="g")
    objects = {"networks": network_id, "subnets": subnet_id, "security-groups": group["id"]}
    before = {path: await s.ask("GET", f"/{path}/{id_}", expect=200) for path, id_ in objects.items()}
    for path, id_ in objects.items():
        assert error_of(await s.ask("GET", f"/{path}/{id_}", project="green"))[0] == 404
    policies = [
        await share(s, network_id, "green"),
        await share(s, group["id"], "green", object_type="security_group"),
    ]
    for path, id_ in objects.items():
        singular = path[:-1].replace("-", "_")
        seen = (await s.ask("GET", f"/{path}/{id_}", project="green", expect=200)).json()[singular]
        mine = before[path].json()[singular]
        assert (seen.pop("shared"), mine.pop("shared")) == (True, False)
        for each in (seen, mine):
            each.pop("revision_number")  # a network's grows with its policies
            each.pop("updated_at")
        assert seen == mine
        assert not (await s.ask("GET", f"/{path}/{id_}")).json()[singular]["shared"]
        change = {singular: {"name": "taken"}}
        refused = await s.ask("PUT", f"/{path}/{id_}", change, project="green")
        assert error_of(refused) == (403, "PolicyNotAuthorized")
        message = refused.json()["NeutronError"]["message"]
        assert message == f"rule:update_{singular} is disallowed by policy"
        assert error_of(await s.ask("DELETE", f"/{path}/{id_}", project="green"))[0] == 403
        assert error_of(await s.ask("PUT", f"/{path}/{id_}/tags", {"tags": ["t"]}, project="green"))[0] == 403
        await s.ask("GET", f"/{path}/{id_}/tags", project="green", expect=200)
        assert id_ in await listed(s, f"/{path}", project="green")
        assert await listed(s, f"/{path}?shared=true", project="green") == [id_]
        assert id_ not in await listed(s, f"/{path}?shared=False", project="green")
        assert await listed(s, f"/{path}?project_id=blue", project="green") == [id_]
        assert await listed(s, f"/{path}?name=net&shared=1&fields=id&limit=1", project="grey") == []
    assert await listed(s, "/networks", project="green") == sorted([own_id, network_id])
    assert await listed(s, "/subnets", project="green") == sorted([own_subnet, subnet_id])
    paged = (await s.ask("GET", "/networks?limit=1", project="green", expect=200)).json()
    link = paged["networks_links"][0]
    following = (await s.client.get(link["href"], headers={"X-Project-Id": "green"})).json()
    assert {paged["networks"][0]["id"], following["networks"][0]["id"]} == {own_id, network_id}
    subnet = {"subnet": {"network_id": network_id, "ip_version": 4, "cidr": "10.9.0.0/24"}}
    assert error_of(await s.ask("POST", "/subnets", subnet, project="green")) == (403, "PolicyNotAuthorized")
    rule = {"security_group_rule": {"security_group_id": group["id"], "direction": "ingress"}}
    assert error_of(await s.ask("POST", "/security-group-rules", rule, project="green"))[0] == 403
    rule_id = group["security_group_rules"][0]["id"]
    for method in ("GET", "DELETE"):  # shown with the group only
        assert error_of(await s.ask(method, f"/security-group-rules/{rule_id}", project="green"))[0] == 404
    remote = {**rule["security_group_rule"], "remote_group_id": group["id"]}
    remote["security_group_id"] = (await s.make("security_group", name="mine", project="green"))["id"]
    await s.ask("POST", "/security-group-rules", {"security_group_rule": remote}, project="green", expect=201)
    for policy in policies:
        await s.ask("DELETE", f"/rbac-policies/{policy['id']}", expect=204)
    for path, id_ in objects.items():
        assert error_of(await s.ask("GET", f"/{path}/{id_}", project="green"))[0] == 404
        assert id_ not in await listed(s, f"/{path}", project="green")


async def test_shared_is_a_policy_for_everybody_that_administrators_make(s: Scene) -> None:
    for method, path, body in (
        ("POST", "/networks", {"network": {"shared": True}}),
        ("PUT", f"/networks/{(await s.make('network', shared=False))['id']}", {"network": {"shared": False}}),
    ):
        assert error_of(await s.ask(method, path, body)) == (403, "PolicyNotAuthorized")
    made = await s.make("network", name="open", shared=True, project_id="blue", admin=True)
    assert made["shared"]
    assert (await s.ask("GET", f"/networks/{made['id']}")).json()["network"]["shared"]
    (policy,) = (await s.ask("GET", "/rbac-policies", expect=200)).json()["rbac_policies"]
    assert (policy["target_tenant"], policy["object_id"], policy["project_id"]) == ("*", made["id"], "blue")
    assert await listed(s, "/networks", project="anyone") == [made["id"]]
    assert await listed(s, "/networks?shared=true", project="admin", admin=True) == [made["id"]]
    path = f"/networks/{made['id']}"
    for shared in (True, False, False, True):
        changed = await s.ask("PUT", path, {"network": {"shared": shared}}, admin=True, expect=200)
        assert changed.json()["network"]["shared"] is shared
        assert len(await listed(s, "/rbac-policies")) == shared
        assert await listed(s, "/networks", project="anyone") == [made["id"]] * shared
    await s.make("port", network_id=made["id"], project="green")
    refused = await s.ask("PUT", path, {"network": {"shared": False}}, admin=True)
    assert error_of(refused) == (409, "InvalidSharedSetting")
    (policy,) = (await s.ask("GET", "/rbac-policies")).json()["rbac_policies"]
    refused = await s.ask("DELETE", f"/rbac-policies/{policy['id']}")
    assert error_of(refused) == (409, "RbacPolicyInUse")
    assert refused.json()["NeutronError"]["message"] == (
        f"RBAC policy on object {made['id']} cannot be removed because other objects depend on it.\n"
        f"Details: Unable to reconfigure sharing settings for network {made['id']}. "
        "Multiple projects are using it."
    )
    await share(s, made["id"], "green", admin=True)
    await s.ask("PUT", path, {"network": {"shared": False}}, admin=True, expect=200)
    assert error_of(await s.ask("DELETE", path)) == (409, "NetworkInUse")
    (port_id,) = await listed(s, "/ports", project="green")
    await s.ask("DELETE", f"/ports/{port_id}", expect=204)  # the network's owner may
    await s.ask("DELETE", path, expect=204)
    assert await listed(s, "/rbac-policies", admin=True) == []


async def test_what_guests_may_say_of_their_ports_and_who_sees_them(s: Scene) -> None:
    network_id, subnet_id = await s.wired_network()
    await share(s, network_id, "green")
    own = await s.make("port", network_id=network_id)
    for said, rule in (
        ({"mac_address": "fa:16:3e:00:00:01"}, "mac_address"),
        ({"fixed_ips": [{"ip_address": "10.0.0.9"}]}, "fixed_ips:ip_address"),
        ({"fixed_ips": [{"subnet_id": subnet_id, "ip_address": "10.0.0.9"}]}, "fixed_ips:ip_address"),
        ({"port_security_enabled": True}, "port_security_enabled"),
        ({"allowed_address_pairs": []}, "allowed_address_pairs"),
        ({"device_owner": "network:dhcp"}, "device_owner"),
    ):
        refused = await s.ask("POST", "/ports", {"port": {"network_id": network_id, **said}}, project="green")
        assert error_of(refused) == (403, "PolicyNotAuthorized"), said
        message = refused.json()["NeutronError"]["message"]
        assert message == f"(rule:create_port and rule:create_port:{rule}) is disallowed by policy"
    guest = await s.make(
        "port",
        network_id=network_id,
        fixed_ips=[{"subnet_id": subnet_id}],
        device_owner="compute:nova",
        name="vm",
        tags=["t"],
        project="green",
    )
    assert guest["project_id"] == "green"
    group = await s.make("port_group", network_id=network_id, count=2, project="green")
    path = f"/ports/{guest['id']}"
    for said in (
        {"fixed_ips": [{"subnet_id": subnet_id}]},
        {"mac_address": "fa:16:3e:00:00:01"},
        {"port_security_enabled": True},
        {"allowed_address_pairs": [{"ip_address": "10.0.0.7"}]},
        {"device_owner": "network:dhcp"},
    ):
        refused = await s.ask("PUT", path, {"port": said}, project="green")
        assert error_of(refused) == (403, "PolicyNotAuthorized"), said
    await s.ask("PUT", path, {"port": {"name": "renamed", "security_groups": []}}, project="green", expect=200)
    # The owner of the network sees all ports on it, and may remove them; guests see their own.
    assert len(await listed(s, "/ports")) == 4
    assert len(await listed(s, f"/ports?network_id={network_id}&project_id=green")) == 3
    assert len(await listed(s, "/ports", project="green")) == 3
    shown = (await s.ask("GET", path, expect=200)).json()["port"]
    assert (shown["name"], shown["project_id"]) == ("renamed", "green")
    assert error_of(await s.ask("PUT", path, {"port": {"name": "x"}})) == (403, "PolicyNotAuthorized")
    assert error_of(await s.ask("GET", f"/ports/{own['id']}", project="green"))[0] == 404
    assert error_of(await s.ask("DELETE", f"/ports/{own['id']}", project="green"))[0] == 404
    assert error_of(await s.ask("GET", path, project="red"))[0] == 404
    await s.ask("DELETE", path, expect=204)
    await s.ask("DELETE", f"/port-groups/{group['id']}", project="green", expect=204)
    assert await listed(s, "/ports", project="green") == []
    # An administrator may say anything.
    said = {"network_id": network_id, "fixed_ips": [{"ip_address": "10.0.0.9"}], "project_id": "green"}
    await s.make("port", **said, mac_address="fa:16:3e:00:00:01", admin=True)


async def test_a_policy_stays_while_somebody_depends_on_it_and_not_longer(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    first = await share(s, network_id, "green")
    port = await s.make("port", network_id=network_id, project="green")
    path = f"/rbac-policies/{first['id']}"

    async def refused(method: str = "DELETE", body: Any = None, **who: Any) -> None:
        assert error_of(await s.ask(method, path, body, **who)) == (409, "RbacPolicyInUse")

    await refused()
    await refused("PUT", {"rbac_policy": {"target_tenant": "red"}})
    third = await share(s, network_id, "red")
    await refused()
    await s.ask("DELETE", f"/rbac-policies/{third['id']}", expect=204)
    everybody = await share(s, network_id, "*", admin=True, project="admin")
    await s.ask("PUT", path, {"rbac_policy": {"target_tenant": "red"}}, expect=200)
    assert error_of(await s.ask("DELETE", f"/rbac-policies/{everybody['id']}", admin=True)) == (
        409,
        "RbacPolicyInUse",
    )
    await s.ask("PUT", path, {"rbac_policy": {"target_tenant": "green"}}, expect=200)
    narrow = {"rbac_policy": {"target_tenant": "grey"}}
    await s.ask("PUT", f"/rbac-policies/{everybody['id']}", narrow, admin=True, expect=200)
    await s.ask("PUT", path, {"rbac_policy": {"target_tenant": "*"}}, admin=True, expect=200)
    await refused("PUT", {"rbac_policy": {"target_tenant": "red"}})
    await s.ask("DELETE", f"/ports/{port['id']}", project="green", expect=204)
    await s.ask("DELETE", path, expect=204)
    # One for the owner itself holds nothing.
    own = await share(s, network_id, "blue")
    await s.make("port", network_id=network_id)
    assert (await s.ask("GET", f"/networks/{network_id}")).json()["network"]["shared"]
    await s.ask("DELETE", f"/rbac-policies/{own['id']}", expect=204)


async def test_groups_that_are_shared_hold_ports_of_others(s: Scene) -> None:
    network_id, _ = await s.wired_network(project="green")
    group = await s.make("security_group", name="g")
    asked = {"port": {"network_id": network_id, "security_groups": [group["id"]]}}
    assert error_of(await s.ask("POST", "/ports", asked, project="green")) == (404, "SecurityGroupNotFound")
    policy = await share(s, group["id"], "green", object_type="security_group")
    path = f"/rbac-policies/{policy['id']}"
    made = (await s.ask("POST", "/ports", asked, project="green", expect=201)).json()["port"]
    late = await s.make("port", network_id=network_id, project="green")
    both = {"port": {"security_groups": [group["id"], *late["security_groups"]]}}
    await s.ask("PUT", f"/ports/{late['id']}", both, project="green", expect=200)
    await s.ask("DELETE", f"/ports/{made['id']}", project="green", expect=204)
    refused = await s.ask("DELETE", path)
    assert error_of(refused) == (409, "RbacPolicyInUse")
    assert refused.json()["NeutronError"]["message"].endswith("\nDetails: project_id=green")
    assert error_of(await s.ask("DELETE", f"/security-groups/{group['id']}")) == (409, "SecurityGroupInUse")
    assert error_of(await s.ask("GET", f"/ports/{late['id']}"))[0] == 404  # a group's owner sees no members
    rest = {"port": {"name": "kept", "security_groups": late["security_groups"]}}
    await s.ask("PUT", f"/ports/{late['id']}", rest, project="green", expect=200)
    await s.ask("DELETE", path, expect=204)
    assert error_of(await s.ask("PUT", f"/ports/{late['id']}", both, project="green"))[0] == 404
    await share(s, group["id"], "*", object_type="security_group", admin=True)
    assert group["id"] in await listed(s, "/security-groups?shared=true", project="anyone")
    await s.ask("DELETE", f"/security-groups/{group['id']}", expect=204)
    assert await listed(s, "/rbac-policies", admin=True) == []


async def test_routers_join_subnets_that_are_shared_with_their_project_by_name(s: Scene) -> None:
    network_id, subnet_id = await s.wired_network()
    router = await s.make("router", project="green")
    join = f"/routers/{router['id']}/add_router_interface"

    async def asked(**body: str) -> Any:
        return await s.ask("PUT", join, body, project="green")

    assert error_of(await asked(subnet_id=subnet_id)) == (404, "SubnetNotFound")
    await share(s, network_id, "*", admin=True)
    refused = await asked(subnet_id=subnet_id)
    assert error_of(refused) == (400, "BadRequest")
    assert "not owned by project making the request" in refused.json()["NeutronError"]["message"]
    port = await s.make("port", network_id=network_id, project="green")
    assert (await asked(port_id=port["id"])).status_code == 200
    leave = {"port_id": port["id"]}
    await s.ask("PUT", f"/routers/{router['id']}/remove_router_interface", leave, project="green", expect=200)
    policy = await share(s, network_id, "green")
    joined = await asked(subnet_id=subnet_id)
    assert joined.status_code == 200, joined.text
    interface = f"/ports/{joined.json()['port_id']}"
    assert (await s.ask("GET", interface, expect=200)).json()["port"]["project_id"] == "green"
    assert error_of(await s.ask("DELETE", interface)) == (409, "ServicePortInUse")
    await s.ask("DELETE", f"/rbac-policies/{policy['id']}", expect=204)  # there is one for everybody
    guest = await s.make("port", network_id=network_id, project="red")
    own = await s.make("router")
    theirs = {"port_id": guest["id"]}
    refused = await s.ask("PUT", f"/routers/{own['id']}/add_router_interface", theirs)
    assert error_of(refused) == (403, "PolicyNotAuthorized")  # the network's owner sees it, no more


async def test_the_aliases_say_what_can_be_shared(s: Scene) -> None:
    shown = (await s.ask("GET", "/extensions", expect=200)).json()["extensions"]
    aliases = {each["alias"] for each in shown}
    assert {"rbac-policies", "rbac-security-groups", "security-groups-shared-filtering"} <= aliases


async def test_a_project_is_told_of_what_is_shared_with_it(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    await s.wired_network(cidr="10.1.0.0/24")
    since = await s.store.revision()
    policy = await share(s, network_id, "green")
    subnet = {"network_id": network_id, "ip_version": 4, "cidr": "10.2.0.0/24"}
    late = await s.make("subnet", **subnet)
    guest = await s.make("port", network_id=network_id, project="green")
    await s.ask("DELETE", f"/ports/{guest['id']}", project="green", expect=204)
    await s.ask("DELETE", f"/subnets/{late['id']}", expect=204)
    await s.ask("DELETE", f"/rbac-policies/{policy['id']}", expect=204)
    await s.ask("PUT", f"/networks/{network_id}", {"network": {"name": "mine"}}, expect=200)

    async def told(project: str) -> list[str]:
        answer = await s.ask("GET", f"/events?since={since}&follow=false", project=project, expect=200)
        lines = [
            line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")
        ]
        assert ('"object_type":"network"' in answer.text) == (project != "red")
        return [line for line in lines if not line.startswith("security_group")]

    ended = ["port.deleted", "subnet.deleted", "network.updated", "rbac_policy.deleted", "network.updated"]
    owners = ["network.updated", "rbac_policy.created", "network.updated", "subnet.created", "port.created"]
    assert sorted(await told("blue")) == sorted(owners + ended)
    # Though nothing is shared any more when the stream begins.
    assert await told("green") == [
        "network.updated",
        "rbac_policy.created",
        "network.updated",
        "subnet.created",
        "port.created",
        "port.deleted",
        "subnet.deleted",
        "rbac_policy.deleted",
    ]
    assert await told("red") == []


async def test_a_request_that_is_sent_again_makes_one_policy(s: Scene) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"network": {"name": "n", "shared": True}}
    first, again = [await s.ask("POST", "/networks", body, admin=True, headers=key, expect=201) for _ in "ab"]
    assert first.json() == again.json()
    assert first.json()["network"]["shared"]
    assert len(await listed(s, "/rbac-policies", admin=True)) == 1


async def test_guests_share_the_limits_of_their_own_project() -> None:
    store = MemoryStore(limits={"port": 2, "rbac_policy": 1, "network": 10})
    async with scene(store=store, allocator=MemoryAllocator(store)) as s:
        network_id, _ = await s.wired_network()
        await share(s, network_id, "green")
        for project in ("green", "blue"):
            await s.make("port", network_id=network_id, project=project)
            await s.make("port", network_id=network_id, project=project)
            third = {"port": {"network_id": network_id}}
            assert error_of(await s.ask("POST", "/ports", third, project=project)) == (409, "OverQuota")
        body = {"object_type": "network", "object_id": network_id, "action": SHARED, "target_tenant": "red"}
        assert error_of(await s.ask("POST", "/rbac-policies", {"rbac_policy": body})) == (409, "OverQuota")
