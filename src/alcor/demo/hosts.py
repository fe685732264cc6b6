"""What the demonstration needs of its hosts, whichever data plane they have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from alcor.client.api import ApiClient
from alcor.demo.results import Plug
from alcor.demo.scenario import Attempt, Endpoint


class DemoHosts(Protocol):
    """Hosts with agents, that can be given workloads. Owner of everything it starts."""

    data_plane: str
    names: list[str]

    async def start(self, agent_url: str, authority: Path, queue_url: str) -> None:
        """Bring the hosts and their agents up; they connect by themselves.

        `authority`: the directory of the region's authority, which names hosts that can help each other and
        lets them into the queue.
        """
        ...

    async def start_agent_again(self, host: str, *, with_stream: bool) -> None:
        """Have a host's agent start anew, with both its paths or with the queue alone."""
        ...

    async def plug(self, api: ApiClient, sample: Sequence[Endpoint]) -> Plug:
        """Plug a workload into each port of the sample, with the addresses of its port; give the times."""
        ...

    async def attempt(self, attempts: Sequence[Attempt]) -> list[bool]:
        """Try everything by packets; give for each whether it was answered, in order."""
        ...

    def logs(self) -> Sequence[Path]:
        """Name the files that its agents log to."""
        ...

    async def stop(self) -> None:
        """Remove everything; may be called at any time, and again."""
        ...
