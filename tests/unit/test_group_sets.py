"""Security groups are sets: one member more of ten thousand is one small delta and a handful of flows.

The region is as costly as they get: it has run for long, ports are of both IP versions and in two groups.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from alcor.contracts import queue
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.compiler.sections import HostSection, SharedPart
from alcor.control_plane.controller import Controller
from alcor.control_plane.delivery import update_frames
from alcor.control_plane.delivery.fast_path import HostStream
from alcor.control_plane.region import OnDemandBounds
from alcor.model.goal_state import NetworkChange, SectionUpdate
from alcor.model.ids import GroupId, HostId, NetworkId, PortId, SubnetId, Vni
from alcor.model.records import FixedIp, Network, Port, RecordSet, Subnet
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.concerned_host import BYTES_MAX, Concerned
from doubles.control_plane import PROJECT, AgentDouble, commit, group, rule

MEMBERS = 10_000
HOSTS = [f"host-{number}" for number in range(4)]
FLOWS_MAX = 7  # for each IP version one for the member, and those of its placement
REVISION, EPOCH, UPDATES = 10_000_000, 1_900_000_000, 1_000_000


def id_of(number: int) -> str:
    return f"0192f0c1-7a00-7000-8000-{number:012x}"


WEB, CLIENTS, OTHERS, RULE_IN, RULE_AMONG = (id_of(0xA0 + number) for number in range(5))
NETWORK = NetworkId(id_of(0xB0))
SUBNETS = SubnetId(id_of(0xB4)), SubnetId(id_of(0xB6))


def port(number: int, host: str, *groups: str) -> Port:
    """A port of both IP versions."""
    ips = (0x0A000000 + number).to_bytes(4, "big"), (0x20010DB8 << 96 | number).to_bytes(16, "big")
    return Port(
        id=PortId(id_of(number)),
        project_id=PROJECT,
        network_id=NETWORK,
        mac=0xFA163E000000 + number,
        fixed_ips=tuple(FixedIp(subnet_id, ip) for subnet_id, ip in zip(SUBNETS, ips, strict=True)),
        security_groups=tuple(map(GroupId, groups)),
        host=HostId(host),
    )


NEW = port(50_000, HOSTS[0], CLIENTS, OTHERS)


class OldStore(MemoryStore):
    """The store of a region that has run for years."""

    def __init__(self) -> None:
        super().__init__()
        self._first_kept = REVISION + 1
        self._epoch = EPOCH


@asynccontextmanager
async def region(
    bounds: OnDemandBounds, *, members: int = MEMBERS, reads_packed: bool = True
) -> AsyncIterator[tuple[MemoryStore, Controller, list[Concerned]]]:
    """Four hosts with a web server and 2,500 clients each, in one network."""
    store = OldStore()
    controller = Controller(store, SystemClock(), SILENT, on_demand=bounds)
    await controller.start()
    agents = [AgentDouble(name, bytes([172, 16, 0, number])) for number, name in enumerate(HOSTS)]
    await commit(
        store,
        networks=(Network(id=NETWORK, project_id=PROJECT, vni=Vni(1)),),
        subnets=(
            Subnet(id=SUBNETS[0], project_id=PROJECT, network_id=NETWORK, cidr=(b"\x0a\0\0\0", 8)),
            Subnet(
                id=SUBNETS[1],
                project_id=PROJECT,
                network_id=NETWORK,
                cidr=(b"\x20\x01\x0d\xb8" + bytes(12), 64),
            ),
        ),
        security_groups=(group(WEB), group(CLIENTS), group(OTHERS)),
        security_group_rules=(rule(RULE_IN, WEB, CLIENTS),),
        ports=(
            *(port(number, HOSTS[number % 4], WEB) for number in range(1, 5)),
            *(port(10_000 + number, HOSTS[number % 4], CLIENTS) for number in range(members)),
        ),
    )
    for agent in agents:
        agent.reads_packed = reads_packed
        agent.connect(controller)
    for agent in agents:
        await asyncio.wait_for(agent.complete.wait(), 20)
    # The introductions of hosts reach the others as moves of their ports' placements: let all of it arrive.
    assert await controller.convergence.wait_revision(await store.revision(), timeout_s=20)
    for stream in controller._streams.values():
        assert isinstance(stream, HostStream)
        stream._number = UPDATES
    try:
        yield store, controller, [Concerned(agent) for agent in agents if agent.host != NEW.host]
    finally:
        for agent in agents:
            await agent.disconnect()
        await controller.stop()


def by_the_queue(section: SectionUpdate) -> bytes:
    """Give the frame that carries the same by the queue; subject and session are the queue's own."""
    assert section.change is not None
    told = HostSection(section.key, SharedPart(section.change), is_full=False)
    frames = [update_frames.section_frame(told, section.base, section.version)]
    number = queue.NUMBERS_FROM + UPDATES
    return update_frames.update(number, frames, is_complete=False, epoch=EPOCH, reads_packed=True)


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
                assert len(by_the_queue(section)) <= BYTES_MAX
                assert 1 <= host.flows_changed([section]) <= FLOWS_MAX


async def test_an_agent_that_reads_text_only_is_sent_text() -> None:
    async with region(TOLD_WHOLE, members=4, reads_packed=False) as (store, controller, hosts):
        assert await controller.convergence.wait_revision(await commit(store, ports=(NEW,)), timeout_s=5)
        for host in hosts:
            size, [section] = host.news()
            assert size > BYTES_MAX
            assert section.change is not None


async def test_a_new_group_of_a_port_changes_one_flow_for_each_address() -> None:
    async with region(TOLD_WHOLE) as (store, controller, hosts):
        joined = port(10_000, HOSTS[0], CLIENTS, WEB)
        await controller.convergence.wait_revision(
            await commit(store, security_group_rules=(rule(RULE_AMONG, WEB, WEB),)), timeout_s=5
        )
        for host in hosts:
            host.flows_changed(host.news()[1])
        revision = await commit(store, updates=RecordSet(ports=(joined,)))
        assert await controller.convergence.wait_revision(revision, timeout_s=5)
        for host in hosts:
            size, sections = host.news()
            assert size <= BYTES_MAX
            assert host.flows_changed(sections) == len(joined.fixed_ips)


async def test_a_new_group_of_a_port_that_others_asked_for_is_small() -> None:
    async with region(OnDemandBounds()) as (store, controller, hosts):
        known = port(10_000, HOSTS[0], CLIENTS)
        for host in hosts:
            await host.ask(known)
        revision = await commit(store, updates=RecordSet(ports=(port(10_000, HOSTS[0], CLIENTS, OTHERS),)))
        assert await controller.convergence.wait_revision(revision, timeout_s=5)
        for host in hosts:
            size, [section] = host.news()
            assert isinstance(section.change, NetworkChange)
            assert [placement.port_id for placement in section.change.set_placements] == [known.id]
            assert size <= BYTES_MAX


async def test_one_member_more_of_a_large_network_is_told_to_nobody_who_did_not_ask() -> None:
    async with region(OnDemandBounds()) as (store, controller, hosts):
        revision = await commit(store, ports=(NEW,))
        assert await controller.convergence.wait_revision(revision, timeout_s=5)
        assert [host.news() for host in hosts] == [(0, [])] * len(hosts)
