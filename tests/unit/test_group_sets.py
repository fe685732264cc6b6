"""Security groups are sets: one member more of ten thousand is one small delta and a handful of flows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from control_plane_doubles import AgentDouble, commit, group, network, port, rule, subnet

from alcor.contracts.agent_channel import FromController, Update
from alcor.contracts.data_plane import HostFacts
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.model.goal_state import SectionUpdate
from alcor.model.ids import HostId
from alcor.model.records import RecordSet
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog, Level

MEMBERS = 10_000
HOSTS = [f"host-{number}" for number in range(4)]
WEB, CLIENTS = (
    "0192f0c1-7a00-7000-8000-00000000000a",
    "0192f0c1-7a00-7000-8000-00000000000b",
)  # as long as ids are
BYTES_MAX = 200
FLOWS_MAX = 4  # one for the member, and those of its placement
NEW = port(50_000, HOSTS[0], groups=(CLIENTS,))
_decoder: msgspec.msgpack.Decoder[FromController] = msgspec.msgpack.Decoder(FromController)


class Concerned:
    """A host that the new member is not on: what it was sent, and what its flows did."""

    def __init__(self, agent: AgentDouble) -> None:
        self._agent = agent
        self.program = FlowProgram(HostFacts(HostId(agent.host), agent.vtep, 0x02AC10000001), 1)
        self.program.replace(agent.state)
        assert agent.controller_end is not None
        self._sent = agent.controller_end.frames_sent
        self._seen = len(self._sent)

    def news(self) -> tuple[int, list[SectionUpdate]]:
        """Give the bytes and the sections sent since the last look."""
        frames, self._seen = self._sent[self._seen :], len(self._sent)
        found = [(frame, update) for frame in frames if isinstance(update := _decoder.decode(frame), Update)]
        return sum(len(frame) for frame, _ in found), [one for _, update in found for one in update.sections]

    def flows_changed(self, sections: list[SectionUpdate]) -> int:
        change = self.program.change(self._agent.state, sections)
        return len(change.install) + len(change.remove)


@asynccontextmanager
async def region(bounds: OnDemandBounds) -> AsyncIterator[tuple[MemoryStore, Controller, list[Concerned]]]:
    """Four hosts with a web server and 2,500 clients each, in one network."""
    store = MemoryStore()
    controller = Controller(store, SystemClock(), EventLog(level=Level.ERROR), on_demand=bounds)
    await controller.start()
    agents = [AgentDouble(name, bytes([172, 16, 0, number])) for number, name in enumerate(HOSTS)]
    await commit(
        store,
        networks=(network(),),
        subnets=(subnet(),),
        security_groups=(group(WEB), group(CLIENTS)),
        security_group_rules=(rule("from-clients", WEB, CLIENTS),),
        ports=(
            *(port(number, HOSTS[number % 4], groups=(WEB,)) for number in range(1, 5)),
            *(port(10_000 + number, HOSTS[number % 4], groups=(CLIENTS,)) for number in range(MEMBERS)),
        ),
    )
    for agent in agents:
        agent.connect(controller)
    for agent in agents:
        await asyncio.wait_for(agent.complete.wait(), 20)
    # The introductions of hosts reach the others as moves of their ports' placements: let all of it arrive.
    assert await controller.convergence.wait_revision(await store.revision(), timeout_s=20)
    try:
        yield store, controller, [Concerned(agent) for agent in agents if agent.host != NEW.host]
    finally:
        for agent in agents:
            await agent.disconnect()
        await controller.stop()


TOLD_WHOLE = OnDemandBounds(above=10**6, below=10**6)


async def test_one_member_more_of_ten_thousand_is_small() -> None:
    async with region(TOLD_WHOLE) as (store, controller, hosts):
        for came in (True, False):
            change = {"ports": (NEW,)} if came else {"deletes": RecordSet(ports=(NEW,))}
            revision = await commit(store, **change)
            assert await controller.convergence.wait_revision(revision, timeout_s=5)
            for host in hosts:
                size, [section] = host.news()
                assert section.key.startswith("network:")
                assert section.base is not None
                assert size <= BYTES_MAX
                assert 1 <= host.flows_changed([section]) <= FLOWS_MAX


async def test_a_new_group_of_a_port_changes_one_flow() -> None:
    async with region(TOLD_WHOLE) as (store, controller, hosts):
        joined = port(10_000, HOSTS[0], groups=(CLIENTS, WEB))
        await controller.convergence.wait_revision(
            await commit(store, security_group_rules=(rule("among", WEB, WEB),)), timeout_s=5
        )
        for host in hosts:
            host.flows_changed(host.news()[1])
        revision = await commit(store, updates=RecordSet(ports=(joined,)))
        assert await controller.convergence.wait_revision(revision, timeout_s=5)
        for host in hosts:
            size, sections = host.news()
            assert size <= BYTES_MAX + 40  # the name of one group more
            assert host.flows_changed(sections) == 1


async def test_one_member_more_of_a_large_network_is_told_to_nobody_who_did_not_ask() -> None:
    async with region(OnDemandBounds()) as (store, controller, hosts):
        revision = await commit(store, ports=(NEW,))
        assert await controller.convergence.wait_revision(revision, timeout_s=5)
        assert [host.news() for host in hosts] == [(0, [])] * len(hosts)
