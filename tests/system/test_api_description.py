"""What the document says is what is answered: every operation is carried out for real."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alcor.contracts.convergence import TraceResult
from api_routes import ask, blue_objects, filled
from api_scene import ADMIN, Scene, error_of, scene


class _Trace:
    async def trace(self, **asked: Any) -> TraceResult:
        return TraceResult(delivered=False, to_port=None, decided_by="nobody is there", steps=())


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene(tracer=_Trace()) as opened:
        yield opened


async def test_every_operation_answers_as_the_document_says(s: Scene) -> None:
    ids = await blue_objects(s)
    await s.add_dead_host("host-9")  # agents that live are not forgotten
    dead = await s.ask("GET", "/agents?host=host-9", admin=True)
    ids["agents"] = dead.json()["agents"][0]["id"]
    ids["network-ip-availabilities"] = ids["networks"]
    trace = {"trace": {"port_id": ids["ports"], "to_ip": "10.0.0.9"}}
    await s.ask("POST", "/trace", trace, expect=200)
    document = (await s.client.get("/openapi.json")).json()
    wanted = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    # Tags before what they are on, what is used after what uses it: what is refused for now is tried again.
    order = ["POST", "PUT", "GET", "DELETE"]
    left = sorted(
        wanted, key=lambda each: (order.index(each[0]), -each[1].count("/"), "networks" in each[1], each[1])
    )
    sub = {"port_id": (await s.make("port", network_id=ids["networks"]))["id"]}
    bodies: dict[str, Any] = {
        "/v2.0/security-group-rules": {
            "security_group_rule": {"security_group_id": ids["security-groups"], "direction": "ingress"}
        },
        "/v2.0/routers/{id}/add_router_interface": {"subnet_id": ids["subnets"]},
        "/v2.0/routers/{id}/remove_router_interface": {"subnet_id": ids["subnets"]},
        "/v2.0/routers/{id}/add_extraroutes": {"router": {"routes": []}},
        "/v2.0/routers/{id}/remove_extraroutes": {"router": {"routes": []}},
        "/v2.0/subnetpools/{id}/add_prefixes": {"prefixes": ["192.168.0.0/16"]},
        "/v2.0/subnetpools/{id}/remove_prefixes": {"prefixes": ["192.168.0.0/16"]},
        "/v2.0/subnetpools/{id}/onboard_network_subnets": {"network_id": ids["networks"]},
        "/v2.0/ports/{id}/bindings": {"binding": {"host": "host-2"}},
        "/v2.0/ports/{id}/bindings/{host}": {"binding": {"profile": {"a": 1}}},
        "/v2.0/ports/{id}/bindings/{host}/activate": {},
        "/v2.0/agents/{id}": {"agent": {"description": "gone"}},
        "/v2.0/default-security-group-rules": {
            "default_security_group_rule": {
                "direction": "ingress",
                "protocol": "gre",
                "used_in_default_sg": False,
                "used_in_non_default_sg": True,
            }
        },
        "/v2.0/address-groups/{id}/add_addresses": {"addresses": ["192.0.2.0/24"]},
        "/v2.0/address-groups/{id}/remove_addresses": {"addresses": ["10.0.0.0/8"]},
        "/v2.0/trunks/{id}/add_subports": {
            "sub_ports": [sub | {"segmentation_type": "vlan", "segmentation_id": 5}]
        },
        "/v2.0/trunks/{id}/remove_subports": {"sub_ports": [sub]},
        "/v2.0/quotas/{id}": {"quota": {"network": 7}},
        "/v2.0/projects/{id}": {"project": {"priority": 1}},
    }
    for _ in range(6):
        for method, path in left:
            if path.endswith("/tags") or path in bodies:
                body = bodies.get(path, {"tags": ["t"]})
                await s.client.request(method, filled(path, ids), json=body, headers=ADMIN)
            else:
                await ask(s, method, filled(path, ids), ADMIN)
        done = {(method, path) for path, method, status in s.documented.seen if status < 300}
        left = [each for each in left if each not in done]
        for port in (await s.ask("GET", "/ports")).json()["ports"]:  # what hangs on the objects above
            await s.ask("DELETE", f"/ports/{port['id']}")
    assert not left, f"never carried out, so nobody knows whether the answer is as the document says: {left}"


async def test_the_document_and_the_page_are_readable_by_anybody(s: Scene) -> None:
    nobody = {"X-Project-Id": ""}
    answer = await s.client.get("/openapi.json", headers=nobody)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.1")
    page = await s.client.get("/docs", headers=nobody | {"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text.replace("http://www.w3.org/", "")
    assert "https://" not in page.text


async def test_methods_that_a_path_does_not_have_are_refused_with_those_it_has(s: Scene) -> None:
    for method in ("PATCH", "DELETE", "PUT", "OPTIONS", "TRACE", "QUERY", "BREW"):
        answer = await s.ask(method, "/networks")
        assert error_of(answer) == (405, "HTTPMethodNotAllowed")
        assert answer.headers["allow"] == "GET, POST, HEAD"
    assert (await s.ask("PUT", "/security-group-rules/x", {})).headers["allow"] == "GET, DELETE, HEAD"


async def test_head_answers_as_get_without_the_body(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    for path in ("/networks", f"/networks/{network_id}", "/extensions", "/quotas/blue"):
        got, told = await s.ask("GET", path), await s.ask("HEAD", path)
        assert (told.status_code, told.headers["content-length"]) == (200, got.headers["content-length"])
        assert not told.content
    assert (await s.ask("HEAD", "/networks/x")).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "is_accepted"),
    [
        ("*/*", True),
        ("application/json", True),
        ("application/*;q=0.1", True),
        ("text/html, */*;q=0.8", True),
        ("application/json;q=0", False),
        ("*/*, application/json; q=0.000", False),
        ("text/html", False),
        ("application/xml", False),
        ("", True),
        (",;;=,", True),
    ],
)
async def test_answers_of_a_kind_that_is_not_accepted_are_refused(
    s: Scene, accepted: str, is_accepted: bool
) -> None:
    answer = await s.ask("GET", "/networks", headers={"accept": accepted})
    if is_accepted:
        assert answer.status_code == 200
    else:
        assert error_of(answer) == (406, "HTTPNotAcceptable")


async def test_a_url_that_is_too_long_is_refused(s: Scene) -> None:
    assert (await s.ask("GET", f"/networks?name={'x' * 16_000}")).status_code == 200
    assert error_of(await s.ask("GET", f"/networks?name={'x' * 17_000}")) == (414, "HTTPRequestURITooLong")


async def test_a_refusal_does_not_send_back_all_that_was_sent(s: Scene) -> None:
    answer = await s.ask("POST", "/networks", {"network": {"admin_state_up": "x" * 1_000_000}})
    assert error_of(answer)[0] == 400
    assert len(answer.content) < 3_000
