"""Whatever is sent, over PostgreSQL: refused in form or carried out, never our mistake; the next request works.

schemathesis knows what the document says; this sends what no document has: bytes that are no text, numbers that
fit nowhere, keys twice, headers of all kinds.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alcor.adapters.postgres.store import PostgresStore
from alcor.management_plane.api.gate import GuardedRoute
from api_scene import Scene, stored_scene

ROUNDS = int(os.environ.get("ALCOR_FUZZ_ROUNDS", "40"))  # by hand: more
JSON = {"content-type": "application/json", "x-project-id": "blue", "x-roles": "admin"}

NASTY_TEXT = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "\U0010ffff",
        "'",
        '"',
        "%00",
        "%",
        "\\",
        "{id}",
        "../..",
        "x" * 300,
        "\u202e",
    ]
)
NASTY_NUMBER = st.sampled_from(
    [
        -1,
        0,
        1,
        2**31,
        2**32,
        2**53,
        2**63 - 1,
        2**63,
        2**64,
        -(2**63) - 1,
        10**400,
        1.5,
        1e308,
        float("nan"),
        -0.0,
    ]
)
TEXT = st.one_of(NASTY_TEXT, st.text(max_size=20))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NASTY_NUMBER, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
RAW_QUERY = st.one_of(
    st.binary(max_size=24).map(quote_from_bytes),
    TEXT.map(lambda text: quote_from_bytes(text.encode(errors="surrogatepass"))),
    st.sampled_from(["%", "%zz", "&&", "=", "a=%ff%fe", "+", "%00", "a" * 5000]),
)
HEADER_VALUES = st.one_of(
    st.binary(max_size=20).map(lambda raw: raw.translate(None, b"\r\n\0")),
    st.sampled_from(
        [b"", b"\xff", b"revision_number=" + b"9" * 30, b'"', b'W/"', b"\t", b"x" * 3000, b"[", b"\xe2\x84\x80"]
    ),
)
HEADERS = st.sampled_from(
    [
        *("if-match", "idempotency-key", "accept", "host", "x-forwarded-host", "x-forwarded-proto"),
        *("x-forwarded-prefix", "content-type", "content-encoding", "x-project-id", "x-roles", "x-user-id"),
        *("last-event-id", "range", "cookie"),
    ]
)


@pytest.fixture
async def s(postgres_store: PostgresStore) -> AsyncIterator[Scene]:
    async with stored_scene(postgres_store) as opened:
        yield opened


def lists(s: Scene) -> list[Any]:
    """Give what lists by a table: its path, and the names of its parameters."""
    document = {route.path: route for route in s.application.routes if isinstance(route, GuardedRoute)}
    found = []
    for path, route in document.items():
        resource = getattr(getattr(route.endpoints.get("GET"), "__self__", None), "resource", None)
        if resource is not None and "{" not in path:
            found.append((path, resource))
    return found


def in_form(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["NeutronError"]) == {"type", "message", "detail"}


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Draw examples at once: the requests are awaited, which hypothesis cannot do."""
    found: list[Any] = []

    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


async def all_answered(s: Scene, requests: list[httpx.Request]) -> None:
    for request in requests:
        answer = await s.client.send(request)
        try:
            in_form(answer)
        except AssertionError as error:
            raise AssertionError(
                f"{request.method} {request.url} {request.headers.raw} {request.content[:2000]!r}"
            ) from error
    assert (await s.ask("GET", "/networks")).status_code == 200


def with_all(path: str, text: str) -> str:
    """Put the text in all places of a path."""
    return re.sub(r"\{[a-z_]+\}", lambda _: text, path)


def built(s: Scene, method: str, path: str, *, query: str = "", **more: Any) -> httpx.Request:
    url = httpx.URL(f"http://api.test{path}").copy_with(query=query.encode("ascii"))
    return s.client.build_request(method, url, **more)


async def test_filters_of_all_columns_take_any_text(s: Scene) -> None:
    await s.wired_network()
    requests = []
    texts = drawn(TEXT, ROUNDS) + [str(number) for number in drawn(NASTY_NUMBER, 15)]
    for path, resource in lists(s):
        names = [each.name for each in resource.attributes if each.filterable]
        for at, text in enumerate(texts):
            name = [*names, "tags", "limit", "marker", "sort_key", "fields", "tenant_id"][at % (len(names) + 6)]
            encoded = quote_from_bytes(text.encode(errors="surrogatepass"))
            requests.append(built(s, "GET", path, query=f"{name}={encoded}&{name}={encoded}", headers=JSON))
    requests += [
        built(
            s,
            "GET",
            "/v2.0/ports",
            query=f"fixed_ips={key}%3D{quote_from_bytes(text.encode(errors='replace'))}",
            headers=JSON,
        )
        for key in ("ip_address", "subnet_id", "ip_address_substr", "x")
        for text in texts[:10]
    ]
    await all_answered(s, requests)


async def test_queries_paths_and_headers_may_be_any_bytes(s: Scene) -> None:
    paths = [route.path for route in s.application.routes if isinstance(route, GuardedRoute)]
    raw = drawn(st.tuples(st.sampled_from(paths), RAW_QUERY, HEADERS, HEADER_VALUES), 6 * ROUNDS)
    requests = []
    for path, query, name, value in raw:
        filled = path.replace("{", "").replace("}", "")
        if path == "/v2.0/events":
            continue
        requests.append(built(s, "GET", filled, query=query, headers=JSON))
        requests.append(built(s, "PUT", filled, headers=[*JSON.items(), (name, value)], content=b"{}"))
        requests.append(built(s, "GET", filled, headers=[*JSON.items(), (name, value)]))
        if "{id}" in path:
            requests.append(built(s, "GET", with_all(path, query or "x"), headers=JSON))
            requests.append(built(s, "DELETE", with_all(path, "%00"), headers=JSON))
    await all_answered(s, requests)


async def test_attributes_may_be_said_anything(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    objects = {"networks": network_id, "ports": (await s.make("port", network_id=network_id))["id"]}
    values = drawn(VALUES, 3 * ROUNDS)
    requests, at = [], 0
    for path, resource in lists(s):
        required = {
            each.name: network_id if each.name == "network_id" else 4
            for each in resource.attributes
            if each.required
        }
        for attribute in resource.attributes:
            for _ in range(3):
                value, at = values[at % len(values)], at + 1
                item = required | {attribute.name: value}
                for body in ({resource.singular: item}, {resource.plural: [item, item]}):
                    requests.append(built(s, "POST", path, headers=JSON, content=_bytes(body)))
                id_ = objects.get(path.rpartition("/")[2], network_id)
                change = {resource.singular: {attribute.name: value}}
                requests.append(built(s, "PUT", f"{path}/{id_}", headers=JSON, content=_bytes(change)))
    await all_answered(s, requests)


def _bytes(body: Any) -> bytes:
    return json.dumps(body).encode()


async def test_bodies_may_be_any_bytes(s: Scene) -> None:
    network_id, subnet_id = await s.wired_network()
    port = f'"network_id":"{network_id}"'
    bodies = [
        b"\xff\xfe{}",
        b'{"port":{"name":"\xff"}}',
        b'{"port":{"name":"\\ud800",%s}}' % port.encode(),
        b'{"port":{"name":"\\u0000",%s}}' % port.encode(),
        b'{"port":{"name":"a","name":"b",%s}}' % port.encode(),
        b'{"port":{},"port":{%s}}' % port.encode(),
        b'{"port":{"binding:profile":%s,%s}}' % (b'{"a":' * 900 + b"1" + b"}" * 900, port.encode()),
        b'{"port":{"binding:profile":{"a":1e400},%s}}' % port.encode(),
        b'{"port":{"binding:profile":{"a":%s},%s}}' % (b"9" * 5000, port.encode()),
        b'{"port":{"admin_state_up":%s,%s}}' % (b"1" * 400, port.encode()),
        b'{"ports":%s}' % (b"[" * 5000),
        b'{"ports":[%s]}' % b",".join([b"{}"] * 20_000),
        b'{"port":{"extra_dhcp_opts":[{"opt_name":"\\u0000","opt_value":"\\n"}],%s}}' % port.encode(),
        b'{"port":{"fixed_ips":[{"ip_address":"%s"}],%s}}' % (b"1" * 100_000, port.encode()),
        b'{"port":{"tags":["\\ud800"],%s}}' % port.encode(),
        b"NaN",
        b'{"network":{"mtu":NaN}}',
        b'{"network":{"provider:segmentation_id":1e3}}',
        b'{"subnet_id":"%s"}' % subnet_id.encode(),
        b'{"tags":["\\u0000"]}',
        *drawn(st.binary(max_size=60), ROUNDS),
    ]
    paths = [
        with_all(route.path, network_id)
        for route in s.application.routes
        if isinstance(route, GuardedRoute) and route.endpoints.keys() & {"POST", "PUT"}
    ]
    requests = [
        built(s, method, path, headers=JSON, content=body)
        for at, path in enumerate(paths)
        for method in ("POST", "PUT")
        for body in (
            bodies if path in ("/v2.0/ports", "/v2.0/networks", "/v2.0/port-groups") else bodies[at % 7 :: 7]
        )
    ]
    await all_answered(s, requests)


async def test_long_bodies_at_the_same_time_are_refused_or_wait_their_turn(s: Scene) -> None:
    """Ten megabytes each, more together than a project may have the process hold."""
    body = b'{"ports": [' + b" " * 10_000_000 + b"]}"
    answers = await asyncio.gather(
        *(s.client.send(built(s, "POST", "/v2.0/ports", headers=JSON, content=body)) for _ in range(24))
    )
    for answer in answers:
        in_form(answer)
        assert answer.status_code in (400, 429)
    assert (await s.ask("POST", "/networks", {"network": {}})).status_code == 201
