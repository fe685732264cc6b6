"""Tenants' priorities and the progress of a restart, over HTTP against a store in memory."""

from api_scene import error_of, scene


async def test_a_tenants_priority_is_kept_and_shown() -> None:
    async with scene() as s:
        unset = await s.ask("GET", "/projects/gold", admin=True, expect=200)
        assert unset.json()["project"] == {"id": "gold", "priority": 50, "revision_number": 0}
        for number, priority in enumerate((90, 70), 1):
            body = {"project": {"priority": priority}}
            said = await s.ask("PUT", "/projects/gold", body, admin=True, expect=200)
            assert said.json()["project"] == {"id": "gold", "priority": priority, "revision_number": number}
            assert int(said.headers["X-Alcor-Revision"]) == number
        assert (await s.ask("GET", "/projects", admin=True)).json()["projects"] == [
            {"id": "gold", "priority": 70, "revision_number": 2}
        ]
        (stored,) = (await s.store.changes(after=1))[0].puts.projects
        assert (stored.id, stored.priority) == ("gold", 70)
        stale = await s.ask(
            "PUT",
            "/projects/gold",
            {"project": {"priority": 1}},
            admin=True,
            headers={"If-Match": "revision_number=1"},
        )
        assert error_of(stale) == (412, "RevisionNumberConstraintFailed")


async def test_priorities_that_cannot_be_are_refused() -> None:
    async with scene() as s:
        for wrong in (-1, 101, "high", None, 1.5):
            answer = await s.ask("PUT", "/projects/gold", {"project": {"priority": wrong}}, admin=True)
            assert error_of(answer)[0] == 400
        for body in ({}, {"project": {"colour": "red"}}, {"project": {"id": "other"}}):
            assert error_of(await s.ask("PUT", "/projects/gold", body, admin=True))[0] == 400
        assert (await s.ask("GET", "/projects", admin=True)).json()["projects"] == []


async def test_only_administrators_see_and_set_priorities_and_progress() -> None:
    async with scene() as s:
        body = {"project": {"priority": 100}}
        for method, path, sent in (
            ("PUT", "/projects/blue", body),
            ("GET", "/projects/blue", None),
            ("GET", "/projects", None),
            ("GET", "/resync", None),
            ("GET", "/resync/networks", None),
        ):
            assert error_of(await s.ask(method, path, sent)) == (403, "PolicyNotAuthorized")


async def test_the_progress_of_a_restart_is_shown_for_the_region_and_per_network() -> None:
    async with scene() as s:
        resync = (await s.ask("GET", "/resync", admin=True, expect=200)).json()["resync"]
        assert resync == {
            "epoch": 3,
            "hosts": 3,
            "away": 0,
            "waiting": 1,
            "synchronising": 0,
            "done": 2,
            "networks": 2,
            "networks_complete": 1,
            "bytes_left": 4096,
        }
        networks = (await s.ask("GET", "/resync/networks", admin=True)).json()["networks"]
        assert [(each["network_id"], each["hosts_done"]) for each in networks] == [("net-1", 3), ("net-2", 1)]
        left = (await s.ask("GET", "/resync/networks?incomplete", admin=True)).json()["networks"]
        assert [each["network_id"] for each in left] == ["net-2"]
