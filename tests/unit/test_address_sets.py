"""Address groups are sets: one address more is one small delta, to those with a rule about the group."""

import asyncio

import pytest
from msgspec.structs import replace

from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.management_plane.address_group.decisions import AddressGroupFields
from alcor.management_plane.address_group.service import AddressGroupService
from alcor.management_plane.caller import Caller
from alcor.model.addressing import Cidr
from alcor.model.goal_state import addresses_key
from alcor.model.ids import AddressGroupId, RequestId
from alcor.model.records import AddressGroupEntry, RecordSet
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.concerned_host import BYTES_MAX, Concerned
from doubles.control_plane import PROJECT, AgentDouble, commit, group, network, port, rule, subnet

ADDRESSES = 10_000
WEB, DATABASE, QUIET = (f"0192f0c1-7a00-7000-8000-00000000000{digit}" for digit in "abc")
HOSTS = ("host-0", "host-1", "host-2")
FLOWS_MAX = 2  # one for each direction in which rules are about the group
NEW = Cidr.from_text("192.0.2.7/32")


def addresses(count: int) -> tuple[Cidr, ...]:
    return tuple(Cidr((0x0B000000 + number).to_bytes(4, "big"), 32) for number in range(count))


async def start() -> tuple[MemoryStore, Controller, AddressGroupService, str]:
    """Two groups with rules about one address group, and one without."""
    store = MemoryStore()
    service = AddressGroupService(store, SystemClock())
    caller = Caller(PROJECT, False, RequestId("r"))
    _, [friends] = await service.create(caller, [AddressGroupFields(addresses=addresses(ADDRESSES))])
    about = AddressGroupId(friends.id)
    await commit(
        store,
        networks=(network(),),
        subnets=(subnet(),),
        security_groups=(group(WEB), group(DATABASE), group(QUIET)),
        security_group_rules=(
            replace(rule("web-in", WEB), remote_address_group_id=about),
            replace(rule("web-out", WEB), remote_address_group_id=about, direction="egress"),
            replace(rule("database-in", DATABASE), remote_address_group_id=about, protocol=6, port_min=5432),
            rule("quiet-in", QUIET),
        ),
        ports=(
            port(1, HOSTS[0], groups=(WEB, DATABASE)),
            port(2, HOSTS[1], groups=(DATABASE,)),
            port(3, HOSTS[2], groups=(QUIET,)),
        ),
    )
    controller = Controller(store, SystemClock(), SILENT)
    await controller.start()
    return store, controller, service, friends.id


async def test_one_address_more_of_ten_thousand_is_small() -> None:
    store, controller, service, friends = await start()
    agents = [AgentDouble(name, bytes([172, 16, 0, number])) for number, name in enumerate(HOSTS)]
    for agent in agents:
        agent.connect(controller)
    for agent in agents:
        await asyncio.wait_for(agent.complete.wait(), 20)
    assert await controller.convergence.wait_revision(await store.revision(), timeout_s=20)
    hosts = [Concerned(agent) for agent in agents]
    caller = Caller(PROJECT, False, RequestId("r"))
    try:
        for change in (service.add_addresses, service.remove_addresses):
            revision, _ = await change(caller, friends, [NEW], expected=None)
            assert await controller.convergence.wait_revision(revision, timeout_s=5)
            for host in hosts[:2]:
                size, [section] = host.news()
                assert section.key == addresses_key(friends)
                assert section.base is not None
                assert size <= BYTES_MAX
                assert 1 <= host.flows_changed([section]) <= FLOWS_MAX
            assert hosts[2].news() == (0, []), "no rule there is about the address group"
    finally:
        for agent in agents:
            await agent.disconnect()
        await controller.stop()


@pytest.mark.parametrize("count", [100, ADDRESSES])
async def test_the_work_of_one_address_is_the_same_whatever_the_group_holds(count: int) -> None:
    store = MemoryStore()
    service = AddressGroupService(store, SystemClock())
    caller = Caller(PROJECT, False, RequestId("r"))
    _, [friends] = await service.create(caller, [AddressGroupFields(addresses=addresses(count))])
    await service.add_addresses(caller, friends.id, [NEW], expected=None)
    [change] = await store.changes(after=await store.revision() - 1)
    assert [entry.prefix for entry in change.puts.address_group_entries] == [NEW]
    assert [(each.id, each.size) for each in change.puts.address_groups] == [(friends.id, count + 1)]
    assert change.deletes == RecordSet()
    assert isinstance(change.puts.address_group_entries[0], AddressGroupEntry)
