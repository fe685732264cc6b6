"""An API process and the controller: the same answers over a stream, and what is said without one."""

import asyncio
from typing import Any

import msgspec
import pytest

from alcor.contracts import memory_channel
from alcor.contracts.agent_channel import SILENCE_S, Channel
from alcor.contracts.api_channel import (
    PROTOCOL,
    STATES_MAX,
    ApiHello,
    ApiWelcome,
    Cancel,
    FromApi,
    Request,
    Wait,
)
from alcor.contracts.convergence import TraceResult
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Write
from alcor.control_plane.api_streams import ApiStreams
from alcor.management_plane.controller_link import ControllerLink
from alcor.model import errors
from alcor.model.ids import HostId, NetworkId, PortId, ProjectId, RequestId
from alcor.model.records import Port, RecordSet
from alcor.runtime.clock import new_ids
from alcor.runtime.event_log import SILENT
from doubles.convergence import ConvergenceDouble
from doubles.waiting import eventually

pytestmark = pytest.mark.virtual_time

decode = msgspec.msgpack.Decoder(FromApi).decode


def port(host: str = "host-1") -> Port:
    return Port(
        id=PortId(new_ids(1)[0]), project_id=ProjectId("p"), network_id=NetworkId("n"), mac=1, host=HostId(host)
    )


class Scene:
    """A controller that may be away, and one link to it."""

    def __init__(self, **limits: int) -> None:
        self.limits = limits
        self.store = MemoryStore()
        self.convergence = ConvergenceDouble(self.store)
        self.convergence.add_host("host-1")
        self.told: list[int] = []
        self.epoch = 3
        self.is_away = False
        self.channels: list[Channel] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.link = ControllerLink(["memory:"], self._connect, SILENT, name="test")

    async def _connect(self, url: str) -> Channel:
        if self.is_away:
            raise errors.Unavailable("nobody is there", retry_after_s=1)
        mine, theirs = memory_channel.pair()
        streams = ApiStreams(self.convergence, self, self.told.append, SILENT, epoch=self.epoch, **self.limits)
        task = asyncio.create_task(streams.serve(theirs))
        self.tasks.add(task)
        self.channels.append(theirs)
        return mine

    async def trace(self, **asked: Any) -> TraceResult:
        raise errors.Invalid("port is not bound to a host", reason="Unbound")

    async def put(self, record: Port) -> int:
        write = Write(
            request_id=RequestId("r"), project_id=record.project_id, inserts=RecordSet(ports=(record,))
        )
        return await self.store.commit(write)

    def cut(self) -> None:
        """The controller is gone."""
        self.is_away = True
        for channel in self.channels:
            channel.close("gone")


async def unanswered_link() -> tuple[ControllerLink, list[Channel]]:
    """A link that is welcomed and then left without a word; the controller's ends of its streams."""
    ends: list[Channel] = []

    async def connect(url: str) -> Channel:
        mine, theirs = memory_channel.pair()
        ends.append(theirs)
        theirs.send(msgspec.msgpack.encode(ApiWelcome(PROTOCOL, 1)))
        return mine

    link = ControllerLink(["memory:"], connect, SILENT, name="test")
    link.start()
    await eventually(lambda: link.is_connected)
    return link, ends


@pytest.fixture
async def scene(request: pytest.FixtureRequest) -> Any:
    """A link that is connected. Its parameter, if any: the limits of the controller's end."""
    made = Scene(**getattr(request, "param", {}))
    made.link.start()
    await eventually(lambda: made.link.is_connected)
    yield made
    await made.link.close()
    await asyncio.gather(*made.tasks)


async def test_every_question_has_the_controller_s_own_answer(scene: Scene) -> None:
    record = port()
    revision = await scene.put(record)
    link, own = scene.link, scene.convergence
    own.acknowledge(record.id)
    many = [record] * (STATES_MAX + 1)
    assert await link.port_states(many) == await own.port_states(many)
    assert await link.receipt(revision) == await own.receipt(revision)
    assert await link.hosts() == await own.hosts()
    assert await link.host(HostId("host-1")) == await own.host(HostId("host-1"))
    assert await link.host(HostId("nobody")) is None
    assert await link.host_records() == await own.host_records()
    assert await link.live_hosts() == ["host-1"]
    assert await link.resync() == await own.resync()
    assert await link.resync_networks() == await own.resync_networks()
    assert await link.wait([record.id], revision=revision, until="in_force", timeout_s=5)
    assert not await link.wait([record.id], revision=revision, until="active", timeout_s=0.01)


async def test_a_refusal_is_of_the_same_kind_at_the_other_end(scene: Scene) -> None:
    with pytest.raises(errors.Invalid, match="not bound") as refused:
        await scene.link.trace(port_id=PortId("p"), to_ip=b"\0" * 4, protocol="icmp", dst_port=0, icmp_type=8)
    assert refused.value.reason == "Unbound"


@pytest.mark.parametrize("scene", [{"answer_max": 60}], indirect=True)
async def test_an_answer_that_is_too_long_for_a_frame_ends_nothing_else(scene: Scene) -> None:
    with pytest.raises(errors.Unavailable, match="bytes"):
        await scene.link.hosts()
    assert await scene.link.live_hosts() == ["host-1"]


async def test_the_controller_is_told_of_commits(scene: Scene) -> None:
    scene.store.listen(scene.link.on_commit)
    revision = await scene.put(port())
    await eventually(lambda: scene.told == [revision])


async def test_without_a_controller_nothing_is_in_force_and_waits_wait_for_its_return(scene: Scene) -> None:
    record = port()
    revision = await scene.put(record)
    scene.convergence.acknowledge(record.id)
    asked = asyncio.create_task(scene.link.wait([record.id], revision=revision, until="active", timeout_s=20))
    await asyncio.sleep(0.01)
    scene.cut()
    await eventually(lambda: not scene.link.is_connected)
    (state,) = await scene.link.port_states([record])
    assert (state.status, state.in_force, state.host_is_alive) == ("DOWN", False, False)
    with pytest.raises(errors.Unavailable) as refused:
        await scene.link.hosts()
    assert refused.value.retry_after_s > 0
    assert not await scene.link.wait([record.id], revision=revision, until="in_force", timeout_s=0.01)
    scene.is_away = False
    scene.convergence.plug(record.id)
    assert await asked
    assert (await scene.link.port_states([record]))[0].status == "ACTIVE"


async def test_a_controller_of_an_older_term_is_not_believed(scene: Scene) -> None:
    scene.epoch = 2
    channels = len(scene.channels)
    for channel in scene.channels:
        channel.close("gone")
    await eventually(lambda: len(scene.channels) > channels + 1)
    assert not scene.link.is_connected
    scene.epoch = 4
    await eventually(lambda: scene.link.is_connected)


@pytest.mark.parametrize("scene", [{"waits_max": 2}], indirect=True)
async def test_what_nobody_waits_for_is_given_up_and_waits_are_bounded(scene: Scene) -> None:
    record = port()
    revision = await scene.put(record)

    def ask() -> asyncio.Task[bool]:
        return asyncio.create_task(
            scene.link.wait([record.id], revision=revision, until="active", timeout_s=20)
        )

    two = [ask(), ask()]
    await asyncio.sleep(0.01)
    third = ask()
    await asyncio.sleep(0.01)
    scene.convergence.acknowledge(record.id)
    two[0].cancel()  # makes room
    scene.convergence.plug(record.id)
    assert await two[1]
    assert await third


async def test_a_hung_controller_is_taken_for_gone() -> None:
    link, ends = await unanswered_link()
    asked = asyncio.create_task(link.wait([PortId("p")], revision=1, until="in_force", timeout_s=4 * SILENCE_S))
    assert isinstance(decode(await ends[0].receive() or b""), ApiHello)
    await eventually(lambda: len(ends) > 1)  # it looks for another
    assert not await asked
    await link.close()


async def test_what_is_asked_when_the_link_is_closed_ends_at_once() -> None:
    link, _ = await unanswered_link()
    asked = asyncio.create_task(link.hosts())
    await asyncio.sleep(0)
    began_s = asyncio.get_running_loop().time()
    await link.close()
    with pytest.raises(errors.Unavailable, match="closed"):
        await asked
    assert asyncio.get_running_loop().time() == began_s


def test_messages_are_read_as_they_were_written() -> None:
    for message in (Request(1, Wait((PortId("p"),), 3, "active", 1.5)), Cancel(1), ApiHello(PROTOCOL, "n")):
        assert decode(msgspec.msgpack.encode(message)) == message
