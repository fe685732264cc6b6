"""What an agent forgets stays forgotten, whatever its journal is doing at that moment."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from alcor.contracts.agent_channel import Update
from alcor.host_agent.applier import Applier, Received
from alcor.host_agent.journal import NoJournal
from alcor.host_agent.settings import USUAL
from alcor.model.goal_state import HostState
from alcor.runtime.event_log import SILENT
from alcor.simulation.virtual_time import EXECUTOR_S, VirtualClock, VirtualLoop
from doubles.agent import FailingDataPlane, full, key


class Growing(NoJournal):
    """Wants to be written anew after every update, and knows what a restart would find."""

    wants_compaction = True

    def __init__(self) -> None:
        self.found: set[str] = set()

    def append(self, frames: Sequence[bytes]) -> None:
        pass

    def compact(self, state: HostState, is_current: Callable[[], bool]) -> None:
        if is_current():
            self.found = set(state.sections)

    def forget(self) -> None:
        self.found = set()


def test_a_state_that_is_forgotten_while_it_is_written_is_not_found_by_the_next_start() -> None:
    loop = VirtualLoop()
    journal = Growing()

    async def scene() -> None:
        applier = Applier(FailingDataPlane(), journal, VirtualClock(loop), SILENT, USUAL)
        update = Update(1, (full("a", 1, "p"),), complete=True)
        await applier.apply([Received(update, msgspec.msgpack.encode(update))])
        await applier.compact()
        assert journal.found == {key("a")}
        writing = asyncio.create_task(applier.compact())
        await asyncio.sleep(EXECUTOR_S / 2)
        applier.forget()
        await writing
        assert not applier.state.sections
        assert journal.found == set()

    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
