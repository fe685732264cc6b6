"""Auto-allocated topologies: made once however many ask, whole or not at all, and removed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alcor.adapters.postgres.store import PostgresStore
from api_scene import Scene, error_of, scene, stored_scene

PATH = "/auto-allocated-topology"
OPERATOR: Any = {"project": "ops", "admin": True}


@pytest.fixture(params=["memory", "postgres"])
async def s(request: pytest.FixtureRequest, postgres_store: PostgresStore) -> AsyncIterator[Scene]:
    async with scene() if request.param == "memory" else stored_scene(postgres_store) as opened:
        yield opened


async def default_pool(s: Scene, *, prefix: str = "10.0.0.0/16", length: int = 26) -> str:
    said = {"name": "p", "prefixes": [prefix], "default_prefixlen": length, "is_default": True, "shared": True}
    id_: str = (await s.make("subnetpool", **said, **OPERATOR))["id"]
    return id_


async def listed(s: Scene, plural: str, project: str) -> list[Any]:
    found: list[Any] = (await s.ask("GET", f"/{plural}", project=project)).json()[plural]
    return found


async def test_many_who_ask_at_once_get_one_network_with_a_subnet_and_a_router(s: Scene) -> None:
    await default_pool(s)
    asked = await asyncio.gather(
        *(s.ask("GET", f"{PATH}/{name}", project="blue") for name in ("blue", "null", "None") for _ in range(6))
    )
    assert {answer.status_code for answer in asked} == {200}
    (network_id,) = {answer.json()["auto_allocated_topology"]["id"] for answer in asked}
    assert sum("x-alcor-revision" in answer.headers for answer in asked) == 1
    assert asked[0].json() == {
        "auto_allocated_topology": {"id": network_id, "project_id": "blue", "tenant_id": "blue"}
    }
    (network,), (subnet,), (router,) = [
        await listed(s, it, "blue") for it in ("networks", "subnets", "routers")
    ]
    assert (network["id"], network["name"]) == (network_id, "auto_allocated_network")
    assert (subnet["network_id"], subnet["cidr"]) == (network_id, "10.0.0.0/26")
    interface = (await s.ask("GET", f"/ports?device_id={router['id']}")).json()["ports"][0]
    assert interface["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.1"}]
    other = (await s.ask("GET", f"{PATH}/red", **OPERATOR, expect=200)).json()["auto_allocated_topology"]
    assert other["id"] != network_id
    assert [it["cidr"] for it in await listed(s, "subnets", "red")] == ["10.0.0.64/26"]
    assert error_of(await s.ask("GET", f"{PATH}/red"))[0] == 403
    quotas = (await s.ask("GET", "/quotas/blue/details")).json()["quota"]
    assert [quotas[kind]["used"] for kind in ("network", "subnet", "router", "port")] == [1, 1, 1, 1]


async def test_a_topology_is_removed_whole_when_nobody_uses_it(s: Scene) -> None:
    pool = await default_pool(s)
    await s.ask("DELETE", f"{PATH}/blue", expect=204)  # there is none
    network_id = (await s.ask("GET", f"{PATH}/blue")).json()["auto_allocated_topology"]["id"]
    port = await s.make("port", network_id=network_id)
    assert error_of(await s.ask("DELETE", f"{PATH}/blue")) == (409, "NetworkInUse")
    await s.ask("DELETE", f"/ports/{port['id']}", expect=204)
    (router,) = await listed(s, "routers", "blue")
    _, subnet_id = await s.wired_network("192.168.0.0/24")
    join = {"subnet_id": subnet_id}
    await s.ask("PUT", f"/routers/{router['id']}/add_router_interface", join, expect=200)
    assert error_of(await s.ask("DELETE", f"{PATH}/blue")) == (409, "RouterInUse")
    await s.ask("PUT", f"/routers/{router['id']}/remove_router_interface", join, expect=200)
    assert error_of(await s.ask("DELETE", f"{PATH}/blue", project="red"))[0] == 403
    ended = await asyncio.gather(*(s.ask("DELETE", f"{PATH}/blue") for _ in range(4)))
    assert [answer.status_code for answer in ended] == [204] * 4
    assert await listed(s, "routers", "blue") == []
    assert [it["name"] for it in await listed(s, "networks", "blue")] == ["net"]
    await s.ask("GET", f"{PATH}/blue", expect=200)  # and made anew
    await s.ask("DELETE", f"{PATH}/blue", expect=204)
    await s.ask("DELETE", f"/subnetpools/{pool}", **OPERATOR, expect=204)


async def test_without_a_default_pool_or_room_in_it_nothing_is_made(s: Scene) -> None:
    for query in ("", "?fields=dry-run"):
        answer = await s.ask("GET", f"{PATH}/blue{query}")
        assert error_of(answer) == (409, "AutoAllocationFailure")
    pool = await default_pool(s, prefix="10.0.0.0/26", length=26)
    answer = await s.ask("GET", f"{PATH}/null?fields=dry-run", expect=200)
    assert answer.json()["auto_allocated_topology"]["id"] == "dry-run=pass"
    assert error_of(await s.ask("GET", f"{PATH}/blue?fields=id")) == (400, "BadRequest")
    assert await listed(s, "networks", "blue") == []
    await s.ask("GET", f"{PATH}/blue", expect=200)
    assert error_of(await s.ask("GET", f"{PATH}/red", project="red")) == (409, "AutoAllocationFailure")
    await s.ask(
        "PUT", f"/subnetpools/{pool}", {"subnetpool": {"prefixes": ["10.0.0.0/24"]}}, **OPERATOR, expect=200
    )
    await s.ask("PUT", "/quotas/red", {"quota": {"router": 0}}, admin=True, expect=200)
    assert error_of(await s.ask("GET", f"{PATH}/red", project="red")) == (409, "OverQuota")
    assert await listed(s, "networks", "red") == []
