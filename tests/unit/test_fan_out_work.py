"""Law 4 for a change that concerns many hosts: what is the same for all of them is worked out once."""

import asyncio
from collections import Counter

import pytest
from counted_work import counted_calls

from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.compiler import sections
from alcor.control_plane.controller import Controller
from alcor.control_plane.delivery import path_choice
from alcor.model import held_mark
from alcor.model.ids import HostId
from alcor.model.records import Host
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import PROJECT, AgentDouble, commit, network, port, subnet
from doubles.queue import QueueAgent, QueueDouble

FEW, MANY = 3, 30


async def _work_of_one_port(hosts: int, *, over_queue: bool) -> Counter[str]:
    """Count what a port costs that so many hosts are told of."""
    store, queue = MemoryStore(), QueueDouble()
    controller = Controller(store, SystemClock(), SILENT, queue=queue)
    await controller.start()
    names = [HostId(f"host-{number}") for number in range(hosts)]
    vteps = [bytes([172, 16, 0, number]) for number in range(hosts)]
    await commit(
        store,
        networks=(network(),),
        subnets=(subnet(),),
        hosts=tuple(
            Host(id=name, project_id=PROJECT, vtep=vtep) for name, vtep in zip(names, vteps, strict=True)
        ),
        ports=tuple(port(number, name) for number, name in enumerate(names)),
    )
    doubles = [AgentDouble(name, vtep) for name, vtep in zip(names, vteps, strict=True)]
    for double in doubles:
        agent = QueueAgent(double, queue) if over_queue else double
        agent.come() if isinstance(agent, QueueAgent) else agent.connect(controller)
        await asyncio.wait_for(agent.complete.wait(), 5)
    held_mark._mark.cache_clear()  # other regions have the same names and versions
    try:
        with counted_calls(path_choice.choose, sections.entries_changed, held_mark._mark) as calls:
            revision = await commit(store, ports=(port(hosts, names[0]),))
            assert await controller.convergence.wait_revision(revision, timeout_s=5)
    finally:
        if not over_queue:
            for double in doubles:
                await double.disconnect()
        await controller.stop()
    return calls


@pytest.mark.parametrize("over_queue", [True, False])
async def test_what_is_the_same_for_all_hosts_of_a_change_is_worked_out_once(*, over_queue: bool) -> None:
    few, many = [await _work_of_one_port(hosts, over_queue=over_queue) for hosts in (FEW, MANY)]
    assert few == many
    assert many["_mark"] == 1
    assert many["choose"] == 2, "for who is heard by a stream, and for who is by the queue"
    assert many["entries_changed"] <= 1
