"""Extra routes over the API, as Neutron has them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api_scene import Scene, error_of, scene

ROUTE = {"destination": "172.20.0.0/16", "nexthop": "10.0.0.5"}
OTHER = {"destination": "172.20.0.0/16", "nexthop": "10.0.0.6"}


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene() as opened:
        yield opened


async def joined_router(s: Scene) -> tuple[str, str]:
    """Make a router with one subnet; give the paths of both."""
    _, subnet_id = await s.wired_network()
    router = await s.make("router", name="r")
    path = f"/routers/{router['id']}"
    await s.ask("PUT", f"{path}/add_router_interface", {"subnet_id": subnet_id}, expect=200)
    return path, subnet_id


async def put(s: Scene, path: str, routes: Any) -> Any:
    return await s.ask("PUT", path, {"router": {"routes": routes}})


async def test_routes_are_set_whole_added_and_removed(s: Scene) -> None:
    path, subnet_id = await joined_router(s)
    assert (await s.ask("GET", path)).json()["router"]["routes"] == []
    answer = await put(s, path, [OTHER, ROUTE])
    assert answer.json()["router"]["routes"] == [ROUTE, OTHER]
    revision = answer.json()["router"]["revision_number"]
    answer = await put(s, f"{path}/remove_extraroutes", [OTHER, {**OTHER, "nexthop": "10.0.0.9"}])
    assert answer.status_code == 200
    assert answer.json()["router"]["routes"] == [ROUTE]
    assert answer.json()["router"]["revision_number"] == revision + 1
    answer = await put(
        s, f"{path}/add_extraroutes", [ROUTE, {"destination": "0.0.0.0/0", "nexthop": "10.0.0.7"}]
    )
    assert [route["destination"] for route in answer.json()["router"]["routes"]] == [
        "0.0.0.0/0",
        "172.20.0.0/16",
    ]
    refused = await s.ask("PUT", f"{path}/remove_router_interface", {"subnet_id": subnet_id})
    assert error_of(refused) == (409, "RouterInterfaceInUseByRoute")
    assert (await put(s, path, None)).json()["router"]["routes"] == []
    await s.ask("PUT", f"{path}/remove_router_interface", {"subnet_id": subnet_id}, expect=200)


@pytest.mark.parametrize(
    ("routes", "error"),
    [
        ([{"destination": "172.20.0.0/16", "nexthop": "10.0.9.5"}], (400, "InvalidRoutes")),
        ([{"destination": "172.20.0.0/16", "nexthop": "10.0.0.1"}], (400, "InvalidRoutes")),
        ([ROUTE, ROUTE], (400, "HTTPBadRequest")),
        ([ROUTE, {**ROUTE, "destination": "172.20.1.1/16"}], (400, "HTTPBadRequest")),
        ([{"destination": "172.20.0.0", "nexthop": "10.0.0.5"}], (400, "HTTPBadRequest")),
        ([{"destination": "fd00::/64", "nexthop": "10.0.0.5"}], (400, "HTTPBadRequest")),
        ([{"destination": "172.20.0.0/16", "nexthop": "fd00::5"}], (400, "HTTPBadRequest")),
        ([{"destination": "172.20.0.0/16"}], (400, "HTTPBadRequest")),
        ([{**ROUTE, "metric": 5}], (400, "HTTPBadRequest")),
        ("all", (400, "HTTPBadRequest")),
        (
            [{"destination": f"172.{number}.0.0/16", "nexthop": "10.0.0.5"} for number in range(31)],
            (400, "RoutesExhausted"),
        ),
    ],
)
async def test_routes_that_cannot_be_are_refused(s: Scene, routes: Any, error: tuple[int, str]) -> None:
    path, _ = await joined_router(s)
    for action in ("", "/add_extraroutes"):
        assert error_of(await put(s, path + action, routes)) == error
    assert (await s.ask("GET", path)).json()["router"]["routes"] == []


async def test_what_is_no_body_of_routes_is_refused(s: Scene) -> None:
    path, _ = await joined_router(s)
    for body in ({}, {"router": {}}, {"routes": [ROUTE]}, {"router": {"routes": [ROUTE], "name": "x"}}, []):
        assert error_of(await s.ask("PUT", f"{path}/add_extraroutes", body)) == (400, "HTTPBadRequest")
    made = await s.ask("POST", "/routers", {"router": {"routes": [ROUTE]}})
    assert error_of(made) == (400, "HTTPBadRequest"), "as in Neutron: only by PUT"


async def test_a_next_hop_that_is_another_routers_is_refused(s: Scene) -> None:
    path, subnet_id = await joined_router(s)
    subnet = (await s.ask("GET", f"/subnets/{subnet_id}")).json()["subnet"]
    leg = await s.make(
        "port", network_id=subnet["network_id"], fixed_ips=[{"ip_address": ROUTE["nexthop"]}], name="leg"
    )
    assert (await put(s, path, [ROUTE])).status_code == 200, "a port as any"
    await put(s, path, [])
    other = await s.make("router", name="other")
    add = f"/routers/{other['id']}/add_router_interface"
    await s.ask("PUT", add, {"port_id": leg["id"]}, expect=200)
    for action in ("", "/add_extraroutes"):
        refused = await put(s, path + action, [OTHER, ROUTE])
        assert error_of(refused) == (400, "InvalidRoutes")
        assert "an interface of another router" in refused.text
    assert (await put(s, path, [OTHER])).status_code == 200


async def test_another_projects_router_has_no_routes_to_add(s: Scene) -> None:
    path, _ = await joined_router(s)
    for action in ("add_extraroutes", "remove_extraroutes"):
        answer = await s.ask("PUT", f"{path}/{action}", {"router": {"routes": [ROUTE]}}, project="green")
        assert error_of(answer) == (404, "RouterNotFound")


async def test_routes_may_be_changed_on_a_condition(s: Scene) -> None:
    path, _ = await joined_router(s)
    number = (await s.ask("GET", path)).json()["router"]["revision_number"]
    body = {"router": {"routes": [ROUTE]}}
    await s.ask("PUT", path, body, headers={"If-Match": f"revision_number={number}"}, expect=200)
    stale = await s.ask(
        "PUT", f"{path}/add_extraroutes", body, headers={"If-Match": f"revision_number={number}"}
    )
    assert error_of(stale) == (412, "RevisionNumberConstraintFailed")


async def test_interfaces_are_refused_as_in_neutron(s: Scene) -> None:
    path, subnet_id = await joined_router(s)
    overlapping = await s.wired_network("10.0.0.0/16")
    refused = await s.ask("PUT", f"{path}/add_router_interface", {"subnet_id": overlapping[1]})
    assert error_of(refused) == (400, "BadRequest")
    assert "overlaps with cidr 10.0.0.0/24" in refused.text
    network_id, other_id = await s.wired_network("10.1.0.0/24")
    await s.ask("PUT", f"{path}/add_router_interface", {"subnet_id": other_id}, expect=200)
    ports = (await s.ask("GET", f"/ports?device_id={path.rpartition('/')[2]}")).json()["ports"]
    [leg] = [port for port in ports if port["network_id"] == network_id]
    mismatch = {"port_id": leg["id"], "subnet_id": subnet_id}
    refused = await s.ask("PUT", f"{path}/remove_router_interface", mismatch)
    assert error_of(refused) == (400, "SubnetMismatchForPort")
    unknown = {"port_id": network_id}
    assert error_of(await s.ask("PUT", f"{path}/remove_router_interface", unknown)) == (
        404,
        "RouterInterfaceNotFound",
    )
    apart = {"subnet_id": overlapping[1]}
    assert error_of(await s.ask("PUT", f"{path}/remove_router_interface", apart)) == (
        404,
        "RouterInterfaceNotFoundForSubnet",
    )
    assert error_of(await s.ask("PUT", f"{path}/remove_router_interface", {})) == (400, "BadRequest")
    both = {"port_id": leg["id"], "subnet_id": other_id}
    assert error_of(await s.ask("PUT", f"{path}/add_router_interface", both)) == (400, "BadRequest")
