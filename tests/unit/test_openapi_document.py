"""The document has everything that is served, and says of everything what it takes and gives."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from alcor.contracts.identity import IdentitySource
from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from alcor.management_plane.api.accepts import schema_of
from alcor.management_plane.api.application import create_application
from alcor.management_plane.api.collection import Collection
from alcor.management_plane.api.described import operation_of
from alcor.management_plane.api.gate import GuardedRoute
from alcor.management_plane.api.openapi.document import document
from alcor.management_plane.identity.believed_headers import BelievedHeaders
from alcor.management_plane.identity.keystone import KeystoneTokens
from alcor.management_plane.identity.tokens import TokenTable
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.convergence import ConvergenceDouble


def routes(identities: IdentitySource | None = None) -> list[GuardedRoute]:
    """Give everything that is served where everything is wired."""
    store = MemoryStore()
    application = create_application(
        store,
        MemoryAllocator(store),
        ConvergenceDouble(store),
        SystemClock(),
        SILENT,
        identities=identities or BelievedHeaders(),
        tracer=object(),  # type: ignore[arg-type]  # nobody asks it
        trail=object(),  # type: ignore[arg-type]
    )
    return [route for route in application.routes if isinstance(route, GuardedRoute)]


@pytest.fixture(scope="module")
def whole() -> Any:
    made = document(routes(), BelievedHeaders.ways, "1")
    assert made == document(routes(), BelievedHeaders.ways, "1")
    return json.loads(msgspec.json.encode(made))


def test_every_endpoint_describes_itself(whole: Any) -> None:
    for route in routes():
        for method, endpoint in route.endpoints.items():
            assert operation_of(endpoint) is not None, (
                f"{method} {route.path}: say what {endpoint.__qualname__} takes and gives, with @describes "
                "(management_plane/api/described.py)"
            )
            assert method.lower() in whole["paths"][route.path]


def test_every_attribute_that_can_be_said_says_what_it_takes() -> None:
    for route in routes():
        for endpoint in route.endpoints.values():
            owner = getattr(endpoint, "__self__", None)
            for attribute in owner.resource.attributes if isinstance(owner, Collection) else ():
                if attribute.post or attribute.put:
                    assert schema_of(attribute.parse) is not None, (
                        f"{owner.resource.singular}.{attribute.name}: say what its parse function takes, with "
                        "@accepts (management_plane/api/accepts.py)"
                    )


def references(node: Any) -> Iterator[str]:
    """Find all references in the document."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_every_reference_leads_somewhere_and_no_name_is_given_twice(whole: Any) -> None:
    for reference in references(whole):
        found = whole
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    operations = [
        operation
        for item in whole["paths"].values()
        for name, operation in item.items()
        if name != "parameters"
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(operation["summary"] for operation in operations)
    assert all(tag["description"] for tag in whole["tags"]), "say in openapi/words.py what it is about"


def test_a_resource_is_described_by_its_table(whole: Any) -> None:
    lists = whole["paths"]["/v2.0/networks"]["get"]
    names = [parameter["name"] for parameter in lists["parameters"]]
    assert {"name", "project_id", "tenant_id", "tags-any", "fields", "sort_key", "limit", "marker"} <= set(
        names
    )
    assert len(set(names)) == len(names)
    assert {"200", "400", "401", "403", "406", "429", "503"} <= set(lists["responses"])
    body = whole["paths"]["/v2.0/networks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    single, many = body["oneOf"]
    assert single["required"] == ["network"]
    assert many["properties"]["networks"]["maxItems"] == 10_000
    create = whole["components"]["schemas"]["NetworkCreate"]["properties"]
    assert create["provider:segmentation_id"]["x-alcor-admin"]
    assert "status" not in create
    assert whole["components"]["schemas"]["SubnetCreate"]["required"] == ["network_id", "ip_version"]
    assert "network_id" not in whole["components"]["schemas"]["SubnetUpdate"]["properties"]
    shown = whole["components"]["schemas"]["Network"]["properties"]
    assert shown["router:external"]["type"] == "boolean"
    template = whole["components"]["schemas"]["PortGroupCreate"]["properties"]["port"]["properties"]
    assert "fixed_ips" in template
    assert "network_id" not in template


def test_security_is_that_of_the_identity_setting(whole: Any) -> None:
    assert whole["security"] == [{}, {"project": []}, {"project": [], "roles": []}]
    assert whole["paths"]["/openapi.json"]["get"]["security"] == []
    assert "security" not in whole["paths"]["/v2.0/networks"]["get"]
    assert whole["paths"]["/v2.0/hosts"]["get"]["x-alcor-role"] == "admin"
    for ways, expected in (
        (TokenTable.ways, [{"token": []}, {"basic": []}]),
        (KeystoneTokens.ways, [{"token": []}]),
    ):
        made = document(routes(), ways, "1")
        assert made["security"] == expected
        assert made["components"]["securitySchemes"]["token"]["name"] == "X-Auth-Token"


def test_every_list_is_paged() -> None:
    short = {"/", "/v2.0/extensions"}  # what Alcor is made of, not what is stored; and at most 50 tags
    for route in routes():
        operation = operation_of(route.endpoints.get("GET"))
        if operation is None or route.path in short or route.path.endswith("/tags"):
            continue
        if any(gift.is_many for gift in operation.gives):
            taken = {parameter.name for parameter in operation.takes}
            assert {"limit", "marker"} <= taken, f"{route.path}: a list without pages (listing.cut makes them)"
            assert all(gift.links for gift in operation.gives), route.path
