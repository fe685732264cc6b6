"""What an agent holds otherwise than its controller thinks is found and mended, while the stream stays."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
import pytest_asyncio

from alcor.contracts.agent_channel import Acknowledgement, Channel, FromAgent
from alcor.contracts.data_plane import HostFacts
from alcor.contracts.memory_channel import pair
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Write
from alcor.control_plane.controller import Controller
from alcor.data_plane.simulated.driver import SimulatedDataPlane
from alcor.data_plane.simulated.fabric import Fabric
from alcor.host_agent.agent import Agent
from alcor.host_agent.journal import NoJournal
from alcor.host_agent.settings import AgentTiming
from alcor.model.goal_state import NetworkSection, RouterSection, SectionKey
from alcor.model.ids import HostId, NetworkId, PortId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import FixedIp, Network, Port, RecordSet, Subnet
from alcor.model.version import Version
from alcor.runtime.event_log import EventLog
from doubles import virtual
from doubles.waiting import eventually

pytestmark = pytest.mark.virtual_time

Receive = Callable[[], Awaitable[bytes | None]]
NETWORK = SectionKey("network:net-1")
PROJECT = ProjectId("p")


class Scene:
    """A controller and one agent with a simulated data plane."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.events = io.StringIO()
        self.said = io.StringIO()  # by the agent
        self.controller = Controller(self.store, virtual.clock(), EventLog(stream=self.events))
        self.connections = 0
        self.results_lost = 0  # so many answers come without them
        self.tasks: list[asyncio.Task[None]] = []
        facts = HostFacts(HostId("h1"), b"\x0a\0\0\1", 0x020000000001)
        self.agent = Agent(
            facts,
            "z",
            SimulatedDataPlane(facts, Fabric()),
            NoJournal(),
            self._connect,
            virtual.clock(),
            EventLog(stream=self.said),
            urls=("memory",),
            timing=AgentTiming(beat_s=0.1, audit_s=0.3),
        )

    async def begin(self) -> None:
        await self.controller.start()
        await self.commit(
            networks=(Network(id=NetworkId("net-1"), project_id=PROJECT, vni=Vni(7)),),
            subnets=(
                Subnet(
                    id=SubnetId("s"),
                    project_id=PROJECT,
                    network_id=NetworkId("net-1"),
                    cidr=(b"\x0a\x01\0\0", 16),
                ),
            ),
        )
        await self.port(1)
        self.tasks.append(asyncio.create_task(self.agent.run()))
        await eventually(lambda: "net-1" in str(list(self.state.sections)))

    async def port(self, number: int) -> None:
        ip = FixedIp(SubnetId("s"), bytes([10, 1, 0, number]))
        await self.commit(
            ports=(
                Port(
                    id=PortId(f"p{number}"),
                    project_id=PROJECT,
                    network_id=NetworkId("net-1"),
                    mac=number,
                    fixed_ips=(ip,),
                    host=HostId("h1"),
                ),
            )
        )

    async def commit(self, **inserts: tuple[object, ...]) -> None:
        await self.store.commit(
            Write(request_id=RequestId("r"), project_id=PROJECT, inserts=RecordSet(**inserts))  # type: ignore[arg-type]
        )

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.controller.stop()

    @property
    def state(self):  # type: ignore[no-untyped-def]
        return self.agent._applier.state

    @property
    def section(self) -> NetworkSection:
        section = self.state.sections[NETWORK]
        assert isinstance(section, NetworkSection)
        return section

    def named(self, event: str) -> int:
        return sum(msgspec.json.decode(line)["event"] == event for line in self.events.getvalue().splitlines())

    async def _connect(self, url: str) -> Channel:
        self.connections += 1
        ours, theirs = pair()
        if self.results_lost:
            theirs.receive = self._without_results(theirs.receive)  # type: ignore[method-assign]
        self.tasks.append(asyncio.create_task(self.controller.serve_channel(theirs)))
        return ours

    def _without_results(self, receive: Receive) -> Receive:
        """Lose results, as where the answer to a completion is lost, and that to the repeated one has none."""

        async def receive_less() -> bytes | None:
            frame = await receive()
            message = msgspec.msgpack.decode(frame, type=FromAgent) if frame is not None else None
            if self.results_lost and isinstance(message, Acknowledgement) and message.results:
                self.results_lost -= 1
                return msgspec.msgpack.encode(Acknowledgement(message.number, ()))
            return frame

        return receive_less

    def is_in_force(self) -> bool:
        return self.controller.convergence.is_in_force(self.controller.region.ports[PortId("p1")])


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.begin()
    yield made
    await made.end()


async def test_a_section_that_was_lost_and_one_too_many_are_mended_without_a_new_stream(scene: Scene) -> None:
    applier = scene.agent._applier
    del scene.state.sections[NETWORK], scene.state.versions[NETWORK]
    stray = SectionKey("router:stray")
    scene.state.sections[stray], scene.state.versions[stray] = RouterSection(), Version(1, 1)
    applier._mark.drop(NETWORK)
    applier._mark.hold(stray, Version(1, 1))
    await eventually(lambda: NETWORK in scene.state.sections and stray not in scene.state.sections)
    assert list(scene.section.ports) == ["p1"]
    assert scene.connections == 1
    await scene.port(2)  # and deltas go on from there
    await eventually(lambda: sorted(scene.section.ports) == ["p1", "p2"])


@pytest.mark.parametrize("audit_s", [0.3, 1000.0])
async def test_what_is_held_as_it_is_wanted_is_in_force_though_its_answer_was_lost(
    scene: Scene, audit_s: float
) -> None:
    assert scene.is_in_force()
    scene.results_lost = 1
    scene.agent._timing = AgentTiming(audit_s=audit_s)
    scene.agent._connections.close("once more")
    await eventually(lambda: scene.connections == 2 and not scene.results_lost)
    assert not scene.is_in_force()
    await eventually(scene.is_in_force)
    assert scene.named("held_mended") == 0


async def test_content_damaged_at_the_wanted_version_is_found_by_turns_and_sent_whole(scene: Scene) -> None:
    version = scene.state.versions[NETWORK]
    scene.section.placements.clear()
    scene.agent._applier._digests.changed([NETWORK])
    await eventually(lambda: list(scene.section.placements) == ["p1"])
    assert scene.state.versions[NETWORK] == version
    assert scene.connections == 1


async def test_content_damaged_at_the_wanted_version_is_mended_by_a_new_hello(scene: Scene) -> None:
    scene.agent._timing = AgentTiming(audit_s=1000.0)
    await asyncio.sleep(0.4)
    scene.section.placements.clear()
    scene.agent._applier._digests.changed([NETWORK])
    assert scene.agent._connections.is_introduced
    scene.agent._connections.close("once more")
    await eventually(lambda: list(scene.section.placements) == ["p1"])


async def test_where_nothing_differs_nothing_is_asked_however_much_changes(scene: Scene) -> None:
    for number in range(2, 50):
        await scene.port(number)
        await asyncio.sleep(0.02)
    await asyncio.sleep(5.0)
    assert len(scene.section.ports) == 49
    assert scene.agent._applier.held_mark == scene.controller.term.ledger.account(HostId("h1")).mark.value
    assert scene.named("held_otherwise") == scene.named("held_mended") == 0


async def test_packets_that_found_the_list_of_questions_full_are_said_once(scene: Scene) -> None:
    scene.agent._neighbours.turned_away += 3
    await eventually(lambda: "packets_dropped" in scene.said.getvalue())
    await asyncio.sleep(0.7)  # two further turns
    lines = [line for line in scene.said.getvalue().splitlines() if "packets_dropped" in line]
    assert len(lines) == 1
    assert '"host_id":"h1","counter":"questions_full","more":3' in lines[0]
