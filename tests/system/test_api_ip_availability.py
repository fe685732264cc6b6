"""Network IP availability over HTTP, over every store."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alcor.adapters.postgres.store import PostgresStore
from api_scene import Scene, error_of, scene, stored_scene

PATH = "/network-ip-availabilities"


@pytest.fixture
async def memory() -> AsyncIterator[Scene]:
    async with scene() as s:
        yield s


@pytest.fixture
async def postgres(postgres_store: PostgresStore) -> AsyncIterator[Scene]:
    async with stored_scene(postgres_store) as s:
        yield s


@pytest.fixture(params=["memory", "postgres"])
def s(request: pytest.FixtureRequest) -> Scene:
    opened: Scene = request.getfixturevalue(request.param)
    return opened


async def shown(s: Scene, network_id: str) -> Any:
    answer = await s.ask("GET", f"{PATH}/{network_id}", admin=True, expect=200)
    return answer.json()["network_ip_availability"]


async def listed(s: Scene, query: str = "") -> list[str]:
    answer = await s.ask("GET", PATH + query, admin=True, expect=200)
    return [each["network_id"] for each in answer.json()["network_ip_availabilities"]]


async def test_it_counts_what_ports_hold_of_each_subnet(s: Scene) -> None:
    network_id, subnet_id = await s.wired_network("10.0.0.0/24")
    pools = [{"start": "10.1.0.10", "end": "10.1.0.13"}, {"start": "10.1.0.20", "end": "10.1.0.20"}]
    second = await s.make(
        "subnet", name="b", network_id=network_id, ip_version=4, cidr="10.1.0.0/24", allocation_pools=pools
    )
    both = [{"subnet_id": subnet_id}, {"subnet_id": second["id"]}, {"ip_address": "10.1.0.99"}]
    port = await s.make("port", network_id=network_id, fixed_ips=both)
    found = await shown(s, network_id)
    subnets = {each["subnet_id"]: each for each in found.pop("subnet_ip_availability")}
    assert found == {
        "network_id": network_id,
        "network_name": "net",
        "project_id": "blue",
        "tenant_id": "blue",
        "total_ips": 253 + 5,
        "used_ips": 3,
    }
    assert subnets[second["id"]] == {
        "subnet_id": second["id"],
        "subnet_name": "b",
        "cidr": "10.1.0.0/24",
        "ip_version": 4,
        "total_ips": 5,
        "used_ips": 2,
    }
    assert (subnets[subnet_id]["total_ips"], subnets[subnet_id]["used_ips"]) == (253, 1)
    await s.ask("DELETE", f"/ports/{port['id']}", expect=204)
    assert (await shown(s, network_id))["used_ips"] == 0


async def test_lists_are_filtered_sorted_and_paged(s: Scene) -> None:
    blue, _ = await s.wired_network()
    red, _ = await s.wired_network(project="red")
    bare = (await s.make("network", name="bare"))["id"]
    assert set(await listed(s)) == {blue, red, bare}
    assert await listed(s, "?network_name=bare") == [bare]
    assert await listed(s, f"?network_id={red}") == await listed(s, "?tenant_id=red") == [red]
    assert set(await listed(s, "?ip_version=4")) == {blue, red}
    assert await listed(s, "?ip_version=6") == []
    down = await listed(s, "?sort_key=network_id&sort_dir=desc")
    assert down == sorted((blue, red, bare), reverse=True)
    first = await listed(s, "?limit=2")
    assert [*first, *await listed(s, f"?limit=2&marker={first[-1]}")] == sorted(down)
    refused = await s.ask("GET", f"{PATH}?total_ips=3", admin=True)
    assert error_of(refused)[0] == 400
    only = await s.ask("GET", f"{PATH}/{bare}?fields=used_ips", admin=True, expect=200)
    assert only.json() == {"network_ip_availability": {"used_ips": 0}}


async def test_only_administrators_see_any(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    assert (await s.ask("GET", PATH, expect=200)).json() == {"network_ip_availabilities": []}
    assert error_of(await s.ask("GET", f"{PATH}/{network_id}")) == (404, "NetworkNotFound")
    assert error_of(await s.ask("GET", f"{PATH}/nothing", admin=True)) == (404, "NetworkNotFound")
