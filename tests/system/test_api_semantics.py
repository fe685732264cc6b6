"""Neutron's semantics of lists, preconditions and bodies, as its clients and its test-suite rely on them."""

from typing import Any

import httpx
import pytest

from alcor.management_plane.api import listing
from api_scene import Scene, error_of, scene

NOBODY = "00000000-0000-7000-8000-000000000000"


def message_of(response: httpx.Response) -> str:
    found: str = response.json()["NeutronError"]["message"]
    return found


def links_of(body: Any, plural: str = "networks") -> dict[str, str]:
    return {
        link["rel"]: link["href"].removeprefix("http://api.test/v2.0")
        for link in body.get(f"{plural}_links", ())
    }


async def names(s: Scene, query: str, **who: Any) -> list[str]:
    answer = await s.ask("GET", f"/networks?{query}", expect=200, **who)
    return [network["name"] for network in answer.json()["networks"]]


async def networks(s: Scene, *wanted: str, **more: Any) -> list[str]:
    return [(await s.make("network", name=name, **more))["id"] for name in wanted]


@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_links_lead_through_all_pages_and_back(direction: str) -> None:
    """Neutron's suite follows `next` from a full last page to an empty one, and goes back from there."""
    async with scene() as s:
        await networks(s, "b", "a", "d", "c")
        expected = sorted("abcd", reverse=direction == "desc")
        href = f"/networks?limit=1&sort_key=name&sort_dir={direction}"
        there, links = [], {"next": href}
        for _ in expected:
            body = (await s.ask("GET", links["next"], expect=200)).json()
            links = links_of(body)
            there += [network["name"] for network in body["networks"]]
        assert there == expected
        body = (await s.ask("GET", links["next"], expect=200)).json()
        assert body["networks"] == []
        links = links_of(body)
        assert set(links) == {"previous"}
        back = []
        for _ in expected:
            body = (await s.ask("GET", links["previous"], expect=200)).json()
            links = links_of(body)
            back += [network["name"] for network in body["networks"]]
        assert back == expected[::-1]
        body = (await s.ask("GET", links["previous"], expect=200)).json()
        assert set(links_of(body)) == {"next"}


async def test_links_keep_filters_sorting_and_fields_and_the_address_that_was_used() -> None:
    async with scene() as s:
        await networks(s, "a", "a", "b", description="x&y=z")
        proxy = {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "cloud.example:8443",
            "X-Forwarded-Prefix": "/net/",
        }
        query = "name=a&name=c&description=x%26y%3Dz&fields=id&sort_key=name&sort_dir=asc&limit=1"
        first = (await s.ask("GET", f"/networks?{query}", headers=proxy, expect=200)).json()
        href = first["networks_links"][0]["href"]
        assert href.startswith("https://cloud.example:8443/net/v2.0/networks?")
        second = (await s.ask("GET", href.partition("/v2.0")[2], expect=200)).json()
        assert first["networks"] != second["networks"]
        third = (await s.ask("GET", links_of(second)["next"], expect=200)).json()
        assert third["networks"] == []


@pytest.mark.parametrize("host", ["[", "evil host", 'x"y', "[::1", "a/b", "", "x" * 300, "\u2100"])
async def test_what_is_no_address_is_not_repeated_into_links(host: str) -> None:
    async with scene() as s:
        for name in ("X-Forwarded-Host", "Host"):
            answer = await s.client.get("/", headers={name: host.encode()})  # type: ignore[dict-item]
            assert answer.json()["versions"][0]["links"][0]["href"] == "http://localhost/v2.0/"
        answer = await s.client.get("/", headers={"Host": "[fe80::1]:9696", "X-Forwarded-Proto": "javascript"})
        assert answer.json()["versions"][0]["links"][0]["href"] == "http://[fe80::1]:9696/v2.0/"


async def test_equal_keys_are_ordered_by_id_in_both_directions_and_pages_do_not_overlap() -> None:
    async with scene() as s:
        for name, mtu in (("x", 1300), ("y", 1400), ("x", 1400), ("x", 1300), ("y", 1300)):
            await s.make("network", name=name, mtu=mtu)
        everything = (await s.ask("GET", "/networks")).json()["networks"]
        for sort in ("sort_key=name&sort_dir=asc", "sort_key=name&sort_key=mtu&sort_dir=desc&sort_dir=asc"):
            whole = [each["id"] for each in (await s.ask("GET", f"/networks?{sort}")).json()["networks"]]
            parts: list[str] = []
            while True:
                marker = f"&marker={parts[-1]}" if parts else ""
                page = (await s.ask("GET", f"/networks?{sort}&limit=2{marker}", expect=200)).json()["networks"]
                if not page:
                    break
                parts += [each["id"] for each in page]
            assert parts == whole
        ordered = sorted(everything, key=lambda each: (each["mtu"], each["id"]))
        ordered.sort(key=lambda each: each["name"], reverse=True)
        assert whole == [each["id"] for each in ordered]
        assert await names(s, "sort_key=name&sort_key=name&sort_dir=asc&sort_dir=desc") == ["x"] * 3 + ["y"] * 2


async def test_a_marker_that_does_not_exist_is_missing_as_any_object() -> None:
    async with scene() as s:
        (other,) = await networks(s, "other", project="red")
        for marker in (NOBODY, other, "x"):
            for sort in ("name", "description"):
                refused = await s.ask("GET", f"/networks?limit=1&marker={marker}&sort_key={sort}")
                assert error_of(refused) == (404, "NetworkNotFound")
        assert error_of(await s.ask("GET", "/agents?limit=1&marker=x", admin=True))[0] == 404


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("foo=1&name=a&bar=2", 400, "['foo', 'bar'] is invalid attribute for filtering"),
        ("subnets=x", 400, "['subnets'] is invalid attribute for filtering"),
        (
            "admin_state_up=perhaps",
            400,
            "Invalid input for operation: 'perhaps' cannot be converted to boolean.",
        ),
        ("shared=", 400, "Invalid input for operation: '' cannot be converted to boolean."),
        ("mtu=big", 400, "Invalid input for operation: 'big' is not an integer."),
        ("limit=x", 400, "Bad limit request: Limit must be an integer 0 or greater and not 'x'."),
        ("limit=-1", 400, "Bad limit request: Limit must be an integer 0 or greater and not '-1'."),
        (
            "sort_key=foo&sort_key=subnets&sort_dir=asc&sort_dir=asc",
            400,
            "['foo', 'subnets'] is invalid attribute for sort_keys",
        ),
        (
            "sort_key=name&sort_dir=up",
            400,
            "['up'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'",
        ),
        ("sort_key=name&sort_key=id&sort_dir=asc", 400, "The number of sort_keys and sort_dirs must be same"),
    ],
)
async def test_queries_that_cannot_be_are_refused_in_neutrons_words(
    query: str, status: int, message: str
) -> None:
    async with scene() as s:
        refused = await s.ask("GET", f"/networks?{query}")
        assert (refused.status_code, message_of(refused)) == (status, message)


async def test_filters_are_or_within_and_and_between() -> None:
    async with scene() as s:
        await networks(s, "a", "b")
        await s.make("network", name="c", admin_state_up=False)
        await s.make("network", name="")
        assert await names(s, "name=a&name=c&sort_key=name") == ["a", "c"]
        assert await names(s, "name=a&name=c&admin_state_up=false") == ["c"]
        assert await names(s, "name=") == [""]
        for text in ("True", "true", "1", "TRUE", "yes"):
            assert await names(s, f"admin_state_up={text}&name=a&name=c") == ["a"]
        for text in ("False", "false", "0", "off"):
            assert await names(s, f"admin_state_up={text}") == ["c"]
        assert len(await names(s, "admin_state_up=true&admin_state_up=false")) == 4
        assert await names(s, "mtu=99999") == []
        assert await names(s, "id=x") == []
        assert await names(s, "tenant_id=red") == []


async def test_fields_that_do_not_exist_are_nothing_and_empty_ones_are_none() -> None:
    async with scene() as s:
        (id_,) = await networks(s, "a")
        for path, plural in (("/networks", True), (f"/networks/{id_}", False)):

            def only(body: Any, plural: bool = plural) -> Any:
                return body["networks"][0] if plural else body["network"]

            assert only((await s.ask("GET", f"{path}?fields=id&fields=foo")).json()) == {"id": id_}
            assert only((await s.ask("GET", f"{path}?fields=foo")).json()) == {}
            assert len(only((await s.ask("GET", f"{path}?fields=")).json())) > 10


async def test_tags_filter_what_has_tags_only() -> None:
    async with scene() as s:
        assert error_of(await s.ask("GET", "/agents?tags=a", admin=True))[0] == 400
        assert error_of(await s.ask("GET", "/security-group-rules?tags=a"))[0] == 400
        for name, tags in (("ab", ["a", "b"]), ("b", ["b"]), ("none", [])):
            await s.make("network", name=name, tags=tags)
        for query, expected in (
            ("tags=a,b", ["ab"]),
            ("tags=a&tags=b", ["ab"]),
            ("tags-any=a,b", ["ab", "b"]),
            ("not-tags=a,b", ["b", "none"]),
            ("not-tags-any=a", ["b", "none"]),
            ("tags-any=b&not-tags=a", ["b"]),
        ):
            assert await names(s, f"{query}&sort_key=name") == expected, query


async def test_limits_are_bounded_and_none_is_the_largest_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_MAX", 3)
    async with scene() as s:
        await networks(s, *"abcde")
        for query in ("limit=0", "limit=100", "sort_key=name", "sort_key=name&limit=999999999"):
            body = (await s.ask("GET", f"/networks?{query}", expect=200)).json()
            assert len(body["networks"]) == 3
            following = (await s.ask("GET", links_of(body)["next"], expect=200)).json()
            assert len(following["networks"]) == 2
        whole = (await s.ask("GET", "/networks?name=a")).json()
        assert "networks_links" not in whole, "nobody asked for pages, and nothing follows"


async def test_a_search_that_looks_at_too_much_goes_on_on_the_next_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "SEARCH_MAX", 10)
    monkeypatch.setattr(listing, "_CHUNK", 5)
    async with scene() as s:
        await networks(s, *(f"n{number:02}" for number in range(34)))
        await s.make("network", name="n99", description="wanted")
        for start, rel in (("", "next"), ("&page_reverse=True", "previous")):
            href, found, pages = f"/networks?description=wanted&sort_key=name{start}", [], 0
            while href:
                body = (await s.ask("GET", href, expect=200)).json()
                found += [network["name"] for network in body["networks"]]
                href, pages = links_of(body).get(rel, ""), pages + 1
            assert found == ["n99"]
            assert pages == 4, "36 of 10 each"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("revision_number={}", 200),
        ('"revision_number={}"', 200),
        (' "revision_number={}" ', 200),
        ('"other", "revision_number={}"', 200),
        ("*", 200),
        ("revision_number=0", 412),
        ("revision_number=-1", 412),
        ("revision_number=99999999999999999999999999", 412),
        ('"revision_number={}", "revision_number={}"', 400),
        ("revision_number=x", 400),
        ("revision_number=", 400),
        ("revision_number=" + "9" * 5000, 400),
        ('"abc"', 400),
        ('W/"revision_number={}"', 400),
        ("", 400),
    ],
)
async def test_preconditions_in_all_forms(given: str, status: int) -> None:
    async with scene() as s:
        network = await s.make("network", name="a")
        header = {"If-Match": given.replace("{}", str(network["revision_number"]))}
        path = f"/networks/{network['id']}"
        changed = await s.ask("PUT", path, {"network": {"name": "b"}}, headers=header)
        assert changed.status_code == status, changed.text
        if status == 412:
            assert error_of(changed)[1] == "RevisionNumberConstraintFailed"
        assert (await s.ask("GET", path)).json()["network"]["name"] == ("b" if status == 200 else "a")


async def test_a_batch_of_no_ports_is_refused() -> None:
    async with scene() as s:
        refused = await s.ask("POST", "/ports", {"ports": []})
        assert (refused.status_code, message_of(refused)) == (400, "Resources required")


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        ("POST", [], "Body contains invalid data: it is not an object."),
        ("POST", {}, "Unable to find 'network' in request body"),
        ("POST", {"network": []}, "Object 'network' contains invalid data"),
        ("POST", {"networks": []}, "Resources required"),
        ("POST", {"networks": {}}, "Body contains invalid data: 'networks' is not a list."),
        ("POST", {"networks": [1]}, "Object 'network' contains invalid data"),
        ("POST", {"network": {"status": "UP"}}, "Attribute 'status' not allowed in POST"),
        ("PUT", {"networks": [{}]}, "Bulk operation not supported"),
        ("PUT", {"network": {"status": "UP"}}, "Cannot update read-only attribute status"),
        ("PUT", {"network": {"tenant_id": "blue"}}, "Cannot update read-only attribute tenant_id"),
        ("PUT", {"network": {"foo": 1}}, "Unrecognized attribute(s) 'foo'"),
    ],
)
async def test_bodies_are_refused_in_neutrons_words(method: str, body: Any, message: str) -> None:
    async with scene() as s:
        (id_,) = await networks(s, "a")
        refused = await s.ask(method, "/networks" if method == "POST" else f"/networks/{id_}", body)
        assert error_of(refused) == (400, "HTTPBadRequest")
        assert message_of(refused) == message


async def test_every_kind_is_made_in_batches_all_or_none() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        group = await s.make("security_group", name="g")
        rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
        batches: dict[str, list[dict[str, Any]]] = {
            "networks": [{"name": "a"}, {"network": {"name": "b"}}],
            "subnets": [
                {"network_id": network_id, "ip_version": 4, "cidr": f"10.{number}.0.0/24"} for number in (1, 2)
            ],
            "ports": [{"network_id": network_id}, {"port": {"network_id": network_id}}],
            "routers": [{"name": "a"}, {"name": "b"}],
            "security-groups": [{"name": "a"}, {"name": "b"}],
            "security-group-rules": [
                rule | {"port_range_min": port, "port_range_max": port} for port in (1, 2)
            ],
        }
        for path, items in batches.items():
            plural = path.replace("-", "_")
            made = (await s.ask("POST", f"/{path}", {plural: items}, expect=201)).json()[plural]
            assert len({each["id"] for each in made}) == 2
            before = (await s.ask("GET", f"/{path}")).json(), await s.store.revision()
            unlike = dict(items[0]) | ({"cidr": "10.3.0.0/24"} if path == "subnets" else {})
            refused = await s.ask("POST", f"/{path}", {plural: [unlike, {"colour": "red"}]})
            assert error_of(refused)[0] == 400
            assert ((await s.ask("GET", f"/{path}")).json(), await s.store.revision()) == before


async def test_administrators_make_things_for_projects_by_either_name() -> None:
    async with scene() as s:
        for name in ("project_id", "tenant_id"):
            made = await s.make("network", admin=True, project="admin", name="n", **{name: "red"})
            assert (made["project_id"], made["tenant_id"]) == ("red", "red")
        both = {"network": {"project_id": "red", "tenant_id": "blue"}}
        refused = await s.ask("POST", "/networks", both, admin=True)
        assert (refused.status_code, message_of(refused)) == (400, "'project_id' and 'tenant_id' do not match")
        own = await s.make("network", project_id="blue", tenant_id="blue")
        assert own["project_id"] == "blue"
        refused = await s.ask("POST", "/networks", {"network": {"tenant_id": "red"}})
        assert refused.status_code == 400
        assert "requires admin privileges" in message_of(refused)
        port = {"network_id": own["id"], "tenant_id": "red"}
        assert (await s.ask("POST", "/ports", {"port": port}, admin=True)).status_code in (201, 404)
