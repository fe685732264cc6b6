"""The queue path with a real NATS server, real agents and a real controller; whatever happens to the server."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from alcor.adapters import identity, stream
from alcor.adapters.nats import access, subjects
from alcor.adapters.nats.access import Access
from alcor.adapters.nats.agent_queue import NatsAgentQueue
from alcor.adapters.nats.embedded import STORE_MAX_BYTES, EmbeddedNats
from alcor.adapters.nats.goal_queue import NatsGoalQueue
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.controller import Controller
from alcor.host_agent.settings import AgentTiming
from alcor.model import errors
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.processes.fleet import EmulatedHosts
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import commit, group, network, port, subnet
from doubles.waiting import eventually

HOSTS = 4
NAMES = [HostId(f"host-{number}") for number in range(HOSTS)]
QUICK = AgentTiming(reconnect_min_s=0.05, reconnect_max_s=0.2, queue_retry_s=0.05)
WAIT_S = 15.0


class Scene:
    """A region in this process. Owner of its server, controller and hosts."""

    def __init__(self, directory: Path, kept_max_bytes: int, store_max_bytes: int) -> None:
        self.store = MemoryStore()
        self.authority = directory / "authority"
        self.nats = EmbeddedNats(directory / "nats", self.authority, store_max_bytes=store_max_bytes)
        self.directory = directory
        self._kept_max_bytes = kept_max_bytes
        self.ports = 0

    async def start(self) -> None:
        self.url = await self.nats.start()
        self.queue = NatsGoalQueue(self.nats.controller_access(), SILENT, kept_max_bytes=self._kept_max_bytes)
        self.queue.start()
        self.controller = Controller(self.store, SystemClock(), SILENT, queue=self.queue)
        await self.controller.start()
        self.server = await stream.serve(["tcp://127.0.0.1:0"], self.controller.serve_channel, SILENT)
        self.stream_url = self.server.urls[0]
        await commit(self.store, networks=(network(),), subnets=(subnet(),), security_groups=(group("web"),))

    async def stop(self) -> None:
        await self.server.close()
        await self.controller.stop()
        await self.queue.close()
        await self.nats.stop()

    @asynccontextmanager
    async def hosts(self, *, with_stream: bool) -> AsyncIterator[EmulatedHosts]:
        urls = (self.stream_url,) if with_stream else ()
        hosts = EmulatedHosts(HOSTS, urls, SILENT, timing=QUICK, queue=self.fleet_access())
        hosts.start()
        try:
            await eventually(lambda: all(self.path(host) in ("fast", "queue") for host in NAMES))
            await eventually(
                lambda: sum(status.alive for status in self.controller.convergence.hosts()) == HOSTS
            )
            yield hosts
        finally:
            await hosts.stop()

    def fleet_access(self) -> Access:
        identity.issue_fleet(self.authority, self.directory / "fleet")
        return access.choose(self.url, certificates=self.directory / "fleet", credentials=None)

    async def add_ports(self, count: int) -> int:
        """Commit ports on the hosts in turn; give the revision."""
        made = [
            port(number, NAMES[number % HOSTS], groups=("web",))
            for number in range(self.ports, self.ports + count)
        ]
        self.ports += count
        return await commit(self.store, ports=tuple(made))

    async def cut_streams(self) -> None:
        """End all streams, and listen no more."""
        await self.server.close()
        await eventually(lambda: all(self.path(host) == "queue" for host in NAMES))

    def path(self, host: HostId) -> str:
        return next((each.path for each in self.controller.convergence.hosts() if each.record.id == host), "")

    def reason(self, host: HostId) -> str:
        return next(each.path_reason for each in self.controller.convergence.hosts() if each.record.id == host)

    def held(self, hosts: EmulatedHosts, host: HostId) -> dict[SectionKey, object]:
        state = hosts._agents[host]._applier.state
        return {key: section.full() for key, section in state.sections.items()}

    async def all_hold_the_full_compilation(self, hosts: EmulatedHosts) -> None:
        region = self.controller.region
        await eventually(lambda: all(self.held(hosts, host) == compile_full(region, host) for host in NAMES))


@asynccontextmanager
async def scene_in(
    directory: Path, *, kept_max_bytes: int = 64 * 1024 * 1024, store_max_bytes: int = STORE_MAX_BYTES
) -> AsyncIterator[Scene]:
    scene = Scene(directory, kept_max_bytes, store_max_bytes)
    await scene.start()
    try:
        yield scene
    finally:
        await scene.stop()


async def test_hosts_without_streams_hold_all_and_their_ports_are_in_force(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene, scene.hosts(with_stream=False) as hosts:
        for _ in range(10):
            revision = await scene.add_ports(4)
            assert await scene.controller.convergence.wait_revision(revision, timeout_s=WAIT_S)
        receipt = scene.controller.convergence.receipt(revision)
        assert receipt is not None
        assert {part.path for part in receipt.hosts} == {"queue"}
        await scene.all_hold_the_full_compilation(hosts)


async def test_a_workload_over_the_queue_makes_its_port_active_and_down_again(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene, scene.hosts(with_stream=False) as hosts:
        revision = await scene.add_ports(1)
        one = port(0, NAMES[0], groups=("web",))
        assert await scene.controller.convergence.wait(
            [one.id], revision=revision, until="in_force", timeout_s=WAIT_S
        )
        hosts.data_planes[NAMES[0]].plug(one.id)
        await eventually(lambda: scene.controller.convergence.port_states([one])[0].status == "ACTIVE")
        hosts.data_planes[NAMES[0]].unplug(one.id)
        await eventually(lambda: scene.controller.convergence.port_states([one])[0].status == "DOWN")


async def test_cut_streams_fall_back_to_the_queue_and_return(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene, scene.hosts(with_stream=True) as hosts:
        assert {scene.path(host) for host in NAMES} == {"fast"}
        assert await scene.controller.convergence.wait_revision(await scene.add_ports(8), timeout_s=WAIT_S)
        await scene.cut_streams()
        await eventually(lambda: "answers over the queue" in scene.reason(NAMES[0]))
        assert await scene.controller.convergence.wait_revision(await scene.add_ports(8), timeout_s=WAIT_S)
        scene.server = await stream.serve([scene.stream_url], scene.controller.serve_channel, SILENT)
        await eventually(lambda: all(scene.path(host) == "fast" for host in NAMES))
        assert await scene.controller.convergence.wait_revision(await scene.add_ports(8), timeout_s=WAIT_S)
        await scene.all_hold_the_full_compilation(hosts)


async def test_a_queue_killed_under_load_loses_nothing(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene, scene.hosts(with_stream=False) as hosts:
        revisions = []
        for number in range(60):
            revisions.append(await scene.add_ports(2))
            if number in (20, 40):
                _kill(scene.nats)
            if number in (25, 45):
                await scene.nats.ensure_running()
            await asyncio.sleep(0.01)
        for revision in revisions:
            assert await scene.controller.convergence.wait_revision(revision, timeout_s=WAIT_S)
        await scene.all_hold_the_full_compilation(hosts)


async def test_a_wiped_queue_is_made_again_and_loses_nothing(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene, scene.hosts(with_stream=False) as hosts:
        assert await scene.controller.convergence.wait_revision(await scene.add_ports(8), timeout_s=WAIT_S)
        _kill(scene.nats)
        shutil.rmtree(tmp_path / "nats" / "store")
        revision = await scene.add_ports(8)
        await scene.nats.ensure_running()
        assert await scene.controller.convergence.wait_revision(revision, timeout_s=WAIT_S)
        await scene.all_hold_the_full_compilation(hosts)


async def test_ports_are_not_in_force_while_neither_path_is_there(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene, scene.hosts(with_stream=False):
        revision = await scene.add_ports(4)
        assert await scene.controller.convergence.wait_revision(revision, timeout_s=WAIT_S)
        _kill(scene.nats)
        one = port(0, NAMES[0], groups=("web",))
        await eventually(lambda: not scene.controller.convergence.port_states([one])[0].in_force)
        await eventually(lambda: "the ledger keeps it" in scene.reason(NAMES[0]))
        assert scene.path(NAMES[0]) == "none"


async def test_a_full_queue_is_said_in_words_and_loses_nothing(tmp_path: Path) -> None:
    async with scene_in(tmp_path, kept_max_bytes=4096) as scene:
        async with scene.hosts(with_stream=False) as hosts:
            revision = await scene.add_ports(200)  # more than it keeps, and yet delivered to who listens
            assert await scene.controller.convergence.wait_revision(revision, timeout_s=WAIT_S)
            await eventually(lambda: scene.queue.state.is_full)
            assert "maximum bytes exceeded" in scene.queue.state.reason
            await scene.all_hold_the_full_compilation(hosts)
        await eventually(lambda: not any(status.alive for status in scene.controller.convergence.hosts()))
        await scene.add_ports(200)
        await eventually(lambda: scene.path(NAMES[0]) in ("queue", "none"))
        async with scene.hosts(with_stream=False) as hosts:
            await scene.all_hold_the_full_compilation(hosts)


async def test_a_server_with_less_room_keeps_what_it_can(tmp_path: Path) -> None:
    async with scene_in(tmp_path, store_max_bytes=3 * 1024 * 1024) as scene:
        await eventually(lambda: scene.queue.state.is_up)
        stream_info = await scene.queue.client.jetstream().stream_info(subjects.STREAM)
        assert stream_info.config.max_bytes == 2 * 1024 * 1024
        async with scene.hosts(with_stream=False) as hosts:
            assert await scene.controller.convergence.wait_revision(await scene.add_ports(8), timeout_s=WAIT_S)
            await scene.all_hold_the_full_compilation(hosts)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a disk of its own")
async def test_a_full_disk_is_said_in_words_and_loses_nothing(tmp_path: Path) -> None:
    with _full_disk(tmp_path / "nats" / "store") as fill:
        async with scene_in(tmp_path) as scene, scene.hosts(with_stream=False) as hosts:
            assert await scene.controller.convergence.wait_revision(await scene.add_ports(8), timeout_s=WAIT_S)
            fill()
            async with asyncio.timeout(WAIT_S):
                while "confirms nothing" not in scene.queue.state.reason:
                    revision = await scene.add_ports(4)
                    assert await scene.controller.convergence.wait_revision(revision, timeout_s=WAIT_S)
                    await asyncio.sleep(0.2)
            assert scene.queue.state.is_full
            await scene.all_hold_the_full_compilation(hosts)
            _kill(scene.nats)
            (tmp_path / "nats" / "store" / "filler").unlink()
            await scene.nats.ensure_running()
            assert await scene.controller.convergence.wait_revision(await scene.add_ports(4), timeout_s=WAIT_S)
            await eventually(lambda: not scene.queue.state.is_full and scene.queue.state.unconfirmed == 0)
            await scene.all_hold_the_full_compilation(hosts)


@contextmanager
def _full_disk(directory: Path) -> Iterator[Callable[[], None]]:
    """Mount a disk of three MiB; what is given fills it."""
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(directory)], check=True)

    def fill() -> None:
        with (directory / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


async def test_the_queue_keeps_the_last_value_of_each_section_only(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene, scene.hosts(with_stream=False):
        assert await scene.controller.convergence.wait_revision(await scene.add_ports(8), timeout_s=WAIT_S)
        assert await scene.controller.convergence.wait_revision(await scene.add_ports(8), timeout_s=WAIT_S)
        frames = await _frames_kept(scene, NAMES[0])
        assert len(frames) == len(compile_full(scene.controller.region, NAMES[0]))  # the last of each section


async def test_two_regions_do_not_share_a_directory(tmp_path: Path) -> None:
    one, other = (EmbeddedNats(tmp_path / "nats", tmp_path / "authority") for _ in range(2))
    await one.start()
    try:
        with pytest.raises(errors.Conflict, match="in use"):
            await other.start()
    finally:
        await one.stop()


async def test_the_address_stays_the_same_over_a_restart(tmp_path: Path) -> None:
    first = EmbeddedNats(tmp_path / "nats", tmp_path / "authority")
    url = await first.start()
    await first.stop()
    second = EmbeddedNats(tmp_path / "nats", tmp_path / "authority")
    assert await second.start() == url
    await second.stop()


async def _frames_kept(scene: Scene, host: HostId) -> list[bytes]:
    reader = NatsAgentQueue(scene.fleet_access(), SILENT, name="reader")
    reader.start()
    place = reader.subscribe(host, lambda session, frame: None, lambda: None)
    await eventually(lambda: place.is_up)
    try:
        return list(await place.last_values())
    finally:
        await reader.close()


def _kill(nats: EmbeddedNats) -> None:
    assert nats.pid is not None
    os.kill(nats.pid, signal.SIGKILL)
    while nats.is_running:
        time.sleep(0.001)


async def test_a_receipt_names_the_queue_for_hosts_that_are_away(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        async with scene.hosts(with_stream=False):
            assert await scene.controller.convergence.wait_revision(await scene.add_ports(4), timeout_s=WAIT_S)
        await eventually(lambda: not any(status.alive for status in scene.controller.convergence.hosts()))
        revision = await scene.add_ports(4)
        await eventually(lambda: scene.controller.convergence.receipt(revision) is not None)
        receipt = scene.controller.convergence.receipt(revision)
        assert receipt is not None
        assert {(part.state, part.path) for part in receipt.hosts} == {("unreachable", "queue")}
        assert "until it is back" in scene.reason(NAMES[0])
        async with scene.hosts(with_stream=False) as hosts:
            assert await scene.controller.convergence.wait_revision(revision, timeout_s=WAIT_S)
            await scene.all_hold_the_full_compilation(hosts)
