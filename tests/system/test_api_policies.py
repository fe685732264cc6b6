"""Every route there is, and who may call it: a route without a line here, or without a policy, fails."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

from alcor.management_plane.api.gate import GuardedRoute
from alcor.management_plane.identity import tokens
from alcor.management_plane.identity.tokens import TokenTable
from alcor.runtime.clock import SystemClock
from api_routes import CHANGES, ask, blue_objects, filled
from api_scene import Scene, error_of, scene

PUBLIC = {"/", "/healthz", "/openapi.json", "/docs"}
OPERATOR = {
    "/v2.0/hosts",
    "/v2.0/hosts/{id}",
    "/v2.0/ports/{id}/bindings",
    "/v2.0/ports/{id}/bindings/{host}",
    "/v2.0/ports/{id}/bindings/{host}/activate",
    "/v2.0/projects",
    "/v2.0/projects/{id}",
    "/v2.0/quotas",
    "/v2.0/resync",
    "/v2.0/resync/networks",
}
# Everybody's or the project's to look at, and the operator's to change.
GRANTED = {
    "/v2.0/quotas/tenant",
    "/v2.0/quotas/project",
    "/v2.0/quotas/{id}",
    "/v2.0/quotas/{id}/default",
    "/v2.0/quotas/{id}/details",
    "/v2.0/quotas/{id}/details.json",
    "/v2.0/default-security-group-rules",
    "/v2.0/default-security-group-rules/{id}",
}
# Made by reading, so that readers may not.
MEMBERS = {"/v2.0/auto-allocated-topology/{id}"}
# Nobody's object: the same for everybody, or answered by what the caller may see.
SHARED = {
    "/v2.0",
    "/v2.0/",
    "/v2.0/extensions",
    "/v2.0/extensions/{alias}",
    "/v2.0/agents",
    "/v2.0/agents/{id}",
    "/v2.0/availability_zones",
    "/v2.0/service-providers",
    "/v2.0/floatingips",
    "/v2.0/network-ip-availabilities",
    "/v2.0/network-ip-availabilities/{id}",
    "/v2.0/changes/{revision}",
    "/v2.0/events",
    "/v2.0/trace",
}
READING = ("GET", "HEAD")
CHANGING = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")

Callers = dict[str, dict[str, str]]  # what each kind of caller shows
NOBODY = {"X-Project-Id": ""}
WITHOUT_ROLE = {"X-Project-Id": "blue", "X-Roles": "auditor"}
READER = {"X-Project-Id": "blue", "X-Roles": "reader"}
MEMBER = {"X-Project-Id": "blue", "X-Roles": "member,reader"}
STRANGER = {"X-Project-Id": "green", "X-Roles": "member,reader"}


class _NoTrace:
    async def trace(self, **asked: Any) -> Any:
        return {"verdict": "delivered"}


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene(tracer=_NoTrace()) as opened:
        yield opened


def routes(application: Starlette) -> list[str]:
    """Give the paths of all routes there are, of whatever kind."""
    found = []
    for route in application.routes:
        assert isinstance(route, GuardedRoute), f"{route} does not go through the gate"
        found.append(route.path)
    return found


@pytest.fixture(params=["headers that are believed", "tokens"])
async def guarded(request: pytest.FixtureRequest, s: Scene) -> AsyncIterator[tuple[Scene, Callers]]:
    """Open a second entrance to the same store; give it with what each kind of caller shows there."""
    if request.param == "tokens":
        callers, table = _with_tokens()
        async with scene(store=s.store, tracer=_NoTrace(), identities=table) as opened:
            yield opened, callers
    else:
        yield s, {"nobody": NOBODY, "without a role": WITHOUT_ROLE, "reader": READER, "member": MEMBER}


def _with_tokens() -> tuple[Callers, TokenTable]:
    clock = SystemClock()
    callers: Callers = {"nobody": {"X-Auth-Token": "alcor_0_0", "X-Project-Id": "blue", "X-Roles": "admin"}}
    records = []
    for name, role in (("without a role", "auditor"), ("reader", "reader"), ("member", "member")):
        token, record = tokens.issue(
            project_id="blue", user_id=name, roles=["reader"], now_us=clock.now_us(), lifetime_s=600
        )
        callers[name] = {"X-Auth-Token": token, "X-Project-Id": "green", "X-Roles": "admin"}
        records.append(msgspec.structs.replace(record, roles=(role,)))
    table = TokenTable(clock, lambda: records)
    table.reload()
    return callers, table


async def test_nobody_comes_past_any_route_and_roles_say_how_far_the_others_come(
    s: Scene, guarded: tuple[Scene, Callers]
) -> None:
    ids = await blue_objects(s)
    entrance, callers = guarded
    before = await s.store.revision()
    for template in routes(entrance.application):
        path = filled(template, ids)
        for method in (*READING, *CHANGING):
            reads = method in READING
            is_public = reads and template in PUBLIC
            expected = {
                "nobody": None if is_public else 401,
                "without a role": None if is_public else 403,
                "reader": None if reads and template not in OPERATOR | MEMBERS else 403,
                "member": 403 if template in (OPERATOR if reads else OPERATOR | GRANTED) else None,
            }
            for name, status in expected.items():
                if name == "member" and not reads and status is None:
                    continue  # the rest of the suite is about what members do
                answer = await ask(entrance, method, path, callers[name])
                where = f"{method} {template} by {name}: {answer.status_code} {answer.text}"
                if status is None:
                    assert answer.status_code not in (401, 403), where
                else:
                    assert answer.status_code == status, where
                assert answer.status_code < 500, where
    assert await s.store.revision() == before, "somebody changed something"


async def test_another_projects_objects_do_not_exist_on_any_route(s: Scene) -> None:
    ids = await blue_objects(s)
    await s.ask("GET", "/security-groups", project="green", expect=200)  # makes the default group of green
    before = await s.store.revision()
    for template in routes(s.application):
        if template in PUBLIC | OPERATOR | SHARED | GRANTED | MEMBERS:
            continue
        kind = template.split("/")[2]
        assert kind in CHANGES, f"{template}: say above whose objects these are"
        if "{id}" not in template:
            listed = await ask(s, "GET", template, STRANGER)
            assert all(each["project_id"] == "green" for each in next(iter(listed.json().values())))
            continue
        for method in ("GET", "PUT", "DELETE"):
            answer = await ask(s, method, filled(template, ids), STRANGER)
            where = f"{method} {template}: {answer.status_code} {answer.text}"
            assert answer.status_code in (404, 405) or "{tag}" not in template, where
            assert answer.status_code in (400, 404, 405), where
            unknown = await ask(s, method, filled(template, dict.fromkeys(ids, UNKNOWN)), STRANGER)
            told = answer.text.replace(ids[kind], "X")
            assert told == unknown.text.replace(UNKNOWN, "X"), f"{where} tells that it is there"
    assert await s.store.revision() == before


UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_agents_and_receipts_are_filtered_for_who_is_no_administrator(s: Scene) -> None:
    await blue_objects(s)
    assert (await s.ask("GET", "/agents", project="green", expect=200)).json() == {"agents": []}
    agent = (await s.ask("GET", "/agents", admin=True)).json()["agents"][0]
    assert error_of(await s.ask("GET", f"/agents/{agent['id']}"))[0] == 404
    assert error_of(await s.ask("GET", "/changes/1", project="green"))[0] == 404


async def test_an_unknown_path_is_known_only_to_those_who_say_who_they_are(s: Scene) -> None:
    assert error_of(await s.client.get("/v2.0/nothing", headers=NOBODY))[0] == 401
    assert error_of(await s.client.get("/v2.0/nothing", headers=READER))[0] == 404
