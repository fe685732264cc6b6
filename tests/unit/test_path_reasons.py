"""By which path each host is told, and why: of each change in its receipt, of how things are with the host."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alcor.contracts.convergence import HostReceipt
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.queue import QueueState
from alcor.control_plane.controller import Controller
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.away_hosts import AwayPace
from alcor.control_plane.delivery.fast_path import WINDOW_MAX
from alcor.model.ids import HostId
from alcor.model.records import Host, RecordSet
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import PROJECT, AgentDouble, commit, network, port, subnet
from doubles.queue import QueueAgent, QueueDouble
from doubles.waiting import eventually

HERE = HostId("a")


class Scene:
    """A controller, a queue, and a host."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.queue = QueueDouble()
        self.controller = Controller(
            self.store, SystemClock(), SILENT, queue=self.queue, away=AwayPace(round_s=0.02)
        )
        self.double = AgentDouble(HERE, bytes([172, 16, 0, 1]))
        self.agent = QueueAgent(self.double, self.queue)
        self.ports = 0

    async def over_queue(self) -> None:
        """Have the host heard over the queue."""
        self.agent.come(self.agent.session + 1)
        await asyncio.wait_for(self.agent.complete.wait(), 5)

    async def leave(self) -> None:
        """Have the host leave the queue."""
        self.agent.leave()
        await eventually(lambda: self.controller.convergence.live_hosts() == [])

    async def change(self, **more: object) -> int:
        """Commit a port on the host; give the revision, once the controller knows of it."""
        self.ports += 1
        revision = await commit(self.store, ports=(port(self.ports, HERE, **more),))
        await eventually(lambda: self.controller.region.revision >= revision)
        return revision

    def part(self, revision: int) -> HostReceipt:
        """Give the host's part in a revision."""
        receipt = self.controller.convergence.receipt(revision)
        assert receipt is not None
        return next(part for part in receipt.hosts if part.host == HERE)

    @property
    def reason(self) -> str:
        """Why it is told by the path it is told by."""
        status = self.controller.convergence.host(HERE)
        assert status is not None
        return status.path_reason


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.controller.start()
    await commit(made.store, networks=(network(),), subnets=(subnet(),))
    yield made
    await made.controller.stop()


async def test_the_receipt_says_by_which_path_and_why(scene: Scene) -> None:
    await scene.over_queue()
    revision = await scene.change()
    await eventually(lambda: scene.part(revision).state == "in_force")
    assert (scene.part(revision).path, scene.part(revision).path_reason) == (
        "queue",
        "Its stream is down; it answers over the queue.",
    )
    await scene.leave()
    scene.double.connect(scene.controller)
    await asyncio.wait_for(scene.double.complete.wait(), 5)
    urgent = await scene.change(fast_path=True)
    await eventually(lambda: scene.part(urgent).state == "in_force")
    assert scene.part(urgent).path_reason == "The fast path is asked for, and its stream is up."
    assert scene.reason == scene.part(urgent).path_reason
    await scene.double.disconnect()


async def test_what_a_host_away_is_told_when_it_is_back_says_by_which_path_it_was(scene: Scene) -> None:
    await scene.over_queue()
    await scene.leave()
    revision = await scene.change()
    assert (scene.part(revision).state, scene.part(revision).path_reason) == (
        "unreachable",
        path_choice.KEPT.reason,
    )
    scene.double.connect(scene.controller)
    await asyncio.wait_for(scene.double.complete.wait(), 5)
    assert (scene.part(revision).path, scene.part(revision).path_reason) == ("fast", "Its stream is up.")
    await scene.double.disconnect()


async def test_a_change_whose_session_ended_does_not_say_that_it_is_up(scene: Scene) -> None:
    scene.double.connect(scene.controller)
    await asyncio.wait_for(scene.double.complete.wait(), 5)
    scene.double.mute = True
    revision = await scene.change()
    await scene.double.disconnect()
    await eventually(lambda: scene.part(revision).state == "unreachable")
    assert scene.part(revision).path == "none"
    assert "ended before it answered" in scene.part(revision).path_reason


async def test_what_is_said_of_a_host_away_follows_the_queue_at_once(scene: Scene) -> None:
    await scene.over_queue()
    await scene.leave()
    assert scene.reason == path_choice.KEPT.reason
    scene.queue.fail()
    assert scene.reason.endswith("so is the queue (the connection to the queue is lost): the ledger keeps it.")
    scene.queue.state = QueueState(is_up=True, is_full=True, reason="the queue keeps no more")
    assert "the queue keeps no more" in scene.reason
    scene.queue.state = QueueState(is_up=True)
    assert scene.reason == path_choice.KEPT.reason


async def test_of_a_host_that_was_removed_nothing_is_kept(scene: Scene) -> None:
    await scene.over_queue()
    [record] = scene.controller.convergence.host_records()
    await scene.leave()
    await commit(scene.store, deletes=RecordSet(hosts=(record,)))
    await eventually(lambda: scene.controller.convergence.host(HERE) is None)
    await scene.change()
    await asyncio.sleep(0.1)
    assert not [entry for entry in scene.queue.published if entry[2] == 0]
    again = Host(id=HERE, project_id=PROJECT, vtep=bytes([172, 16, 0, 1]))
    await commit(scene.store, hosts=(again,))
    await eventually(lambda: scene.controller.convergence.host(HERE) is not None)
    assert scene.reason == path_choice.NEVER_SEEN.reason


async def test_a_host_that_was_removed_while_it_was_heard_is_not_kept_for(scene: Scene) -> None:
    await scene.over_queue()
    [record] = scene.controller.convergence.host_records()
    await commit(scene.store, deletes=RecordSet(hosts=(record,)))
    await eventually(lambda: HERE not in scene.controller._streams)
    await scene.change()
    await asyncio.sleep(0.1)
    assert not [entry for entry in scene.queue.published if entry[2] == 0]


async def test_while_a_window_is_unanswered_changes_wait_and_say_so(scene: Scene) -> None:
    await scene.over_queue()  # it has a place there, too
    await scene.leave()
    scene.double.connect(scene.controller)
    await asyncio.wait_for(scene.double.complete.wait(), 5)
    scene.double.mute = True
    updates = len(scene.double.updates)
    revisions = [await scene.change() for _ in range(WINDOW_MAX + 20)]
    first, last = scene.part(revisions[0]), scene.part(revisions[-1])
    assert first.path_reason == "Its stream is up."
    assert (last.path, last.path_reason) == (
        "fast",
        "Its stream is congested: what comes now is merged with what waits.",
    )
    await eventually(lambda: len(scene.double.updates) - updates == WINDOW_MAX)
    assert not [entry for entry in scene.queue.published if entry[2] == 0], "nothing takes another way"
    scene.double.speak_again()
    assert await scene.controller.convergence.wait_revision(revisions[-1], timeout_s=5)
    assert len(scene.double.updates) - updates == WINDOW_MAX + 1, "all that waited left in one update"
    assert scene.reason == "Its stream is up."
    await scene.double.disconnect()
