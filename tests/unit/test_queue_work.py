"""Law 4 on the way to hosts: what one port costs in bytes, messages and entries is the same in any network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import Update
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.queue import AWAY
from alcor.control_plane.controller import Controller
from alcor.control_plane.delivery.away_hosts import AwayPace
from alcor.control_plane.region import OnDemandBounds
from alcor.model.goal_state import network_key
from alcor.model.ids import HostId
from alcor.model.records import Host, Port, RecordSet
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import PROJECT, AgentDouble, commit, network, port, subnet
from doubles.queue import QueueAgent, QueueDouble
from doubles.waiting import eventually

HOSTS = [HostId(f"host-{number}") for number in range(4)]
HERE = HOSTS[0]
NET = network_key("net-1")
SOON = AwayPace(round_s=0.05, turn_s=0.005)
TOLD_WHOLE = OnDemandBounds(above=1_000_000, below=1_000_000)
FEW, MANY = 100, 5_000
ON_A_STREAM = 1_000, 100_000
NEW = tuple(port(200_000 + number, HOSTS[1]) for number in range(20))


class Work(msgspec.Struct, frozen=True):
    """What was done meanwhile. `entries`: of whole sections that were made."""

    messages: int
    size: int
    entries: int


class Scene:
    """A controller whose network has so many ports, and a host of it."""

    def __init__(self, store: MemoryStore, controller: Controller, queue: QueueDouble) -> None:
        self.store = store
        self.controller = controller
        self.queue = queue
        self.double = AgentDouble(HERE, bytes([172, 16, 0, 0]))
        self.agent = QueueAgent(self.double, queue)

    async def taken_in(self, *ports: Port) -> int:
        """Commit ports, and wait until the controller knows of them."""
        revision = await commit(self.store, ports=ports)
        await eventually(lambda: self.controller.region.revision >= revision)
        return revision

    @property
    def queue_words(self) -> str:
        """How the queue to the host is, in words."""
        status = self.controller.convergence.host(HERE)
        return status.paths["queue"] if status is not None else ""

    async def counted(self, work: Callable[[], object]) -> Work:
        """Count what is published, and made, while something is done."""
        begun, made = len(self.queue.published), self.controller.whole_sections.entries_made
        await work()  # type: ignore[misc]
        frames = [frame for _, _, _, frame in self.queue.published[begun:]]
        return Work(len(frames), sum(map(len, frames)), self.controller.whole_sections.entries_made - made)


@asynccontextmanager
async def scene_of(ports: int, away: AwayPace = SOON) -> AsyncIterator[Scene]:
    store, queue = MemoryStore(), QueueDouble()
    controller = Controller(store, SystemClock(), SILENT, queue=queue, on_demand=TOLD_WHOLE, away=away)
    await controller.start()
    await commit(
        store,
        networks=(network(),),
        subnets=(subnet(),),
        hosts=tuple(
            Host(id=name, project_id=PROJECT, vtep=bytes([172, 16, 0, number]))
            for number, name in enumerate(HOSTS)
        ),
        # The host's own ports are as many in any network.
        ports=tuple(port(number, HERE if number < 10 else HOSTS[1 + number % 3]) for number in range(ports)),
    )
    try:
        yield Scene(store, controller, queue)
    finally:
        await controller.stop()


@asynccontextmanager
async def synchronised(ports: int) -> AsyncIterator[Scene]:
    async with scene_of(ports) as scene:
        scene.agent.come()
        await asyncio.wait_for(scene.agent.complete.wait(), 5)
        await eventually(lambda: scene.controller.convergence.host(HERE).sections_pending == 0)
        yield scene


async def one_by_one(scene: Scene) -> Work:
    async def work() -> None:
        for new in NEW:
            revision = await scene.taken_in(new)
            await eventually(lambda revision=revision: _has(scene, revision))

    return await scene.counted(work)


def _has(scene: Scene, revision: int) -> bool:
    return scene.double.state.versions[NET].revision == revision


async def test_a_port_costs_a_heard_host_the_same_in_any_network() -> None:
    counts = []
    for ports in (FEW, MANY):
        async with synchronised(ports) as scene:
            counts.append(await one_by_one(scene))
            assert len(scene.double.held()[NET].set_placements) == ports + len(NEW)
    assert counts[0] == counts[1]
    assert counts[0].messages == len(NEW)
    assert counts[0].size < 200 * len(NEW)
    assert counts[0].entries == 0, "nothing whole is made"


async def test_a_port_costs_a_host_away_the_same_in_any_network() -> None:
    counts = []
    for ports in (FEW, MANY):
        async with synchronised(ports) as scene:
            scene.agent.leave()
            await eventually(lambda scene=scene: not scene.controller.convergence.host(HERE).alive)

            async def work(scene: Scene = scene) -> None:
                await scene.taken_in(NEW[0])
                await eventually(lambda: scene.queue.published[-1][2] == AWAY)

            counts.append(await scene.counted(work))
    assert counts[0] == counts[1]
    assert counts[0] == Work(messages=1, size=counts[0].size, entries=0)
    assert counts[0].size < 200


async def test_what_changes_meanwhile_is_written_once_and_is_all_that_a_returning_host_needs() -> None:
    counts = []
    for ports in (FEW, MANY):
        async with synchronised(ports) as scene:
            scene.agent.leave()
            await eventually(lambda scene=scene: not scene.controller.convergence.host(HERE).alive)

            async def work(scene: Scene = scene) -> None:
                revisions = [await commit(scene.store, ports=(new,)) for new in NEW]
                await eventually(lambda: scene.controller.region.revision == revisions[-1])
                await eventually(lambda: scene.queue.published[-1][2] == AWAY)

            counts.append(await scene.counted(work))
            scene.agent.catch_up()
            assert len(scene.double.held()[NET].set_placements) == ports + len(NEW)
            begun = scene.controller.whole_sections.entries_made
            scene.agent.come(session=2)
            await asyncio.wait_for(scene.agent.complete.wait(), 5)
            assert scene.agent.updates[-2].sections[0].change.set_placements == (), "it is confirmed, not sent"
            assert scene.controller.whole_sections.entries_made - begun >= ports, (
                "its digest is made, once for all"
            )
    assert counts[0] == counts[1]
    assert counts[0].messages == 1, "the last value is what counts"


async def test_many_hosts_away_are_written_at_a_bounded_pace() -> None:
    async with scene_of(FEW, AwayPace(round_s=0.05, turn_s=0.05, turn_frames=2)) as scene:
        agents = [
            QueueAgent(AgentDouble(name, bytes([172, 16, 0, n])), scene.queue) for n, name in enumerate(HOSTS)
        ]
        for agent in agents:
            agent.come()
        for agent in agents:
            await asyncio.wait_for(agent.complete.wait(), 5)
            agent.leave()
        await eventually(lambda: not scene.controller.convergence.live_hosts())
        begun = len(scene.queue.published)
        await scene.taken_in(NEW[0])
        await eventually(lambda: len(scene.queue.published) > begun)
        assert len(scene.queue.published) == begun + 2, "a turn"
        await eventually(lambda: len(scene.queue.published) == begun + len(HOSTS))
        assert {host for host, *_ in scene.queue.published[begun:]} == set(HOSTS)


async def test_a_host_that_was_heard_meanwhile_is_not_written_for() -> None:
    async with synchronised(FEW) as scene:
        scene.agent.leave()
        await eventually(lambda: not scene.controller.convergence.host(HERE).alive)
        others = port(300_000, HERE, net=2)
        await commit(scene.store, networks=(network(2),), subnets=(subnet(2),))
        await scene.taken_in(others)
        gone = RecordSet(ports=(others,))
        scene.agent.come(session=2)
        await asyncio.wait_for(scene.agent.complete.wait(), 5)
        revision = await commit(scene.store, deletes=gone)
        await eventually(lambda: scene.controller.region.revision >= revision)
        scene.agent.leave()
        await eventually(lambda: not scene.controller.convergence.host(HERE).alive)
        begun = len(scene.queue.published)
        await asyncio.sleep(0.2)
        assert len(scene.queue.published) == begun
        await scene.taken_in(NEW[0])
        await eventually(lambda: len(scene.queue.published) == begun + 1)


async def test_what_the_queue_could_not_keep_is_written_when_it_is_back() -> None:
    async with synchronised(FEW) as scene:
        scene.agent.leave()
        await eventually(lambda: not scene.controller.convergence.host(HERE).alive)
        up, begun = scene.queue.state, len(scene.queue.published)
        scene.queue.fail()
        await scene.taken_in(NEW[0])
        await asyncio.sleep(0.15)
        assert len(scene.queue.published) == begun
        scene.queue.state = up
        await eventually(lambda: len(scene.queue.published) == begun + 1)


async def test_what_the_queue_had_no_room_for_is_written_when_it_has() -> None:
    async with synchronised(FEW) as scene:
        scene.agent.leave()
        await eventually(lambda: not scene.controller.convergence.host(HERE).alive)
        begun = len(scene.queue.published)
        scene.queue.has_room = False
        await scene.taken_in(NEW[0])
        await asyncio.sleep(0.15)
        scene.queue.has_room = True
        await eventually(lambda: len(scene.queue.published) == begun + 1)


async def test_a_controller_that_cannot_write_for_hosts_away_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with synchronised(FEW) as scene:
        scene.agent.leave()
        await eventually(lambda: not scene.controller.convergence.host(HERE).alive)

        def mistake(*arguments: object, **options: object) -> None:
            raise KeyError("mistake")

        monkeypatch.setattr(scene.queue, "publish", mistake)
        await scene.taken_in(NEW[0])
        await eventually(scene.controller.failed.is_set)
        assert scene.controller.failed.reason == "'kept for hosts away' failed: KeyError: 'mistake'"


@pytest.mark.parametrize("frame_max", [2_000])
async def test_what_is_too_large_for_the_queue_is_not_made_again_for_each_change(frame_max: int) -> None:
    async with scene_of(FEW) as scene:
        scene.queue.frame_max = frame_max
        scene.agent.come()
        await eventually(lambda: "too large" in scene.queue_words)
        made = scene.controller.whole_sections.entries_made
        for new in NEW:
            await scene.taken_in(new)
        assert scene.controller.whole_sections.entries_made == made


async def test_a_port_costs_a_host_on_a_stream_the_same_in_any_network() -> None:
    counts = []
    for ports in ON_A_STREAM:
        async with scene_of(ports) as scene:
            agent = AgentDouble(HERE, bytes([172, 16, 0, 0]))
            agent.connect(scene.controller)
            await asyncio.wait_for(agent.complete.wait(), 10)
            assert agent.controller_end is not None
            frames = agent.controller_end.frames_sent
            for new in NEW:
                begun, made = len(frames), scene.controller.whole_sections.entries_made
                revision = await scene.taken_in(new)
                await eventually(
                    lambda agent=agent, revision=revision: agent.state.versions[NET].revision == revision
                )
                sent = [len(frame) for frame in frames[begun:] if isinstance(packed_ids.read(frame), Update)]
                counts.append((ports, sent, scene.controller.whole_sections.entries_made - made))
            await agent.disconnect()
    few, many = ([count[1:] for count in counts if count[0] == ports] for ports in ON_A_STREAM)
    assert few == many
    assert [len(sent) for sent, _ in few] == [1] * len(NEW)
    assert max(sent[0] for sent, _ in few) < 200
    assert {made for _, made in few} == {0}
