"""The stream of changes over real connections: resumed, bounded, and each project's own."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from click.testing import CliRunner
from region_scene import region

from alcor.adapters.postgres.store import PostgresStore
from alcor.cli import events as events_command
from alcor.client.api import ApiClient, ServerEvent
from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from alcor.contracts.store import Store, Write
from alcor.management_plane.api.application import create_application
from alcor.management_plane.api.events import Bounds
from alcor.management_plane.events import feed as feeds
from alcor.management_plane.events.feed import EventFeed
from alcor.management_plane.identity import tokens
from alcor.management_plane.identity.believed_headers import BelievedHeaders
from alcor.management_plane.identity.tokens import TokenTable
from alcor.model import errors
from alcor.model.ids import ProjectId, RequestId, RouterId
from alcor.model.records import RecordSet, Router
from alcor.runtime.clock import SystemClock, new_ids
from alcor.runtime.event_log import SILENT
from doubles.convergence import ConvergenceDouble

WAIT_S = 30.0
QUICK = Bounds(heartbeat_s=0.1)


class Served:
    """An API on loopback over a store, and its feed."""

    def __init__(self, url: str, store: Any, feed: EventFeed) -> None:
        self.url = url
        self.store = store
        self.feed = feed

    def client(self, project: str | None = "blue") -> ApiClient:
        return ApiClient(self.url, project=project, timeout_s=WAIT_S)

    async def router(self, project: str = "blue", *, count: int = 1) -> list[str]:
        """Commit routers in one write; give their ids."""
        return await routers(self.store, project, count=count)


async def routers(store: Store, project: str, *, count: int = 1) -> list[str]:
    made = tuple(
        Router(id=RouterId(id_), project_id=ProjectId(project), revision_number=1) for id_ in new_ids(count)
    )
    request_id = RequestId(f"req-{new_ids(1)[0]}")
    await store.commit(
        Write(request_id=request_id, project_id=ProjectId(project), inserts=RecordSet(routers=made))
    )
    return [router.id for router in made]


@asynccontextmanager
async def served(
    store: Store | None = None, *, bounds: Bounds = QUICK, identities: Any = None, sent_max: int | None = None
) -> AsyncIterator[Served]:
    """`sent_max`: so many bytes the kernel takes for a client that does not read; None: what it likes."""
    memory = MemoryStore()
    chosen = store or memory
    feed = EventFeed(chosen, SILENT)
    application = create_application(
        chosen,
        MemoryAllocator(memory),
        ConvergenceDouble(chosen),
        SystemClock(),
        SILENT,
        identities=identities or BelievedHeaders(),
        feed=feed,
        stream_bounds=bounds,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    if sent_max is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sent_max)  # streams inherit it
    config = uvicorn.Config(application, log_level="critical", lifespan="off", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        while not server.started:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.005)
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", chosen, feed)
    finally:
        await feed.close()
        server.should_exit = True
        await task


async def take(stream: AsyncIterator[ServerEvent], count: int) -> list[ServerEvent]:
    """Read so many events that say something."""
    found: list[ServerEvent] = []
    async with asyncio.timeout(WAIT_S):
        async for event in stream:
            if event.name:
                found.append(event)
            if len(found) == count:
                return found
    raise AssertionError(f"the stream ended after {found}")


async def begun(stream: AsyncIterator[ServerEvent]) -> int:
    """Read the first event, which says where the stream begins."""
    async with asyncio.timeout(WAIT_S):
        first = await anext(stream)
    assert not first.name
    assert first.last_id is not None
    return first.last_id


async def streams_end(feed: EventFeed) -> None:
    async with asyncio.timeout(WAIT_S):
        while feed._streams:  # noqa: ASYNC110 - as from outside
            await asyncio.sleep(0.01)


async def test_what_is_created_updated_and_deleted_is_told_in_order(postgres_store: PostgresStore) -> None:
    async with served(postgres_store) as s, s.client() as api:
        stream = api.events()
        start = await begun(stream)
        made = (await api.post("/v2.0/routers", {"router": {"name": "a"}}))["router"]
        await api.put(f"/v2.0/routers/{made['id']}", {"router": {"name": "b"}})
        await api.delete(f"/v2.0/routers/{made['id']}")
        told = await take(stream, 3)
        assert [event.name for event in told] == ["router.created", "router.updated", "router.deleted"]
        assert [event.data["revision"] for event in told] == [start + 1, start + 2, start + 3]
        assert [event.last_id for event in told] == [start + 1, start + 2, start + 3]
        assert {event.data["id"] for event in told} == {made["id"]}


async def test_a_change_of_another_process_is_told_and_nobody_reads_the_log_when_nobody_follows(
    postgres_dsn: str,
) -> None:
    ours = await PostgresStore.open(postgres_dsn, SystemClock(), SILENT)
    theirs = await PostgresStore.open(postgres_dsn, SystemClock(), SILENT)
    async with served(ours) as s:
        async with s.client() as api:
            stream = api.events()
            await begun(stream)
            expected = [(await routers(theirs, "blue"))[0] for _ in range(20)]
            expected += [(await routers(ours, "blue"))[0] for _ in range(20)]
            told = await take(stream, 40)
            assert [event.data["id"] for event in told] == expected
        await streams_end(s.feed)
        assert s.feed._tail is None
        assert not s.feed._recent
    await theirs.close()
    await ours.close()


async def test_a_stream_resumes_from_any_revision_and_the_header_goes_before_the_parameter() -> None:
    async with served() as s, s.client() as api:
        made = [(await s.router())[0] for _ in range(700)]
        for since in (0, 1, 500, 699):
            told = [event async for event in api.events(since=since, follow=False) if event.name]
            assert [event.data["id"] for event in told] == made[since:]
        told = await take(api.events(since=698), 2)
        assert [event.data["id"] for event in told] == made[698:]
        async with httpx.AsyncClient(base_url=s.url, headers={"X-Project-Id": "blue"}) as client:
            answer = await client.get("/v2.0/events?since=0&follow=no", headers={"Last-Event-ID": "698"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text.count("\ndata: ") == 2
        with pytest.raises(errors.Invalid, match="newest revision is 700"):
            await begun(api.events(since=701))


async def test_who_resumes_in_the_middle_of_a_large_change_gets_all_of_it() -> None:
    async with served() as s, s.client() as api:
        made = await s.router(count=1200)
        seen = []
        async for event in api.events(since=0, follow=False):
            seen.append(event)
        told = [event for event in seen if event.name]
        assert [event.data["id"] for event in told] == made
        assert [event.last_id for event in told] == [0] * 1199 + [1]


async def test_a_trimmed_log_is_said_to_be_gone() -> None:
    async with served() as s, s.client() as api:
        for _ in range(5):
            await s.router()
        s.store.trim(through=3)
        with pytest.raises(errors.AlcorError) as refused:
            await begun(api.events(since=1))
        assert refused.value.reason == "ChangesNotRetained"
        assert len(await take(api.events(since=3), 2)) == 2


async def test_a_project_is_told_of_its_own_and_an_administrator_of_all() -> None:
    async with served() as s, s.client("blue") as blue, s.client("green") as green, s.client(None) as admin:
        streams = {"blue": blue.events(), "green": green.events(), "all": admin.events()}
        for stream in streams.values():
            await begun(stream)
        (first,), (second,) = await s.router("blue"), await s.router("green")
        assert (await take(streams["blue"], 1))[0].data["id"] == first
        assert (await take(streams["green"], 1))[0].data["id"] == second
        assert [event.data["id"] for event in await take(streams["all"], 2)] == [first, second]
        own = [event async for event in green.events(since=0, follow=False, kind="router") if event.name]
        assert [event.data["id"] for event in own] == [second]
        assert not [event async for event in green.events(since=0, follow=False, kind="port") if event.name]


async def test_heartbeats_move_the_place_to_resume_from() -> None:
    async with served() as s, s.client("green") as green:
        stream = green.events()
        await begun(stream)
        await s.router("blue", count=3)
        async with asyncio.timeout(WAIT_S):
            async for event in stream:
                assert not event.name, "nothing of it is green's"
                if event.last_id == 1:
                    break


async def test_streams_of_a_project_are_limited_and_given_back() -> None:
    async with served() as s, s.client() as api, s.client("green") as green:
        open_streams = [api.events() for _ in range(feeds.STREAMS_PER_PROJECT_MAX)]
        for stream in open_streams:
            await begun(stream)
        with pytest.raises(errors.LimitReached):
            await begun(api.events())
        await begun(green.events())
    async with served() as s, s.client() as api:
        for _ in range(3 * feeds.STREAMS_PER_PROJECT_MAX):
            with pytest.raises(errors.Invalid):
                await begun(api.events(since=99))
        await begun(api.events())


async def test_a_client_that_goes_frees_its_place_at_once() -> None:
    async with served(bounds=Bounds(heartbeat_s=600)) as s:
        async with s.client() as api:
            await begun(api.events())
            assert s.feed._streams == {"blue": 1}
        await streams_end(s.feed)


async def test_a_slow_reader_is_sent_a_last_event_and_resumes() -> None:
    bounds = Bounds(heartbeat_s=0.1, patience_s=0.2, give_up_s=WAIT_S)
    async with served(bounds=bounds, sent_max=4096) as s:
        reader, writer = await _raw(s.url)
        made = [id_ for _ in range(20) for id_ in await s.router(count=200)]
        await asyncio.sleep(2.0)  # it does not read: the buffers between are full
        async with asyncio.timeout(WAIT_S):
            text = (await reader.read()).decode()
        writer.close()
        await streams_end(s.feed)
        last = text[text.rindex("event: ") :]
        assert last.startswith("event: end\n")
        assert '"reason":"TooSlow"' in last
        told = [line for line in text.splitlines() if line.startswith("data: ")]
        assert 0 < len(told) < len(made), "there was more than fits into the buffers"
        ids = [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]
        async with served(s.store) as patient, patient.client() as api:
            rest = [event async for event in api.events(since=ids[-1], follow=False) if event.name]
        assert [event.data["id"] for event in rest] == made[200 * ids[-1] :]


async def test_a_client_that_never_reads_is_cut_off() -> None:
    bounds = Bounds(heartbeat_s=0.1, patience_s=0.1, give_up_s=0.3)
    async with served(bounds=bounds, sent_max=4096) as s:
        _, writer = await _raw(s.url)
        for _ in range(20):
            await s.router(count=200)
        await streams_end(s.feed)
        writer.transport.abort()


async def _raw(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Follow, with small buffers and without reading."""
    host, _, port = url.removeprefix("http://").partition(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
    writer.write(
        b"GET /v2.0/events?since=0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Project-Id: blue\r\n\r\n"
    )
    await writer.drain()
    return reader, writer


async def test_a_revoked_token_ends_its_stream() -> None:
    clock = SystemClock()
    token, record = tokens.issue(
        project_id="blue", user_id="u", roles=["reader"], now_us=clock.now_us(), lifetime_s=600
    )
    held = [record]
    table = TokenTable(clock, lambda: held)
    table.reload()
    async with served(identities=table) as s:
        headers = {"X-Auth-Token": token}
        async with (
            httpx.AsyncClient(base_url=s.url, headers=headers, timeout=WAIT_S) as client,
            client.stream("GET", "/v2.0/events") as response,
        ):
            assert response.status_code == 200
            held.clear()
            table.reload()
            async with asyncio.timeout(WAIT_S):
                text = "".join([part async for part in response.aiter_text()])
        assert '"reason":"HTTPUnauthorized"' in text


@pytest.mark.parametrize("query", ["since=x", "since=-1", "follow=perhaps", "kind=nothing", "limit=3"])
async def test_what_cannot_be_asked_is_refused(query: str) -> None:
    async with (
        served() as s,
        httpx.AsyncClient(base_url=s.url, headers={"X-Project-Id": "blue"}) as client,
    ):
        answer = await client.get(f"/v2.0/events?{query}")
        assert answer.status_code == 400, answer.text
        assert (await client.head("/v2.0/events")).status_code == 200
        assert not s.feed._streams


async def test_a_stopping_region_ends_its_streams_and_the_command_shows_what_was(tmp_path: Path) -> None:
    async with region(tmp_path) as process, ApiClient(process.url) as api:
        stream = api.events()
        await begun(stream)
        network = (await api.post("/v2.0/networks", {"network": {"name": "n"}}))["network"]
        (told,) = await take(stream, 1)
        assert told.data["id"] == network["id"]
        arguments = ["--url", process.url, "--since", "0", "--kind", "network", "--json"]
        shown = await asyncio.to_thread(CliRunner().invoke, events_command.command, arguments)
        assert shown.exit_code == 0, shown.output
        assert [json.loads(line)["id"] for line in shown.stdout.splitlines()] == [network["id"]]
        stopped = asyncio.create_task(process.stop())
        last = (await take(stream, 1))[0]
        assert (last.name, last.data["reason"]) == ("end", "Stopping")
        async with asyncio.timeout(WAIT_S):
            assert [event async for event in stream] == []
            await stopped
    assert "task_failed" not in (tmp_path / "region.log").read_text()
