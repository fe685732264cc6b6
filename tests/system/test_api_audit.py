"""The audit trail: every request that changes something, or was to, once, with who and what became of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner
from region_scene import region

from alcor.adapters.postgres import one_statement, rows, sessions
from alcor.adapters.postgres.store import PostgresStore
from alcor.cli import audit as audit_command
from alcor.client.api import ApiClient
from alcor.contracts.audit import Actor, Asked, Entry
from alcor.contracts.store import Write
from alcor.management_plane.audit import trail as trails
from alcor.management_plane.audit.trail import AuditTrail
from alcor.model.ids import ProjectId, RequestId, RouterId
from alcor.model.records import RecordSet, Router
from alcor.runtime.clock import SystemClock, new_ids
from alcor.runtime.event_log import SILENT
from api_scene import Scene, stored_scene

ALICE = {"X-User-Id": "alice"}


def trail_of(store: PostgresStore) -> AuditTrail:
    return AuditTrail(store.audit(), SystemClock(), SILENT, days=90)


@pytest.fixture
async def s(postgres_store: PostgresStore) -> AsyncIterator[Scene]:
    async with stored_scene(postgres_store, trail=trail_of(postgres_store)) as opened:
        yield opened


async def read(s: Scene, query: str = "", **who: Any) -> list[Any]:
    answer = await s.ask("GET", f"/audit{query}", expect=200, **who)
    found: list[Any] = answer.json()["audit"]
    return found


async def test_what_was_done_is_there_at_once_with_who_did_it(s: Scene) -> None:
    body = {"network": {"name": "n"}}
    made = await s.ask("POST", "/networks", body, headers=ALICE, expect=201)
    network_id = made.json()["network"]["id"]
    await s.ask("PUT", f"/networks/{network_id}", {"network": {"name": "m"}}, headers=ALICE, expect=200)
    await s.ask("DELETE", f"/networks/{network_id}", headers=ALICE, expect=204)
    entries = await read(s, "?kind=network")
    assert [(it["action"], it["method"], it["outcome"], it["targets"], it["status"]) for it in entries] == [
        ("create", "POST", "success", [network_id], None),
        ("update", "PUT", "success", [network_id], None),
        ("delete", "DELETE", "success", [network_id], None),
    ]
    first = entries[0]
    assert (first["user_id"], first["project_id"], first["roles"]) == ("alice", "blue", ["member"])
    assert (first["address"], first["path"]) == ("127.0.0.1", "/v2.0/networks")
    assert first["request_id"] == made.headers["x-openstack-request-id"]
    assert str(first["revision"]) == made.headers["x-alcor-revision"]


async def test_a_batch_is_one_entry_with_its_first_ids(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    await s.ask("POST", "/ports", {"ports": [{"network_id": network_id}] * 150}, expect=201)
    (entry,) = await read(s, "?kind=port")
    assert (entry["count"], len(entry["targets"])) == (150, 20)


async def test_what_was_refused_is_there_with_the_reason_and_alike_ones_are_one_entry(s: Scene) -> None:
    for _ in range(3):
        await s.ask("DELETE", "/networks/00000000-0000-4000-8000-000000000000", headers=ALICE, expect=404)
    reader = {"X-Roles": "reader", **ALICE}
    await s.ask("POST", "/networks", {"network": {}}, headers=reader, expect=403)
    await s.ask("POST", "/networks", {"network": {}}, project=None, headers=ALICE, expect=401)
    own = await read(s)
    assert [(it["action"], it["status"], it["reason"], it["repeats"], it["user_id"]) for it in own] == [
        ("delete", 404, "NetworkNotFound", 3, "alice"),
        ("post", 403, "PolicyNotAuthorized", 1, "alice"),
    ]
    assert {it["outcome"] for it in own} == {"failure"}
    everything = await read(s, admin=True)
    assert [(it["status"], it["project_id"]) for it in everything if it["status"] == 401] == [(401, "")]


async def test_sharing_is_there_and_what_an_owner_does_with_guests(s: Scene) -> None:
    network_id, _ = await s.wired_network()
    share = {"object_type": "network", "object_id": network_id, "action": "access_as_shared"}
    body = {"rbac_policy": {**share, "target_tenant": "green"}}
    policy = (await s.ask("POST", "/rbac-policies", body, expect=201)).json()["rbac_policy"]
    guest = await s.make("port", network_id=network_id, project="green")
    await s.ask("DELETE", f"/rbac-policies/{policy['id']}", expect=409)
    await s.ask("DELETE", f"/ports/{guest['id']}", expect=204)
    entries = await read(s, "?kind=rbac_policy")
    assert [(it["action"], it["status"], it["reason"]) for it in entries] == [
        ("create", None, ""),
        ("delete", 409, "RbacPolicyInUse"),
    ]
    (removal,) = await read(s, "?kind=port")
    assert (removal["action"], removal["targets"], removal["project_id"]) == ("delete", [guest["id"]], "blue")


async def test_a_project_reads_its_own_and_an_administrator_all(s: Scene) -> None:
    await s.make("router", name="a")
    await s.make("router", name="b", project="green")
    assert {it["project_id"] for it in await read(s)} == {"blue"}
    assert {it["project_id"] for it in await read(s, admin=True)} == {"blue", "green"}
    assert {it["project_id"] for it in await read(s, "?project_id=green", admin=True)} == {"green"}
    await s.ask("GET", "/audit?project_id=green", expect=403)
    await s.ask("GET", "/audit", project=None, headers={"X-Project-Id": ""}, expect=401)
    await s.ask("GET", "/audit", headers={"X-Roles": "auditor"}, expect=403)
    await s.ask("DELETE", "/audit", expect=403)


@pytest.mark.parametrize(
    "query", ["since=now", "limit=x", "colour=red", "kind=%00", "until=2026-13-01T00:00:00Z"]
)
async def test_what_cannot_be_asked_is_refused(s: Scene, query: str) -> None:
    await s.ask("GET", f"/audit?{query}", expect=400)


async def test_a_path_that_nobody_foresaw_is_kept_too(s: Scene) -> None:
    answer = await s.client.request("PUT", "/v2.0/networks/%00%ff", json={}, headers={"X-Project-Id": "blue"})
    assert 400 <= answer.status_code < 500
    assert [it["kind"] for it in await read(s)] == ["network"]


async def test_pages_follow_each_other_and_times_bound_them(s: Scene) -> None:
    for number in range(7):
        await s.make("router", name=str(number))
    whole = await read(s)
    found: list[Any] = []
    path = "/audit?limit=3"
    while path:
        answer = (await s.ask("GET", path, expect=200)).json()
        found += answer["audit"]
        links = answer.get("audit_links")
        path = links[0]["href"].partition("/v2.0")[2] if links else ""
    assert found == whole
    assert len({it["id"] for it in whole}) == 7
    assert await read(s, "?until=2020-01-01T00:00:00Z") == []
    assert await read(s, "?since=2020-01-01T00:00:00Z") == whole
    assert await read(s, "?since=2099-01-01T00:00:00Z") == []


def router_write() -> Write:
    actor = Actor("blue", "alice", ("member",), "127.0.0.1", "POST", "/v2.0/routers")
    router = Router(id=RouterId(new_ids(1)[0]), project_id=ProjectId("blue"), revision_number=1)
    return Write(
        request_id=RequestId(f"req-{new_ids(1)[0]}"),
        project_id=ProjectId("blue"),
        inserts=RecordSet(routers=(router,)),
        actor=actor,
    )


async def test_a_create_is_one_statement_with_its_entry(
    postgres_store: PostgresStore, postgres_dsn: str
) -> None:
    session = await sessions.connect(postgres_dsn)
    await one_statement.run(session, [rows.encode(router_write())], now_us=0)
    asked: list[str] = []
    session.add_query_logger(lambda query: asked.append(query.query))
    assert await one_statement.run(session, [rows.encode(router_write())], now_us=0) is not None
    await session.close()
    assert len(asked) == 1
    assert len(await trail_of(postgres_store).entries(Asked())) == 2


async def test_what_was_committed_is_taken_over_once_whoever_does_it(
    postgres_store: PostgresStore, postgres_dsn: str
) -> None:
    other = await PostgresStore.open(postgres_dsn, SystemClock(), SILENT)
    for _ in range(40):
        await postgres_store.commit(router_write())
    folded = [await one.audit().fold(limit=7) for _ in range(4) for one in (postgres_store, other)]
    assert sum(folded) == 40
    assert len(await trail_of(other).entries(Asked())) == 40
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("UPDATE audit_cursor SET revision = 0")  # as if a crash had come in between
    await connection.close()
    assert len(await trail_of(other).entries(Asked())) == 40
    await other.close()


async def test_what_is_too_old_goes_in_slices(postgres_store: PostgresStore) -> None:
    kept = postgres_store.audit()
    now_us = SystemClock().now_us()
    actor = Actor("blue", "", (), "", "POST", "/")
    ages = [100, 91, 89, 1]
    await kept.add(
        [
            Entry(now_us - days * 86_400_000_000, f"r{days}", actor, "post", "port", (), 0, 0, 400)
            for days in ages
        ]
    )
    assert await kept.trim(before=now_us, limit=1) == 1
    assert await trail_of(postgres_store).trim() == 1
    left = await kept.entries(Asked())
    assert [entry.request_id for entry in left] == ["r89", "r1"]


async def test_refusals_that_wait_are_bounded(postgres_store: PostgresStore) -> None:
    trail = trail_of(postgres_store)
    for number in range(trails.KINDS_OF_REFUSAL_MAX + 50):
        actor = Actor("blue", "", (), "", "POST", f"/{number}")
        trail.note(Entry(number, f"r{number}", actor, "post", "port", (), 0, 0, 400))
    assert len(await trail.entries(Asked(limit=5000))) == trails.KINDS_OF_REFUSAL_MAX


async def test_the_trail_is_exported_as_cadf_and_survives_a_restart(tmp_path: Path) -> None:
    for name in ("first", "second"):
        async with region(tmp_path) as process:
            async with ApiClient(process.url) as api:
                await api.post("/v2.0/networks", {"network": {"name": name}})
            shown = await asyncio.to_thread(
                CliRunner().invoke, audit_command.command, ["export", "--url", process.url, "--kind", "network"]
            )
    assert shown.exit_code == 0, shown.output
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(it["action"], it["outcome"], it["target"]["typeURI"]) for it in events] == [
        ("create", "success", "service/network/network")
    ] * 2
    assert events[0]["initiator"]["host"] == {"address": "127.0.0.1"}
    assert events[0]["typeURI"].startswith("http://schemas.dmtf.org/cloud/audit/")
