"""Trunks over the API, as Neutron has them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api_scene import ADMIN, Scene, error_of, scene

UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene() as opened:
        yield opened


async def ports(s: Scene, count: int, *, network_id: str = "", **attributes: Any) -> list[dict[str, Any]]:
    if not network_id:
        network_id, _ = await s.wired_network()
    return [await s.make("port", network_id=network_id, **attributes) for _ in range(count)]


def under(port: dict[str, Any], vlan: Any) -> dict[str, Any]:
    return {"port_id": port["id"], "segmentation_type": "vlan", "segmentation_id": vlan}


async def show(s: Scene, port: dict[str, Any]) -> Any:
    return (await s.ask("GET", f"/ports/{port['id']}", admin=True, expect=200)).json()["port"]


async def change(s: Scene, trunk: Any, action: str, *subs: Any, **more: Any) -> Any:
    return await s.ask("PUT", f"/trunks/{trunk['id']}/{action}", {"sub_ports": list(subs)}, **more)


async def test_a_trunk_is_made_shown_changed_and_removed(s: Scene) -> None:
    parent, one, two = await ports(s, 3)
    trunk = await s.make(
        "trunk", port_id=parent["id"], sub_ports=[under(two, 200), under(one, "100")], name="t"
    )
    assert trunk["sub_ports"] == [under(one, 100), under(two, 200)]
    assert (trunk["status"], trunk["admin_state_up"], trunk["port_id"]) == ("DOWN", True, parent["id"])
    assert (await s.ask("GET", f"/trunks/{trunk['id']}/get_subports")).json() == {
        "sub_ports": trunk["sub_ports"]
    }
    details = (await show(s, parent))["trunk_details"]
    assert details["trunk_id"] == trunk["id"]
    assert details["sub_ports"] == [
        {**under(port, vlan), "mac_address": port["mac_address"]} for port, vlan in ((one, 100), (two, 200))
    ]
    assert "trunk_details" not in await show(s, one)
    assert (await show(s, one))["device_owner"] == "trunk:subport"
    by_port = (await s.ask("GET", f"/trunks?port_id={parent['id']}&status=down")).json()["trunks"]
    assert [each["id"] for each in by_port] == [trunk["id"]]
    assert (await s.ask("GET", f"/trunks?port_id={one['id']}")).json()["trunks"] == []
    changed = await s.ask("PUT", f"/trunks/{trunk['id']}", {"trunk": {"name": "u", "admin_state_up": False}})
    assert (changed.json()["trunk"]["name"], changed.json()["trunk"]["revision_number"]) == ("u", 2)
    refused = await s.ask("PUT", f"/trunks/{trunk['id']}", {"trunk": {"port_id": one["id"]}})
    assert error_of(refused) == (400, "HTTPBadRequest")
    assert error_of(await s.ask("DELETE", f"/trunks/{trunk['id']}")) == (409, "TrunkDisabled")
    assert error_of(await change(s, trunk, "remove_subports", {"port_id": one["id"]})) == (409, "TrunkDisabled")
    await s.ask("PUT", f"/trunks/{trunk['id']}", {"trunk": {"admin_state_up": True}}, expect=200)
    for port, reason in ((parent, "PortInUseAsTrunkParent"), (one, "PortInUseAsSubPort")):
        assert error_of(await s.ask("DELETE", f"/ports/{port['id']}")) == (409, reason)
    await s.ask("DELETE", f"/trunks/{trunk['id']}", expect=204)
    for port in (parent, one, two):
        assert (await show(s, port))["device_owner"] == ""
        await s.ask("DELETE", f"/ports/{port['id']}", expect=204)


async def test_sub_ports_are_added_and_removed(s: Scene) -> None:
    parent, one, two, other = await ports(s, 4)
    trunk = await s.make("trunk", port_id=parent["id"])
    added = (await change(s, trunk, "add_subports", under(one, 100), under(two, 200), expect=200)).json()
    assert added["sub_ports"] == [under(one, 100), under(two, 200)], "the trunk, without its name around it"
    again = await change(s, trunk, "add_subports", under(one, 101))
    assert error_of(again) == (409, "TrunkPortInUse")
    assert error_of(await change(s, trunk, "add_subports", under(other, 100))) == (409, "DuplicateSubPort")
    assert error_of(await change(s, trunk, "add_subports", under(parent, 300))) == (409, "ParentPortInUse")
    removed = (await change(s, trunk, "remove_subports", {"port_id": one["id"]}, expect=200)).json()
    assert removed["sub_ports"] == [under(two, 200)]
    missing = await change(s, trunk, "remove_subports", {"port_id": one["id"]})
    assert error_of(missing) == (404, "SubPortNotFound")
    second = await s.make("trunk", port_id=one["id"], sub_ports=[under(other, 200)])
    assert second["sub_ports"] == [under(other, 200)], "the same VLAN in another trunk"
    for port_id, reason in ((parent["id"], "ParentPortInUse"), (two["id"], "TrunkPortInUse")):
        refused = await s.ask("POST", "/trunks", {"trunk": {"port_id": port_id}})
        assert error_of(refused) == (409, reason)


@pytest.mark.parametrize(
    "wrong",
    [
        "all",
        ["x"],
        [{"segmentation_type": "vlan", "segmentation_id": 5}],
        [{"port_id": "x", "segmentation_type": "vlan", "segmentation_id": 5}],
        [{"port_id": UNKNOWN}],
        [{"port_id": UNKNOWN, "segmentation_id": 5}],
        [{"port_id": UNKNOWN, "segmentation_type": "inherit", "segmentation_id": 5}],
        [{"port_id": UNKNOWN, "segmentation_type": "vxlan", "segmentation_id": 5}],
        [{"port_id": UNKNOWN, "segmentation_type": "vlan", "segmentation_id": 0}],
        [{"port_id": UNKNOWN, "segmentation_type": "vlan", "segmentation_id": 4095}],
        [{"port_id": UNKNOWN, "segmentation_type": "vlan", "segmentation_id": "x"}],
        [{"port_id": UNKNOWN, "segmentation_type": "vlan", "segmentation_id": 5, "colour": "red"}],
        [{"port_id": UNKNOWN, "segmentation_type": "vlan", "segmentation_id": 5}] * 2,
        [
            {"port_id": UNKNOWN, "segmentation_type": "vlan", "segmentation_id": 5},
            {"port_id": UNKNOWN[:-1] + "1", "segmentation_type": "vlan", "segmentation_id": 5},
        ],
    ],
)
async def test_sub_ports_that_cannot_be_are_refused(s: Scene, wrong: Any) -> None:
    [parent] = await ports(s, 1)
    made = await s.ask("POST", "/trunks", {"trunk": {"port_id": parent["id"], "sub_ports": wrong}})
    assert error_of(made) == (400, "HTTPBadRequest")
    trunk = await s.make("trunk", port_id=parent["id"])
    added = await s.ask("PUT", f"/trunks/{trunk['id']}/add_subports", {"sub_ports": wrong})
    assert error_of(added) == (400, "InvalidInput")


async def test_what_is_no_body_is_refused_and_ports_must_be_there(s: Scene) -> None:
    [parent] = await ports(s, 1)
    trunk = await s.make("trunk", port_id=parent["id"])
    for body in ({}, [], {"trunk": {}}, {"sub_ports": [], "name": "x"}):
        answer = await s.ask("PUT", f"/trunks/{trunk['id']}/add_subports", body)
        assert error_of(answer) == (400, "HTTPBadRequest")
    nobody = {"port_id": UNKNOWN, "segmentation_type": "vlan", "segmentation_id": 5}
    assert error_of(await change(s, trunk, "add_subports", nobody)) == (404, "PortNotFound")
    assert error_of(await s.ask("POST", "/trunks", {"trunk": {"port_id": UNKNOWN}})) == (404, "PortNotFound")
    assert error_of(await s.ask("POST", "/trunks", {"trunk": {}})) == (400, "HTTPBadRequest")


async def test_another_projects_ports_and_trunks_are_not_there(s: Scene) -> None:
    parent, one = await ports(s, 2)
    trunk = await s.make("trunk", port_id=parent["id"])
    network_id, _ = await s.wired_network(project="green")
    [theirs] = await ports(s, 1, network_id=network_id, project="green")
    for action in ("add_subports", "remove_subports"):
        answer = await change(s, trunk, action, under(theirs, 5), project="green")
        assert error_of(answer) == (404, "TrunkNotFound")
    answer = await s.ask("GET", f"/trunks/{trunk['id']}/get_subports", project="green")
    assert error_of(answer) == (404, "TrunkNotFound")
    for body in ({"port_id": one["id"]}, {"port_id": theirs["id"], "sub_ports": [under(one, 5)]}):
        made = await s.ask("POST", "/trunks", {"trunk": body}, project="green")
        assert error_of(made) == (404, "PortNotFound")


async def test_sub_ports_are_bound_where_their_parent_is(s: Scene) -> None:
    parent, one, two = await ports(s, 3)
    trunk = await s.make("trunk", port_id=parent["id"], sub_ports=[under(one, 100)])
    put = {"port": {"binding:host_id": "host-1"}}
    await s.ask("PUT", f"/ports/{parent['id']}", put, admin=True, expect=200)
    assert (await show(s, one))["binding:host_id"] == "host-1"
    await change(s, trunk, "add_subports", under(two, 200), expect=200)
    assert (await show(s, two))["binding:host_id"] == "host-1"
    refused = await s.ask("PUT", f"/ports/{one['id']}", {"port": {"binding:host_id": "host-2"}}, admin=True)
    assert error_of(refused) == (409, "PortInUseAsSubPort")
    moved = {"port": {"binding:host_id": "host-2", "name": "moved"}}
    await s.ask("PUT", f"/ports/{parent['id']}", moved, admin=True, expect=200)
    for port in (one, two):
        assert (await show(s, port))["binding:host_id"] == "host-2"
    bindings = f"/ports/{parent['id']}/bindings"
    owner = {"port": {"device_owner": "compute:nova"}}
    await s.ask("PUT", f"/ports/{parent['id']}", owner, admin=True, expect=200)
    await s.ask("POST", bindings, {"binding": {"host": "host-3"}}, admin=True, expect=201)
    await s.ask("PUT", f"{bindings}/host-3/activate", admin=True, expect=200)
    for port in (one, two):
        assert (await show(s, port))["binding:host_id"] == "host-3", "as it migrates"
    refused = await s.ask("DELETE", f"/ports/{one['id']}/bindings/host-3", admin=True)
    assert error_of(refused) == (409, "PortInUseAsSubPort")
    await change(s, trunk, "remove_subports", {"port_id": one["id"]}, expect=200)
    assert (await show(s, one))["binding:host_id"] == ""
    router = await s.make("router")
    add = f"/routers/{router['id']}/add_router_interface"
    for port in (parent, two):
        assert error_of(await s.ask("PUT", add, {"port_id": port["id"]})) == (409, "PortInUse")


async def test_status_follows_what_is_in_force(s: Scene) -> None:
    parent, one = await ports(s, 2, binding__host_id="host-1", admin=True)
    trunk = await s.make("trunk", port_id=parent["id"], sub_ports=[under(one, 100)], admin=True)

    async def status() -> str:
        return str((await s.ask("GET", f"/trunks/{trunk['id']}", admin=True)).json()["trunk"]["status"])

    assert await status() == "DOWN"
    s.convergence.acknowledge(parent["id"])
    s.convergence.plug(parent["id"])
    assert await status() == "BUILD"
    s.convergence.acknowledge(one["id"])
    s.convergence.plug(one["id"])
    assert await status() == "ACTIVE"


async def test_trunks_have_quotas_tags_conditions_and_bulk(s: Scene) -> None:
    made = await ports(s, 4)
    await s.ask("PUT", "/quotas/blue", {"quota": {"trunk": 2}}, project="admin", headers=ADMIN, expect=200)
    bulk = {"trunks": [{"port_id": port["id"], "tags": ["a"]} for port in made]}
    assert error_of(await s.ask("POST", "/trunks", bulk)) == (409, "OverQuota")
    assert (await s.ask("GET", "/trunks")).json()["trunks"] == []
    bulk["trunks"] = bulk["trunks"][:2]
    trunks = (await s.ask("POST", "/trunks", bulk, expect=201)).json()["trunks"]
    twice = {"trunks": [{"port_id": made[2]["id"]}, {"port_id": made[2]["id"]}]}
    assert error_of(await s.ask("POST", "/trunks", twice)) == (409, "ParentPortInUse")
    await s.ask("PUT", f"/trunks/{trunks[0]['id']}/tags/b", expect=201)
    tagged = (await s.ask("GET", "/trunks?tags=a,b")).json()["trunks"]
    assert [each["id"] for each in tagged] == [trunks[0]["id"]]
    stale = await s.ask(
        "PUT",
        f"/trunks/{trunks[0]['id']}/add_subports",
        {"sub_ports": [under(made[3], 5)]},
        headers={"If-Match": "revision_number=1"},
    )
    assert error_of(stale) == (412, "RevisionNumberConstraintFailed")
    key = {"Idempotency-Key": "once"}
    await s.ask("DELETE", f"/trunks/{trunks[1]['id']}", expect=204)
    body = {"trunk": {"port_id": made[3]["id"]}}
    first = (await s.ask("POST", "/trunks", body, headers=key, expect=201)).json()
    assert (await s.ask("POST", "/trunks", body, headers=key, expect=201)).json() == first


async def test_of_many_clients_one_gets_the_port(s: Scene) -> None:
    made = await ports(s, 9)
    wanted = made[0]
    asks = [{"trunk": {"port_id": port["id"], "sub_ports": [under(wanted, 7)]}} for port in made[1:]]
    answers = await asyncio.gather(*(s.ask("POST", "/trunks", body) for body in asks))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    [winner] = [answer.json()["trunk"] for answer in answers if answer.status_code == 201]
    assert (await show(s, wanted))["device_id"] == winner["id"]


async def test_a_caller_may_wait_until_sub_ports_are_in_force(s: Scene) -> None:
    parent, one, two = await ports(s, 3, binding__host_id="host-1", admin=True)
    body = {"trunk": {"port_id": parent["id"], "sub_ports": [under(one, 100)]}}
    refused = await s.ask("POST", "/trunks?wait=for-ever", body, admin=True)
    assert error_of(refused) == (400, "HTTPBadRequest")
    late = await s.ask("POST", "/trunks?wait=in_force&timeout=0.05", body, admin=True, expect=201)
    assert late.headers["X-Alcor-Wait"] == "timeout"
    s.convergence.acknowledges_at_once = True
    s.convergence.plug(parent["id"])
    trunk = late.json()["trunk"]
    more = {"sub_ports": [under(two, 200)]}
    path = f"/trunks/{trunk['id']}/add_subports"
    waited = await s.ask("PUT", f"{path}?wait=in_force&timeout=0.05", more, admin=True, expect=200)
    assert waited.headers["X-Alcor-Wait"] == "timeout", "the others are not"
    for port in (parent, one):
        s.convergence.acknowledge(port["id"])
    await s.ask("PUT", path.replace("add", "remove"), more, admin=True, expect=200)
    waited = await s.ask("PUT", f"{path}?wait=in_force&timeout=5", more, admin=True, expect=200)
    assert waited.headers["X-Alcor-Wait"] == "satisfied"
    assert waited.json()["status"] == "ACTIVE"
