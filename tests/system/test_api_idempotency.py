"""`Idempotency-Key` over HTTP: what was made is not made again, and the answer is the same."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alcor.adapters.postgres.store import PostgresStore
from api_scene import Scene, error_of, scene, stored_scene

KEY = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'


@pytest.fixture(params=["memory", "postgres"])
async def s(request: pytest.FixtureRequest, postgres_store: PostgresStore) -> AsyncIterator[Scene]:
    async with scene() if request.param == "memory" else stored_scene(postgres_store) as opened:
        yield opened


async def post(s: Scene, path: str, body: Any, key: str | None = KEY, **more: Any) -> httpx.Response:
    return await s.ask("POST", path, body, headers={} if key is None else {"Idempotency-Key": key}, **more)


def told(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.headers["X-Alcor-Revision"], answer.text


async def test_every_kind_of_create_answers_again_what_it_answered(s: Scene) -> None:
    network_id, _ = await s.wired_network("10.0.0.0/16")
    group = await s.make("security_group", name="g")
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
    used = {"used_in_default_sg": False, "used_in_non_default_sg": True}
    default_rule = {"direction": "ingress", "protocol": "sctp", **used}
    subnet = {"network_id": network_id, "ip_version": 4}
    port = {"network_id": network_id, "binding:host_id": "host-1"}
    for number, (path, body) in enumerate(
        {
            "/networks": {"networks": [{"name": "a"}, {"name": "b", "tags": ["t"]}]},
            "/networks?fields=id": {"network": {"name": "one"}},
            "/subnets": {"subnets": [{**subnet, "cidr": f"10.{n}.0.0/24"} for n in (1, 2)]},
            "/ports": {"port": port},
            "/ports?": {"ports": [{"network_id": network_id, "name": f"p{n}"} for n in range(300)]},
            "/port-groups": {"port_group": {"network_id": network_id, "hosts": ["host-1", "host-2"] * 100}},
            "/routers": {"router": {"name": "r"}},
            "/security-groups": {"security_groups": [{"name": "x"}, {"name": "y"}]},
            "/security-group-rules": {"security_group_rule": rule},
            "/address-groups": {"address_group": {"addresses": ["10.0.0.0/8", "192.0.2.0/24"]}},
            "/default-security-group-rules": {"default_security_group_rule": default_rule},
        }.items()
    ):
        first = await post(s, path, body, f"key-{number}", admin=True, expect=201)
        before = await s.store.revision()
        again = await post(s, path, body, f'"key-{number}"', admin=True)
        assert told(again) == told(first), path
        assert await s.store.revision() == before
        other = await post(s, path, body, f"other-{number}", admin=True)
        assert other.text != first.text
        # Of rules and overlapping subnets there is one only.
        assert await s.store.revision() > before or other.status_code in (400, 409)


async def test_the_answer_shows_what_was_made_also_when_it_has_changed_or_is_gone(s: Scene) -> None:
    network = await post(s, "/networks", {"network": {"name": "n"}}, "n", expect=201)
    network_id = network.json()["network"]["id"]
    subnet = {"network_id": network_id, "ip_version": 4, "cidr": "10.0.0.0/24"}
    await s.ask("POST", "/subnets", {"subnet": subnet}, expect=201)
    port = await post(s, "/ports", {"port": {"network_id": network_id}}, "p", expect=201)
    port_id = port.json()["port"]["id"]
    group = await post(s, "/security-groups", {"security_group": {}}, "g", expect=201)
    rule_id = group.json()["security_group"]["security_group_rules"][0]["id"]
    await s.ask("DELETE", f"/security-group-rules/{rule_id}", expect=204)
    await s.ask("PUT", f"/ports/{port_id}", {"port": {"name": "renamed"}}, expect=200)
    for _ in range(2):
        assert told(await post(s, "/networks", {"network": {"name": "n"}}, "n")) == told(network)
        assert told(await post(s, "/ports", {"port": {"network_id": network_id}}, "p")) == told(port)
        assert told(await post(s, "/security-groups", {"security_group": {}}, "g")) == told(group)
        await s.ask("DELETE", f"/ports/{port_id}")
        await s.ask("DELETE", f"/networks/{network_id}")
    assert (await s.ask("GET", "/ports")).json() == {"ports": []}


async def test_a_key_belongs_to_one_request_of_one_project(s: Scene) -> None:
    first = await post(s, "/networks", {"network": {"name": "n"}}, expect=201)
    for path, body in (
        ("/networks", {"network": {"name": "m"}}),
        ("/networks", {"networks": [{"name": "n"}]}),
        ("/routers", {"router": {"name": "n"}}),
    ):
        refused = await post(s, path, body)
        assert error_of(refused) == (422, "IdempotencyKeyReused")
        assert "choose a new key" in refused.text
    red = await post(s, "/networks", {"network": {"name": "n"}}, project="red", expect=201)
    assert red.json()["network"]["id"] != first.json()["network"]["id"]
    assert red.json()["network"]["project_id"] == "red"
    assert len((await s.ask("GET", "/networks", project=None)).json()["networks"]) == 2


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "caf\xe9", "a\tb"])
async def test_a_key_that_cannot_be_is_refused(s: Scene, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1")), (b"X-Project-Id", b"blue")]
    answer = await s.client.post(
        "/v2.0/networks", json={"network": {}}, headers=httpx.Headers([*headers, (b"X-Roles", b"member")])
    )
    assert error_of(answer) == (400, "IdempotencyKeyInvalid")
    assert (await s.ask("GET", "/networks")).json() == {"networks": []}


async def test_what_was_refused_is_tried_again(s: Scene) -> None:
    network = (await s.make("network", name="n"))["id"]
    body = {"port": {"network_id": network, "fixed_ips": [{"ip_address": "10.0.0.9"}]}}
    assert error_of(await post(s, "/ports", body))[0] == 400
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/24"}
    await s.ask("POST", "/subnets", {"subnet": subnet}, expect=201)
    made = await post(s, "/ports", body, expect=201)
    assert told(await post(s, "/ports", body)) == told(made)
    limit = {"quota": {"network": 1}}
    await s.ask("PUT", "/quotas/blue", limit, project=None, expect=200)
    for _ in range(2):
        assert error_of(await post(s, "/networks", {"network": {}}, "q")) == (409, "OverQuota")
    await s.ask("DELETE", "/quotas/blue", project=None, expect=204)
    await post(s, "/networks", {"network": {}}, "q", expect=201)


@pytest.mark.parametrize("size", [1, 300])
async def test_of_the_same_request_many_times_at_once_one_is_carried_out(s: Scene, size: int) -> None:
    network_id, _ = await s.wired_network("10.0.0.0/16")
    bodies = [{"ports": [{"network_id": network_id, "name": f"r{n}"}] * size} for n in range(3)]
    answers = await asyncio.gather(*(post(s, "/ports", bodies[n % 3], f"k{n % 3}") for n in range(30)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({told(answer) for answer in answers}) == 3
    ports = (await s.ask("GET", "/ports?limit=1000")).json()["ports"]
    assert len(ports) == 3 * size
    details = (await s.ask("GET", "/quotas/blue/details")).json()["quota"]
    assert details["port"]["used"] == 3 * size


async def test_addresses_of_repetitions_are_given_back(s: Scene) -> None:
    network_id, _ = await s.wired_network("10.0.0.0/29")  # five addresses
    body = {"port": {"network_id": network_id}}
    for n in range(5):
        answers = await asyncio.gather(*(post(s, "/ports", body, f"k{n}") for _ in range(2 if n < 4 else 1)))
        assert {answer.status_code for answer in answers} == {201}
        for answer in answers:
            assert told(answer) == told(answers[0])
