"""Emulated hosts on more than one core: a process of `alcor fleet` for each share of them."""

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

from alcor.lab.children import Child, alcor_command
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor


def shares(hosts: int, *, first: int, processes: int) -> list[range]:
    """Divide hosts, by their numbers, among so many processes at most; none is more than one host ahead."""
    ends = [first + hosts * number // processes for number in range(processes + 1)]
    return [range(start, end) for start, end in itertools.pairwise(ends) if end > start]


class FleetProcesses:
    """Owner of the processes. `failed`: one of them ended by itself."""

    def __init__(
        self,
        hosts: int,
        options: Sequence[str],
        log: EventLog,
        *,
        first: int = 0,
        processes: int,
        log_directory: Path | None = None,
    ) -> None:
        """`options`: more for each `alcor fleet`. `log_directory` None: their words go where ours go."""
        self.failed = Failure()
        self._watches = Supervisor(log, failure=self.failed)
        self._children = []
        for share in shares(hosts, first=first, processes=processes):
            command = alcor_command("fleet", *options, "--processes", "1")
            command += ["--hosts", str(len(share)), "--first", str(share.start)]
            file = None if log_directory is None else log_directory / f"fleet-{share.start}.log"
            self._children.append(Child(f"the fleet from host-{share.start} on", command, file))

    @property
    def pids(self) -> list[int]:
        """The process ids, once they are started."""
        return [child.pid for child in self._children]

    async def start(self) -> None:
        """Start all; their hosts connect by themselves."""
        for child in self._children:
            await child.start()
            self._watches.start(child.name, self._watch(child))

    async def stop(self) -> None:
        """Stop all."""
        await self._watches.close()
        await asyncio.gather(*(child.stop() for child in self._children))

    async def _watch(self, child: Child) -> None:
        self.failed.set(f"{child.name} ended with status {await child.ended()}")
