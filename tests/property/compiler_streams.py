"""Hosts whose streams break, repeat and reorder what a controller tells them, until they come to rest."""

import asyncio
import random

from compiler_operations import NAMES

from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Change, Write
from alcor.control_plane.controller import Controller
from alcor.model.records import Port, RecordSet
from doubles.control_plane import AgentDouble

OPERATIONS = [name for name in NAMES if not name.endswith("_host")]  # agents introduce the hosts here


async def write(store: MemoryStore, change: Change) -> int:
    """Commit what the world did."""
    held = store._records
    inserts, updates = [], []
    for name in RecordSet.__struct_fields__:
        records = getattr(change.puts, name)
        inserts.append(tuple(record for record in records if record.id not in held[type(record)]))
        updates.append(tuple(record for record in records if record.id in held[type(record)]))
    return await store.commit(
        Write(
            request_id=change.request_id,
            project_id=change.project_id,
            inserts=RecordSet(*inserts),
            updates=RecordSet(*updates),
            deletes=change.deletes,
        )
    )


def is_open(agent: AgentDouble) -> bool:
    return agent.channel is not None and agent.channel.close_reason is None


async def trouble(agent: AgentDouble, choice: random.Random) -> None:
    """Do something to a stream or to what the agent holds."""
    if not is_open(agent):
        return
    match choice.randrange(5):
        case 0:
            await agent.disconnect()
        case 1:
            agent.mute = True
        case 2:
            agent.speak_again()
        case 3 if agent.state.sections:  # a section is lost: the next delta will not fit
            key = choice.choice(sorted(agent.state.sections))
            del agent.state.sections[key], agent.state.versions[key]
        case _:  # everything of this stream is delivered once more, in another order
            repeated = [section for update in agent.updates for section in update.sections]
            choice.shuffle(repeated)
            for section in repeated:
                agent.take(section)


async def come_to_rest(controller: Controller, store: MemoryStore, agents: list[AgentDouble]) -> None:
    """Let everybody connect and speak; then every bound port must come in force by itself."""
    for agent in agents:
        if not is_open(agent):
            agent.connect(controller)
        agent.speak_again()
    for agent in agents:
        await asyncio.wait_for(agent.complete.wait(), 2)
    # A lost section is noticed with the next delta or Hello: touch every port, then ask for a last Hello.
    for agent in agents:
        await agent.disconnect()
        agent.connect(controller)
        await asyncio.wait_for(agent.complete.wait(), 2)
    bound = [port.id for port in store._records[Port].values() if port.host]
    assert await controller.convergence.wait(
        bound, revision=await store.revision(), until="in_force", timeout_s=2
    )
    for _ in range(50):
        await asyncio.sleep(0)
    assert all(status.sections_pending == 0 for status in controller.convergence.hosts())
