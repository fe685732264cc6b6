"""Who gets into the queue and what each may do there, asked of a real server."""

import asyncio
import json
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from nats.aio.client import Client
from nats.errors import Error as NatsError

from alcor.adapters import identity
from alcor.adapters.certificates import Authority
from alcor.adapters.nats import access, subjects
from alcor.adapters.nats.access import Access, Credentials
from alcor.adapters.nats.accounts import PARTITION, Accounts
from alcor.adapters.nats.agent_queue import NatsAgentQueue, NatsPlace
from alcor.adapters.nats.connection import NatsConnection
from alcor.adapters.nats.embedded import EmbeddedNats
from alcor.adapters.nats.goal_queue import NatsGoalQueue
from alcor.cli import certificate, fleet
from alcor.contracts.queue import AWAY
from alcor.lab.region_process import free_port
from alcor.model import errors
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.runtime import tls
from alcor.runtime.event_log import SILENT
from doubles.waiting import eventually

ONE, OTHER = HostId("host.one"), HostId("host*two")  # names that are no subjects
WEB = SectionKey("group:web")


class Scene:
    """A queue with a controller and two hosts, each connected with its own credentials."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = directory / "authority"
        self.nats = EmbeddedNats(directory / "nats", self.authority)
        self.answers: list[tuple[HostId, int, bytes]] = []
        self.heard: dict[HostId, list[tuple[int, bytes]]] = {ONE: [], OTHER: []}
        self.agents: dict[HostId, NatsAgentQueue] = {}
        self.places: dict[HostId, NatsPlace] = {}

    async def start(self) -> None:
        self.url = await self.nats.start()
        self.controller = NatsGoalQueue(self.nats.controller_access(), SILENT)
        self.controller.listen(lambda *answer: self.answers.append(answer), lambda: None)
        self.controller.start()
        for host in (ONE, OTHER):
            self.agents[host] = agent = NatsAgentQueue(self.access_of(host), SILENT, name=host)
            agent.start()
            heard = self.heard[host]
            self.places[host] = agent.subscribe(host, lambda *frame, heard=heard: heard.append(frame), _ignore)
        await eventually(lambda: self.controller.is_up and all(place.is_up for place in self.places.values()))

    async def stop(self) -> None:
        for connection in (*self.agents.values(), self.controller):
            await connection.close()
        await self.nats.stop()

    def access_of(self, host: HostId) -> Access:
        directory = self.directory / subjects.encoded(host)
        if not directory.exists():
            identity.issue_host(self.authority, host, directory)
        return access.choose(self.url, certificates=directory, credentials=None)

    async def kept(self, host: HostId, key: SectionKey) -> bytes:
        subject = subjects.goal(PARTITION, host, key)
        message = await self.controller.client.jetstream().get_last_msg(subjects.STREAM, subject)
        return message.data or b""


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def test_each_host_hears_and_reads_what_is_its_own(scene: Scene) -> None:
    for host in (ONE, OTHER):
        scene.controller.publish(host, WEB, host.encode(), session=7)
        scene.controller.publish(host, SectionKey("network:n"), b"away", session=AWAY)
    scene.controller.tell_all(b"beat")
    for host in (ONE, OTHER):
        await eventually(lambda host=host: len(scene.heard[host]) == 3)
        assert {(7, host.encode()), (AWAY, b"away"), (-1, b"beat")} == set(scene.heard[host])
        await eventually(lambda: scene.controller.state.unconfirmed == 0)
        assert list(await scene.places[host].last_values()) == [host.encode(), b"away"]
        scene.places[host].answer(b"yes", session=7)
    await eventually(lambda: len(scene.answers) == 2)
    assert set(scene.answers) == {(ONE, 7, b"yes"), (OTHER, 7, b"yes")}


async def test_a_host_may_not_hear_another(scene: Scene) -> None:
    client = scene.agents[ONE].client
    others = [
        subjects.to_host(PARTITION, OTHER),
        subjects.inbox(PARTITION, OTHER) + ".>",
        subjects.answers(PARTITION),
        "alcor.>",
        "alcor.confirmed.>",
        "$SYS.>",
        "_INBOX.>",
        ">",
    ]
    heard: list[bytes] = []

    async def hear(message: object) -> None:
        heard.append(message.data)  # type: ignore[attr-defined]

    for subject in others:
        await client.subscribe(subject, cb=hear)
    await client.flush()
    scene.controller.publish(OTHER, WEB, b"secret", session=7)
    scene.places[OTHER].answer(b"mine", session=7)
    await eventually(lambda: scene.heard[OTHER] and scene.answers)
    await scene.places[OTHER].last_values()
    await client.flush()
    assert heard == []


async def test_a_host_may_not_read_what_is_kept_for_another(scene: Scene) -> None:
    scene.controller.publish(OTHER, WEB, b"secret", session=7)
    scene.controller.publish(ONE, WEB, b"own", session=7)
    await eventually(lambda: scene.heard[OTHER] and scene.heard[ONE])
    theirs = subjects.goal(PARTITION, OTHER, WEB)
    own = subjects.goal(PARTITION, ONE, WEB)
    client = scene.agents[ONE].client
    assert (await client.request(subjects.get(own), timeout=5)).data == b"own"
    for subject, body in (
        (subjects.get(theirs), {}),
        (subjects.get(subjects.index(PARTITION, OTHER)), {}),
        (subjects.get(own), {"last_by_subj": theirs}),
        (subjects.get(own), {"seq": 1, "next_by_subj": theirs, "batch": 9}),
        (subjects.GETS, {"last_by_subj": theirs}),
        (subjects.GETS, {"seq": 1, "next_by_subj": "alcor.goal.>", "batch": 9}),
        (f"$JS.API.STREAM.MSG.GET.{subjects.STREAM}", {"last_by_subj": theirs}),
        (f"$JS.API.STREAM.INFO.{subjects.STREAM}", {}),
        (f"$JS.API.CONSUMER.CREATE.{subjects.STREAM}.c.{own}", {"config": {"filter_subject": theirs}}),
    ):
        try:
            answer = await client.request(subject, json.dumps(body).encode() if body else b"", timeout=0.5)
        except (TimeoutError, NatsError):
            continue
        assert (answer.headers or {}).get("Status") == "408", (subject, answer)
        assert b"secret" not in answer.data


async def test_a_host_may_not_speak_for_another(scene: Scene) -> None:
    scene.controller.publish(OTHER, WEB, b"true", session=7)
    scene.controller.publish(ONE, WEB, b"own", session=7)
    await eventually(lambda: scene.heard[OTHER] == [(7, b"true")] and scene.heard[ONE] == [(7, b"own")])
    client = scene.agents[ONE].client
    for subject in (
        subjects.answer(PARTITION, OTHER, 7),
        subjects.goal(PARTITION, OTHER, WEB),
        subjects.goal(PARTITION, ONE, WEB),
        subjects.tell(PARTITION, OTHER),
        subjects.beat(PARTITION),
        f"$JS.API.STREAM.DELETE.{subjects.STREAM}",
        f"$JS.API.STREAM.PURGE.{subjects.STREAM}",
    ):
        await client.publish(subject, b"false", "alcor.confirmed.x.7")
    # Nor by the stream's mouth, whose answers go where they are wanted.
    for reply in (
        subjects.answer(PARTITION, OTHER, 7),
        subjects.goal(PARTITION, OTHER, WEB),
        subjects.tell(PARTITION, OTHER),
        f"$JS.API.STREAM.DELETE.{subjects.STREAM}",
    ):
        for kept in (WEB, SectionKey("group:none")):
            await client.publish(subjects.get(subjects.goal(PARTITION, ONE, kept)), b"", reply)
    await client.flush()
    scene.places[ONE].answer(b"last", session=8)
    await eventually(lambda: bool(scene.answers))
    assert scene.answers == [(ONE, 8, b"last")]
    assert scene.heard[OTHER] == [(7, b"true")]
    assert await scene.kept(OTHER, WEB) == b"true"


async def test_the_controller_may_do_all(scene: Scene) -> None:
    client = scene.controller.client
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(message.subject)  # type: ignore[attr-defined]

    await client.subscribe("alcor.>", cb=hear)
    await client.flush()
    scene.controller.publish(ONE, WEB, b"1", session=7)
    scene.places[OTHER].answer(b"2", session=7)
    scene.controller.tell_all(b"3")
    mine = {subjects.goal(PARTITION, ONE, WEB), subjects.answer(PARTITION, OTHER, 7), subjects.beat(PARTITION)}
    await eventually(lambda: mine <= set(heard), timeout_s=20)
    await client.jetstream().purge_stream(subjects.STREAM)
    await client.jetstream().delete_stream(subjects.STREAM)


async def test_strangers_are_not_let_in(scene: Scene, tmp_path: Path) -> None:
    good = scene.access_of(ONE)
    Authority.open(tmp_path / "elsewhere").issue_host(ONE, tmp_path / "stranger")
    elsewhere = Accounts.open(tmp_path / "elsewhere").host(ONE)
    forged = Credentials(good.credentials.statement, elsewhere.key)  # type: ignore[union-attr]
    directory = tmp_path / subjects.encoded(ONE)
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.load_verify_locations(directory / tls.AUTHORITY)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.load_verify_locations(directory / tls.AUTHORITY)
    stranger.load_cert_chain(tmp_path / "stranger" / "agent.pem", tmp_path / "stranger" / "agent.key")
    switch = tls.client_context(directory, "switch")
    cases = {
        "no certificate": _with(good, context=nobody),
        "another authority's certificate": _with(good, context=stranger),
        "a switch's certificate": _with(good, context=switch),
        "no credentials": _with(good, credentials=None),
        "another region's credentials": _with(good, credentials=elsewhere),
        "a host's statement without its key": _with(good, credentials=forged),
        "no TLS": Access(url=scene.url.replace("tls:", "nats:"), credentials=good.credentials),
        "a password": Access(url=scene.url.replace("tls://", "nats://alcor:password@")),
    }
    tried = {name: NatsConnection(each, SILENT, name=name, inbox="x") for name, each in cases.items()}
    for connection in tried.values():
        connection.start()
    let_in = NatsConnection(good, SILENT, name="good", inbox=subjects.inbox(PARTITION, ONE))
    let_in.start()
    await eventually(lambda: let_in.is_up)
    # The library's own limit for a connection is two seconds: until then a refusal may not be known.
    refused = "cannot be reached: "
    await eventually(lambda: all(refused in each.reason for each in tried.values()), timeout_s=20)
    assert not any(each.is_up for each in tried.values())
    for connection in (*tried.values(), let_in):
        await connection.close()


async def test_a_host_believes_no_other_server(scene: Scene, tmp_path: Path) -> None:
    """Whoever holds a certificate of the region that is not the queue's is not the queue."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs = tmp_path / subjects.encoded(OTHER)
    context.load_cert_chain(theirs / "switch.pem", theirs / "switch.key")
    said: list[bytes] = []

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.read(100))
        writer.close()

    pretender = await asyncio.start_server(pretend, "127.0.0.1", 0, ssl=context)
    port = pretender.sockets[0].getsockname()[1]
    victim = NatsConnection(
        _with(scene.access_of(ONE), url=f"tls://127.0.0.1:{port}"), SILENT, name="victim", inbox="x"
    )
    victim.start()
    await eventually(lambda: "certificate" in victim.reason)
    assert not victim.is_up
    assert said == []
    await victim.close()
    pretender.close()


async def test_an_encrypted_cluster_is_not_spoken_to_in_plain(tmp_path: Path) -> None:
    async with _cluster(tmp_path) as (url, accounts):
        (tmp_path / "one.creds").write_text(accounts.host(ONE).text())
        place = access.of_cluster(url.replace("nats:", "tls:"), tmp_path / "one.creds")
        agent = NatsAgentQueue(place, SILENT, name=ONE)
        agent.start()
        await eventually(lambda: "does not encrypt" in agent.reason)
        assert not agent.is_up
        await agent.close()


async def test_another_cluster_is_used_with_a_credentials_file(tmp_path: Path) -> None:
    async with _cluster(tmp_path) as (url, accounts):
        for name, credentials in (("controller", accounts.controller()), ("one", accounts.host(ONE))):
            (tmp_path / f"{name}.creds").write_text(credentials.text())
        controller = NatsGoalQueue(access.of_cluster(url, tmp_path / "controller.creds"), SILENT)
        agent = NatsAgentQueue(
            access.choose(url, certificates=None, credentials=tmp_path / "one.creds"), SILENT, name=ONE
        )
        heard: list[tuple[int, bytes]] = []
        controller.start()
        agent.start()
        place = agent.subscribe(ONE, lambda *frame: heard.append(frame), _ignore)
        await eventually(lambda: controller.is_up and place.is_up)
        controller.publish(ONE, WEB, b"hello", session=3)
        await eventually(lambda: heard == [(3, b"hello")])
        await controller.close()
        await agent.close()


async def test_the_server_s_configuration_does_not_grow_with_hosts(tmp_path: Path) -> None:
    accounts = Accounts.open(tmp_path)
    before = len("".join(accounts.server_lines()))
    for number in range(200):
        accounts.host(HostId(f"host-{number}"))
    assert len("".join(Accounts.open(tmp_path).server_lines())) == before


def test_a_host_s_directory_is_all_it_needs_and_secret(tmp_path: Path) -> None:
    arguments = ["--host", "h1", "--out", str(tmp_path / "h1"), "--data-dir", str(tmp_path / "data")]
    done = CliRunner().invoke(certificate.command, arguments)
    assert done.exit_code == 0, done.output
    for secret in (tmp_path / "h1" / access.FILE, tmp_path / "data" / "authority" / "queue.keys"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    access.choose("tls://127.0.0.1:1", certificates=tmp_path / "h1", credentials=None)
    (tmp_path / "h1" / access.FILE).unlink()
    with pytest.raises(errors.Invalid, match="let `alcor certificate` write it again"):
        access.choose("tls://127.0.0.1:1", certificates=tmp_path / "h1", credentials=None)
    refused = CliRunner().invoke(fleet.command, ["--queue", "tls://127.0.0.1:1", "--queue-only"])
    assert refused.exit_code == 2
    assert "wants the host's certificates" in refused.output


@asynccontextmanager
async def _cluster(directory: Path) -> AsyncIterator[tuple[str, Accounts]]:
    """Run somebody's server: the same accounts, no TLS of ours."""
    accounts = Accounts.open(directory / "somebody")
    port = free_port()
    lines = [f"listen: 127.0.0.1:{port}", f'jetstream {{ store_dir: "{directory}/somebody/store" }}']
    (directory / "somebody.conf").write_text("\n".join([*lines, *accounts.server_lines()]))
    binary = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    assert binary is not None
    with (directory / "somebody.log").open("wb") as log:
        server = subprocess.Popen([binary, "-c", str(directory / "somebody.conf")], stderr=log)
    try:
        yield f"nats://127.0.0.1:{port}", accounts
    finally:
        server.kill()
        server.wait()


def _with(given: Access, **changes: object) -> Access:
    fields: dict[str, object] = {
        "url": given.url,
        "credentials": given.credentials,
        "context": given.context,
        "names": given.names,
    }
    return Access(**(fields | changes))  # type: ignore[arg-type]


def _ignore() -> None:
    return None


def test_the_library_tells_what_its_server_wants() -> None:
    assert "_server_info" in vars(Client())  # `NatsConnection.believes` reads it
