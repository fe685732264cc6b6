"""Bad input: the right 4xx in Neutron's form, nothing half done, and the next request works."""

from typing import Any

import pytest

from api_scene import Scene, error_of, scene

NOBODY = "00000000-0000-7000-8000-000000000000"


async def refused(
    s: Scene, method: str, path: str, body: Any, status: int, reason: str | None = None, **who: Any
) -> str:
    """Send what must be refused: nothing is committed, and the next request works."""
    before = await s.store.revision()
    response = await s.ask(method, path, body, **who)
    found = error_of(response)
    assert found[0] == status, response.text
    if reason is not None:
        assert found[1] == reason, response.text
    assert await s.store.revision() == before
    await s.ask("GET", "/networks", expect=200)
    message: str = response.json()["NeutronError"]["message"]
    return message


@pytest.mark.parametrize(
    "content", [b"{", b"", b"[]", b'"x"', b"\xff\xfe", b'{"network": 1}', b'{"networks": []}', b"[" * 100_000]
)
async def test_malformed_bodies_are_refused(content: bytes) -> None:
    async with scene() as s:
        response = await s.client.post(
            "/v2.0/networks", content=content, headers={"content-type": "application/json"}
        )
        assert error_of(response)[0] == 400
        for path in ("/v2.0/ports", "/v2.0/port-groups", "/v2.0/routers"):
            response = await s.client.post(path, content=content, headers={"content-type": "application/json"})
            assert error_of(response)[0] == 400
        assert await s.store.revision() == 0


@pytest.mark.parametrize(
    ("resource", "attributes", "status"),
    [
        ("network", {"nmae": "x"}, 400),
        ("network", {"id": NOBODY}, 400),
        ("network", {"name": 5}, 400),
        ("network", {"name": "x" * 256}, 400),
        ("network", {"name": "a\x00b"}, 400),
        ("network", {"admin_state_up": "perhaps"}, 400),
        ("network", {"shared": True}, 403),
        ("network", {"shared": "perhaps"}, 400),
        ("network", {"router:external": True}, 400),
        ("network", {"mtu": 9000}, 400),
        ("network", {"mtu": -1}, 400),
        ("network", {"qos_policy_id": NOBODY}, 400),
        ("network", {"provider:segmentation_id": 5}, 403),
        ("network", {"tenant_id": "other"}, 400),
        ("network", {"tenant_id": "blue", "project_id": "red"}, 400),
        ("network", {"tags": ["a,b"]}, 400),
        ("subnet", {"network_id": NOBODY, "ip_version": 4}, 400),
        ("subnet", {"network_id": "x", "ip_version": 4, "cidr": "10.0.0.0/24"}, 400),
        ("subnet", {"ip_version": 4, "cidr": "10.0.0.0/24"}, 400),
        ("subnet", {"network_id": NOBODY, "ip_version": 4, "cidr": "10.0.0.0/24"}, 404),
        ("subnet", {"network_id": NOBODY, "ip_version": 4, "cidr": "10.0.0.0/33"}, 400),
        (
            "subnet",
            {"network_id": NOBODY, "ip_version": 4, "cidr": "10.0.0.0/24", "dns_nameservers": ["x"]},
            400,
        ),
        ("port", {}, 400),
        ("port", {"network_id": NOBODY}, 404),
        ("port", {"network_id": NOBODY, "allowed_address_pairs": [{"mac_address": "x"}]}, 400),
        ("port", {"network_id": NOBODY, "status": "ACTIVE"}, 400),
        ("port", {"network_id": NOBODY, "binding:host_id": "host-1"}, 403),
        ("port", {"network_id": NOBODY, "binding:profile": {"a": 1}}, 403),
        ("port", {"network_id": NOBODY, "fixed_ips": "10.0.0.1"}, 400),
        ("port", {"network_id": NOBODY, "fixed_ips": [{"address": "10.0.0.1"}]}, 400),
        ("port", {"network_id": NOBODY, "security_groups": ["x"]}, 400),
        ("router", {"external_gateway_info": {"network_id": NOBODY}}, 400),
        ("router", {"distributed": True}, 400),
        ("security_group", {"stateful": "perhaps"}, 400),
        ("security_group_rule", {"direction": "ingress"}, 400),
        ("security_group_rule", {"security_group_id": NOBODY, "direction": "up"}, 400),
        ("security_group_rule", {"security_group_id": NOBODY, "direction": "ingress"}, 404),
        ("address_group", {"addresses": ["10.0.0.1"]}, 400),
        ("address_group", {"addresses": "10.0.0.0/8"}, 400),
        ("address_group", {"addresses": [7]}, 400),
        ("address_group", {"addresses": ["fe80::1%eth0/64"]}, 400),
        ("address_group", {"addresses": ["10.0.0.0/33"]}, 400),
        ("address_group", {"shared": True}, 400),
        ("address_group", {"tags": []}, 400),
    ],
)
async def test_what_cannot_be_is_refused(resource: str, attributes: dict[str, Any], status: int) -> None:
    async with scene() as s:
        path = f"/{resource.replace('_', '-')}s"
        await refused(s, "POST", path, {resource: attributes}, status)
        await refused(s, "POST", path, {f"{resource}s": [attributes]}, status)


async def test_unknown_attributes_are_named() -> None:
    async with scene() as s:
        message = await refused(s, "POST", "/networks", {"network": {"colour": "red"}}, 400, "HTTPBadRequest")
        assert message == "Unrecognized attribute(s) 'colour'"
        network_id, _ = await s.wired_network()
        body = {"port": {"network_id": network_id, "colour": "red"}}
        assert "Unrecognized attribute(s) 'colour'" in await refused(s, "POST", "/ports", body, 400)
        await refused(s, "PUT", f"/networks/{network_id}", {"network": {"id": NOBODY}}, 400)
        await refused(s, "PUT", f"/networks/{network_id}", {"network": {"project_id": "red"}}, 400)


async def test_a_body_that_is_too_long_is_refused_and_the_next_request_works() -> None:
    async with scene() as s:
        body = {"network": {"name": "x" * 10_000_000}}
        await refused(s, "POST", "/networks", body, 413)
        network_id, _ = await s.wired_network()
        port = {"port": {"network_id": network_id, "name": "x" * 10_000_000}}
        await refused(s, "POST", "/ports", port, 400)
        response = await s.client.post(
            "/v2.0/ports",
            content=b"{}",
            headers={"content-length": str(1 << 40), "content-type": "application/json"},
        )
        assert error_of(response) == (413, "HTTPRequestEntityTooLarge")


async def test_oversized_batches_are_refused() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network("10.0.0.0/16")
        body = {"ports": [{"network_id": network_id}] * 10_001}
        await refused(s, "POST", "/ports", body, 400, "BatchTooLarge")
        group = {"port_group": {"name": "g", "network_id": network_id, "count": 10_001}}
        await refused(s, "POST", "/port-groups", group, 400)


async def test_paths_methods_and_media_types_that_do_not_exist_are_answered_in_form() -> None:
    async with scene() as s:
        assert error_of(await s.ask("GET", "/nothing")) == (404, "HTTPNotFound")
        assert error_of(await s.ask("PATCH", "/networks")) == (405, "HTTPMethodNotAllowed")
        assert error_of(await s.ask("DELETE", "/networks"))[0] == 405
        assert error_of(await s.ask("PUT", f"/security-group-rules/{NOBODY}", {}))[0] == 405
        for headers in ({"content-type": "text/plain"}, {}):
            response = await s.client.post("/v2.0/networks", content=b'{"network": {}}', headers=headers)
            assert error_of(response) == (415, "HTTPUnsupportedMediaType")
        for path in ("networks", "subnets", "ports", "routers", "security-groups", "security-group-rules"):
            assert error_of(await s.ask("GET", f"/{path}/{NOBODY}"))[0] == 404
            assert error_of(await s.ask("DELETE", f"/{path}/{NOBODY}"))[0] == 404
        assert error_of(await s.ask("GET", "/changes/99")) == (404, "ChangeNotFound")


@pytest.mark.parametrize(
    "query",
    ["colour=red", "limit=x", "limit=-1", "sort_key=colour", "sort_key=name&sort_dir=up"],
)
async def test_queries_that_cannot_be_are_refused(query: str) -> None:
    async with scene() as s:
        assert error_of(await s.ask("GET", f"/networks?{query}"))[0] == 400


async def test_identity_headers_that_are_empty_make_nobody_an_operator() -> None:
    async with scene() as s:
        for headers in ({"X-Project-Id": ""}, {"X-Roles": "member"}, {"X-Project-Id": "", "X-Roles": "admin"}):
            response = await s.ask("GET", "/networks", project=None, headers=headers)
            assert error_of(response)[0] == 401


async def test_a_failing_port_fails_the_batch_and_gives_its_addresses_back() -> None:
    async with scene() as s:
        network_id, subnet_id = await s.wired_network("10.0.0.0/29")
        mac = "fa:00:00:00:00:01"
        twice = [{"network_id": network_id, "mac_address": mac}] * 2
        await refused(s, "POST", "/ports", {"ports": twice}, 409, "MacAddressInUse")
        too_many = [{"network_id": network_id}] * 6
        await refused(s, "POST", "/ports", {"ports": too_many}, 409, "IpAddressGenerationFailure")
        bad = [{"network_id": network_id}] * 4 + [{"network_id": network_id, "mac_address": "x"}]
        await refused(s, "POST", "/ports", {"ports": bad}, 400)
        assert (await s.ask("GET", "/ports")).json() == {"ports": []}
        fits = await s.ask("POST", "/ports", {"ports": [{"network_id": network_id}] * 5}, expect=201)
        assert len({port["fixed_ips"][0]["ip_address"] for port in fits.json()["ports"]}) == 5
        await refused(
            s, "POST", "/ports", {"port": {"network_id": network_id}}, 409, "IpAddressGenerationFailure"
        )
        await s.ask("DELETE", f"/ports/{fits.json()['ports'][0]['id']}", expect=204)
        await s.make("port", network_id=network_id)
        assert subnet_id


async def test_an_error_of_our_own_shows_no_stack() -> None:
    async with scene() as s:

        async def broken(*_: object) -> None:
            raise RuntimeError("secret")

        s.store.select = broken  # type: ignore[method-assign,assignment]
        response = await s.ask("GET", "/networks")
        assert error_of(response) == (500, "HTTPInternalServerError")
        assert "secret" not in response.text
