"""Subnet pools and address scopes that projects share, over HTTP, in every store."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alcor.adapters.postgres.store import PostgresStore
from api_scene import Scene, error_of, scene, stored_scene

RED: Any = {"project": "red"}
OPERATOR: Any = {"project": "ops", "admin": True}


@pytest.fixture(params=["memory", "postgres"])
async def s(request: pytest.FixtureRequest, postgres_store: PostgresStore) -> AsyncIterator[Scene]:
    async with scene() if request.param == "memory" else stored_scene(postgres_store) as opened:
        yield opened


async def subnet(s: Scene, project: str, **said: Any) -> Any:
    network = await s.make("network", project=project)
    body = {"subnet": {"network_id": network["id"], "ip_version": 4, **said}}
    return await s.ask("POST", "/subnets", body, project=project)


async def share(s: Scene, kind: str, object_id: str, target: str, **who: Any) -> Any:
    body = {"object_type": kind, "object_id": object_id, "action": "access_as_shared", "target_tenant": target}
    return await s.ask("POST", "/rbac-policies", {"rbac_policy": body}, **who)


async def test_a_shared_default_pool_serves_every_project_within_its_quota(s: Scene) -> None:
    pool = await s.make(
        "subnetpool",
        name="p",
        prefixes=["10.0.0.0/16"],
        default_prefixlen=24,
        default_quota=512,
        is_default=True,
        shared=True,
        **OPERATOR,
    )
    assert pool["shared"]
    path = f"/subnetpools/{pool['id']}"
    assert (await s.ask("GET", path, **RED, expect=200)).json()["subnetpool"]["shared"]
    assert len((await s.ask("GET", "/subnetpools?shared=true", **RED)).json()["subnetpools"]) == 1
    for project in ("red", "blue"):
        made = [await subnet(s, project, use_default_subnetpool=True) for _ in range(3)]
        assert [answer.status_code for answer in made] == [201, 201, 409]
        assert error_of(made[2])[1] == "SubnetPoolQuotaExceeded"
    for method, body in (("PUT", {"subnetpool": {"name": "mine"}}), ("DELETE", None)):
        assert error_of(await s.ask(method, path, body, **RED))[0] == 403
    assert error_of(await s.ask("PUT", f"{path}/add_prefixes", {"prefixes": ["10.1.0.0/16"]}, **RED))[0] == 403
    # What is cut by others comes back to the pool, and then it goes with its policies.
    for project in ("red", "blue"):
        for network in (await s.ask("GET", "/networks", project=project)).json()["networks"]:
            await s.ask("DELETE", f"/networks/{network['id']}", project=project, expect=204)
    await s.ask("DELETE", path, **OPERATOR, expect=204)
    assert (await s.ask("GET", "/rbac-policies", **OPERATOR)).json()["rbac_policies"] == []


async def test_a_pool_is_shared_with_one_project_until_nothing_of_it_is_used(s: Scene) -> None:
    pool = await s.make("subnetpool", name="p", prefixes=["10.0.0.0/16"], default_prefixlen=24)
    from_pool = {"subnetpool_id": pool["id"]}
    assert error_of(await subnet(s, "red", **from_pool)) == (404, "SubnetPoolNotFound")
    policy = (await share(s, "subnetpool", pool["id"], "red")).json()["rbac_policy"]["id"]
    own = await subnet(s, "blue", **from_pool)
    theirs = (await subnet(s, "red", **from_pool)).json()["subnet"]
    assert (own.status_code, theirs["subnetpool_id"]) == (201, pool["id"])
    assert error_of(await subnet(s, "green", **from_pool)) == (404, "SubnetPoolNotFound")
    assert error_of(await s.ask("DELETE", f"/rbac-policies/{policy}")) == (409, "RbacPolicyInUse")
    await s.ask("DELETE", f"/subnets/{theirs['id']}", **RED, expect=204)
    await s.ask("DELETE", f"/rbac-policies/{policy}", expect=204)
    assert error_of(await s.ask("GET", f"/subnetpools/{pool['id']}", **RED))[0] == 404


async def test_a_pool_in_a_scope_is_shared_with_who_may_use_the_scope(s: Scene) -> None:
    scope = await s.make("address_scope", name="s", ip_version=4)
    said = {"name": "p", "prefixes": ["10.0.0.0/16"], "address_scope_id": scope["id"]}
    pool = await s.make("subnetpool", **said)
    refused = await share(s, "subnetpool", pool["id"], "red")
    assert error_of(refused) == (409, "RbacPolicyInitError")
    assert (await share(s, "subnetpool", pool["id"], "blue")).status_code == 201  # whose scope it is
    await share(s, "address_scope", scope["id"], "red")
    assert (await share(s, "subnetpool", pool["id"], "red")).status_code == 201
    assert error_of(await share(s, "subnetpool", pool["id"], "*", **OPERATOR))[0] == 409
    await share(s, "address_scope", scope["id"], "*", **OPERATOR)
    assert (await share(s, "subnetpool", pool["id"], "*", **OPERATOR)).status_code == 201


async def test_a_shared_scope_holds_pools_of_several_projects_apart(s: Scene) -> None:
    scope = await s.make("address_scope", name="region", ip_version=4, shared=True, **OPERATOR)
    said = {"name": "p", "prefixes": ["10.0.0.0/16"], "default_prefixlen": 24, "address_scope_id": scope["id"]}
    blue = await s.make("subnetpool", **said)
    overlapping = {"subnetpool": {**said, "prefixes": ["10.0.4.0/22"]}}
    assert error_of(await s.ask("POST", "/subnetpools", overlapping, **RED)) == (
        409,
        "AddressScopePrefixConflict",
    )
    await s.make("subnetpool", **{**said, "prefixes": ["10.1.0.0/16"]}, **RED)
    grown = await s.ask("PUT", f"/subnetpools/{blue['id']}", {"subnetpool": {"name": "q"}})
    assert error_of(grown) == (400, "IllegalSubnetPoolUpdate")  # the scope is another's
    path = f"/address-scopes/{scope['id']}"
    assert error_of(await s.ask("PUT", path, {"address_scope": {"name": "mine"}}, **RED))[0] == 403
    assert error_of(await s.ask("DELETE", path, **RED))[0] == 403
    unshared = await s.ask("PUT", path, {"address_scope": {"shared": False}}, **OPERATOR)
    assert error_of(unshared) == (400, "AddressScopeUpdateError")
    for project in ("blue", "red"):
        for pool in (await s.ask("GET", "/subnetpools", project=project)).json()["subnetpools"]:
            await s.ask("DELETE", f"/subnetpools/{pool['id']}", project=project, expect=204)
    await s.ask("PUT", path, {"address_scope": {"shared": False}}, **OPERATOR, expect=200)
    assert error_of(await s.ask("GET", path, **RED))[0] == 404
    await s.ask("PUT", path, {"address_scope": {"shared": True}}, **OPERATOR, expect=200)
    await s.ask("DELETE", path, **OPERATOR, expect=204)
