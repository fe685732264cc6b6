"""What Nova asks of the network API while a server boots, is listed, migrates and goes: call by call."""

import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from api_scene import Scene, error_of, scene

SERVER = str(uuid.UUID(int=7))
BOUND = {"connectivity": "l2", "port_filter": True, "ovs_hybrid_plug": False}


class Nova:
    """Calls as a user of a project, and as Nova itself."""

    def __init__(self, s: Scene) -> None:
        self.s = s

    async def get(self, path: str, *, admin: bool = False, **query: Any) -> Any:
        asked = f"{path}?{urlencode(query, doseq=True)}" if query else path
        return (
            await self.s.ask("GET", asked, project="nova" if admin else "blue", admin=admin, expect=200)
        ).json()

    async def post_port(self, **port: Any) -> Any:
        return (await self.s.ask("POST", "/ports", {"port": port}, expect=201)).json()["port"]

    async def put_port(self, port_id: str, **port: Any) -> Any:
        done = await self.s.ask(
            "PUT", f"/ports/{port_id}", {"port": port}, project="nova", admin=True, expect=200
        )
        return done.json()["port"]

    async def bindings(self, method: str, path: str, body: Any = None) -> Any:
        return await self.s.ask(method, path, body, project="nova", admin=True)

    async def bound_port(self, network_id: str, host: str) -> Any:
        port = await self.post_port(
            network_id=network_id, admin_state_up=True, tenant_id="blue", device_id=SERVER
        )
        return await self.put_port(
            port["id"],
            **{"device_owner": "compute:az1", "binding:host_id": host, "binding:profile": {}},
        )


@pytest.fixture
async def nova() -> AsyncIterator[Nova]:
    async with scene() as opened:
        yield Nova(opened)


async def test_a_server_boots_is_listed_and_goes(nova: Nova) -> None:
    network_id, subnet_id = await nova.s.wired_network()
    aliases = {each["alias"] for each in (await nova.get("/extensions"))["extensions"]}
    assert {"binding", "binding-extended", "ip-substring-filtering", "port-security", "quotas"} <= aliases
    assert not aliases & {"multi-provider", "dns-integration", "fip-port-details", "port-resource-request"}

    # Which networks the server may have, and whether there is room.
    assert [it["id"] for it in (await nova.get("/networks", id=[network_id]))["networks"]] == [network_id]
    own = await nova.get("/networks", tenant_id="blue", shared="False", admin_state_up="True")
    assert [it["id"] for it in own["networks"]] == [network_id]
    assert (await nova.get("/networks", shared="True"))["networks"] == []
    assert (await nova.get("/quotas/blue"))["quota"]["port"] > 0
    assert (await nova.get("/ports", tenant_id="blue", fields="id"))["ports"] == []
    fields = ["provider:physical_network", "provider:network_type"]
    physical = (await nova.get(f"/networks/{network_id}", admin=True, fields=fields))["network"]
    assert physical == {"provider:physical_network": None, "provider:network_type": "vxlan"}
    named = {"fields": ["id", "name"], "tenant_id": "blue"}
    (group,) = (await nova.get("/security-groups", **named))["security_groups"]
    assert set(group) == {"id", "name"}

    # The port: made for the user, bound by Nova.
    made = await nova.post_port(
        network_id=network_id,
        admin_state_up=True,
        tenant_id="blue",
        device_id=SERVER,
        fixed_ips=[{"subnet_id": subnet_id, "ip_address": "10.0.0.44"}],
        security_groups=[group["id"]],
    )
    assert "binding:vif_type" not in made
    bound = await nova.put_port(
        made["id"],
        **{"device_owner": "compute:az1", "binding:host_id": "host-1", "binding:profile": {"os": 1}},
    )
    assert (bound["binding:vif_type"], bound["binding:vif_details"]) == ("ovs", BOUND)
    assert bound["binding:profile"] == {"os": 1}
    assert bound["ip_allocation"] == "immediate"
    asked = ["binding:profile", "network_id", "binding:vnic_type", "resource_request"]
    shown = (await nova.get(f"/ports/{made['id']}", admin=True, fields=asked))["port"]
    assert shown == {"binding:profile": {"os": 1}, "network_id": network_id, "binding:vnic_type": "normal"}

    # Its network information, as often as Nova likes.
    for query in (
        {"device_id": SERVER, "tenant_id": "blue"},
        {"device_id": SERVER},
        {"network_id": network_id, "device_owner": "compute:az1"},
        {"fixed_ips": "ip_address=10.0.0.44", "network_id": network_id},
        {"fixed_ips": "ip_address_substr=0.0.4", "fields": "device_id"},
        {"id": [made["id"], str(uuid.uuid4())]},
    ):
        (found,) = (await nova.get("/ports", admin=True, **query))["ports"]
        assert found["device_id"] == SERVER
    assert (await nova.get("/ports", network_id=network_id, device_owner="network:dhcp"))["ports"] == []
    (subnet,) = (await nova.get("/subnets", id=[subnet_id]))["subnets"]
    assert subnet["gateway_ip"] == "10.0.0.1"
    query = {"fixed_ip_address": "10.0.0.44", "port_id": made["id"]}
    assert (await nova.get("/floatingips", **query)) == {"floatingips": []}

    # A port of the user's own is given back, others go with the server.
    unbound = await nova.put_port(
        made["id"], **{"device_id": "", "device_owner": "", "binding:host_id": None, "binding:profile": {}}
    )
    assert (unbound["binding:vif_type"], unbound["binding:host_id"], unbound["device_id"]) == (
        "unbound",
        "",
        "",
    )
    assert unbound["binding:vif_details"] == {}
    await nova.s.ask("DELETE", f"/ports/{made['id']}", expect=204)
    gone = await nova.s.ask("GET", f"/ports/{made['id']}")
    assert error_of(gone) == (404, "PortNotFound")


async def test_a_host_without_an_agent_fails_the_binding(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    port = await nova.bound_port(network_id, "nowhere")
    assert (port["binding:vif_type"], port["binding:vif_details"]) == ("binding_failed", {})


async def test_a_server_migrates_live(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    port = await nova.bound_port(network_id, "host-1")
    path = f"/ports/{port['id']}/bindings"
    wanted = {"host": "host-2", "vnic_type": "normal", "profile": {"migrating_to": "host-2"}}
    made = await nova.bindings("POST", path, {"binding": wanted})
    assert (made.status_code, made.json()["binding"]) == (
        201,
        {**wanted, "status": "INACTIVE", "vif_type": "ovs", "vif_details": BOUND},
    )
    assert error_of(await nova.bindings("POST", path, {"binding": wanted})) == (409, "PortBindingAlreadyExists")
    held = (await nova.bindings("GET", f"{path}/host-2")).json()["binding"]
    assert held["profile"] == {"migrating_to": "host-2"}
    listed = (await nova.get(path, admin=True))["bindings"]
    assert {it["host"]: it["status"] for it in listed} == {"host-1": "ACTIVE", "host-2": "INACTIVE"}
    assert len((await nova.get(path, admin=True, status="ACTIVE"))["bindings"]) == 1
    shown = (await nova.get(f"/ports/{port['id']}", admin=True))["port"]
    assert shown["binding:host_id"] == "host-1"

    moved = await nova.bindings("PUT", f"{path}/host-2/activate")
    assert (moved.status_code, moved.json()["status"], moved.json()["host"]) == (200, "ACTIVE", "host-2")
    again = await nova.bindings("PUT", f"{path}/host-2/activate")
    assert error_of(again) == (409, "PortBindingAlreadyActive")
    shown = (await nova.get(f"/ports/{port['id']}", admin=True))["port"]
    assert (shown["binding:host_id"], shown["binding:profile"]) == ("host-2", {"migrating_to": "host-2"})
    assert (await nova.bindings("DELETE", f"{path}/host-1")).status_code == 204
    assert error_of(await nova.bindings("GET", f"{path}/host-1")) == (404, "PortBindingNotFound")
    assert error_of(await nova.bindings("DELETE", f"{path}/host-1")) == (404, "PortBindingNotFound")


async def test_a_server_migrates_cold_as_before_bindings(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    port = await nova.bound_port(network_id, "host-1")
    path = f"/ports/{port['id']}/bindings"
    await nova.bindings("POST", path, {"binding": {"host": "host-2"}})
    moved = await nova.put_port(
        port["id"],
        **{"binding:host_id": "host-2", "device_owner": "compute:az1", "binding:profile": {"x": 1}},
    )
    assert (moved["binding:host_id"], moved["binding:vif_type"]) == ("host-2", "ovs")
    assert [it["host"] for it in (await nova.get(path, admin=True))["bindings"]] == ["host-2"]


@pytest.mark.parametrize(
    ("binding", "status", "reason"),
    [
        ({"host": "host-9"}, 409, "PortBindingError"),  # no agent is alive there
        ({"host": ""}, 400, "HTTPBadRequest"),
        ({}, 400, "HTTPBadRequest"),
        ({"host": 7}, 400, "HTTPBadRequest"),
        ({"host": "host-2", "vnic_type": "direct"}, 400, "HTTPBadRequest"),
        ({"host": "host-2", "profile": []}, 400, "HTTPBadRequest"),
        ({"host": "host-2", "status": "ACTIVE"}, 400, "HTTPBadRequest"),
        ({"host": "host-1"}, 409, "PortBindingAlreadyExists"),
    ],
)
async def test_bindings_that_cannot_be_are_refused(
    nova: Nova, binding: dict[str, Any], status: int, reason: str
) -> None:
    network_id, _ = await nova.s.wired_network()
    port = await nova.bound_port(network_id, "host-1")
    refused = await nova.bindings("POST", f"/ports/{port['id']}/bindings", {"binding": binding})
    assert error_of(refused) == (status, reason)


async def test_a_binding_that_is_asked_for_again_is_made_once(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    port = await nova.bound_port(network_id, "host-1")
    path, key = f"/ports/{port['id']}/bindings", {"Idempotency-Key": "once"}
    body = {"binding": {"host": "host-2"}}
    first = await nova.s.ask("POST", path, body, admin=True, headers=key, expect=201)
    await nova.bindings("PUT", f"{path}/host-2/activate")
    again = await nova.s.ask("POST", path, body, admin=True, headers=key, expect=201)
    assert again.json() == first.json()
    other = {"binding": {"host": "host-3"}}
    reused = await nova.s.ask("POST", path, other, admin=True, headers=key)
    assert error_of(reused) == (422, "IdempotencyKeyReused")


async def test_only_ports_of_servers_have_further_bindings_and_only_so_many(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    other = await nova.post_port(network_id=network_id)
    refused = await nova.bindings("POST", f"/ports/{other['id']}/bindings", {"binding": {"host": "host-1"}})
    assert error_of(refused) == (409, "UnsupportedPortDeviceOwner")
    assert (await nova.get(f"/ports/{other['id']}/bindings", admin=True))["bindings"] == []
    port = await nova.bound_port(network_id, "host-1")
    for number in range(10, 19):
        nova.s.convergence.add_host(f"host-{number}")
        body = {"binding": {"host": f"host-{number}"}}
        answer = await nova.bindings("POST", f"/ports/{port['id']}/bindings", body)
        assert answer.status_code == (201 if number < 18 else 409)
    absent = f"/ports/{uuid.uuid4()}/bindings"
    assert error_of(await nova.bindings("POST", absent, {"binding": {"host": "host-1"}}))[0] == 404


async def test_a_binding_changes_and_without_its_active_one_a_port_is_not_bound(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    port = await nova.bound_port(network_id, "host-1")
    path = f"/ports/{port['id']}/bindings"
    await nova.bindings("POST", path, {"binding": {"host": "host-2"}})
    for host in ("host-1", "host-2"):
        changed = await nova.bindings("PUT", f"{path}/{host}", {"binding": {"profile": {"of": host}}})
        assert changed.json()["binding"]["profile"] == {"of": host}
    assert (await nova.get(f"/ports/{port['id']}", admin=True))["port"]["binding:profile"] == {"of": "host-1"}
    assert (await nova.bindings("DELETE", f"{path}/host-1")).status_code == 204
    shown = (await nova.get(f"/ports/{port['id']}", admin=True))["port"]
    assert (shown["binding:host_id"], shown["binding:vif_type"]) == ("", "unbound")
    assert [it["host"] for it in (await nova.get(path, admin=True))["bindings"]] == ["host-2"]


async def test_a_mac_address_is_drawn_anew_when_it_is_null(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    port = await nova.post_port(network_id=network_id, mac_address=None)
    anew = (await nova.s.ask("PUT", f"/ports/{port['id']}", {"port": {"mac_address": None}})).json()["port"]
    assert anew["mac_address"] != port["mac_address"]
    assert anew["mac_address"].startswith("fa:")
    bound = await nova.bound_port(network_id, "host-1")
    refused = await nova.s.ask("PUT", f"/ports/{bound['id']}", {"port": {"mac_address": None}})
    assert error_of(refused) == (409, "PortBound")


async def test_ports_without_addresses_say_so_and_are_found(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    bare = await nova.post_port(network_id=network_id, fixed_ips=[])
    await nova.post_port(network_id=network_id)
    assert (bare["ip_allocation"], bare["data_plane_status"]) == ("none", None)
    (found,) = (await nova.get("/ports", ip_allocation="none"))["ports"]
    assert found["id"] == bare["id"]


async def test_the_data_planes_status_is_for_administrators_to_say(nova: Nova) -> None:
    network_id, _ = await nova.s.wired_network()
    port = await nova.post_port(network_id=network_id)
    for status in ("DOWN", "ACTIVE", None):
        assert (await nova.put_port(port["id"], data_plane_status=status))["data_plane_status"] == status
    path, body = f"/ports/{port['id']}", {"port": {"data_plane_status": "DOWN"}}
    assert error_of(await nova.s.ask("PUT", path, body)) == (403, "PolicyNotAuthorized")
    for wrong in ("up", 1, ""):
        answer = await nova.s.ask("PUT", path, {"port": {"data_plane_status": wrong}}, admin=True)
        assert error_of(answer)[0] == 400
    at_birth = {"port": {"network_id": network_id, "data_plane_status": "DOWN"}}
    assert error_of(await nova.s.ask("POST", "/ports", at_birth, admin=True))[0] == 400


async def test_agents_are_described_and_forgotten_when_they_are_gone(nova: Nova) -> None:
    s = nova.s
    await s.add_dead_host("host-9")
    agents = {it["host"]: it for it in (await nova.get("/agents", admin=True))["agents"]}
    dead, alive = agents["host-9"], agents["host-1"]
    path = f"/agents/{dead['id']}"
    changed = await s.ask("PUT", path, {"agent": {"description": "broken", "admin_state_up": True}}, admin=True)
    assert changed.json()["agent"]["description"] == "broken"
    off = await s.ask("PUT", path, {"agent": {"admin_state_up": False}}, admin=True)
    assert error_of(off)[0] == 400
    for method, body in (("PUT", {"agent": {"description": "mine"}}), ("DELETE", None)):
        assert error_of(await s.ask(method, path, body)) == (404, "AgentNotFound")
    assert error_of(await s.ask("DELETE", f"/agents/{alive['id']}", admin=True))[0] == 409
    await s.ask("DELETE", path, admin=True, expect=204)
    providers = (await nova.get("/service-providers", service_type="L3_ROUTER_NAT"))["service_providers"]
    assert providers == [{"service_type": "L3_ROUTER_NAT", "name": "alcor", "default": True}]
