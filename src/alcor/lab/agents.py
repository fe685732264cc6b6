"""The agents of a lab's hosts: a real process each, in its host's namespace."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from alcor.adapters import identity
from alcor.lab import namespaces
from alcor.lab.children import Child, alcor_command
from alcor.lab.host import EmulatedHost
from alcor.lab.laboratory import Laboratory
from alcor.lab.relay import Relay
from alcor.model.addressing import ip_to_text

QUEUE_PORT = 4222


class LabAgents:
    """Owner of one agent process for each host of a lab. Agents keep their journals in the lab's directory.

    `authority`: the directory of the region's authority; with it, hosts can rescue each other.
    `queue_url`: where the region's queue listens on our loopback; the hosts reach it over their underlay. It
    wants the authority too.
    """

    def __init__(
        self, lab: Laboratory, controller_url: str, authority: Path | None = None, queue_url: str = ""
    ) -> None:
        assert authority is not None or not queue_url, "the queue wants certificates"
        self._lab = lab
        self._controller_url = controller_url
        self._relay: Relay | None = None
        self._certificates: dict[str, tuple[str, ...]] = {}
        if queue_url:
            self._relay = Relay(lab, "queue", port=QUEUE_PORT, to_port=urlsplit(queue_url).port or 0)
        for host in lab.hosts:
            self._certificates[host.name] = _certificates(lab, host.name, authority)
        self.children = {host.name: self._child(host) for host in lab.hosts}

    @staticmethod
    def state_dir(lab: Laboratory, host: str) -> Path:
        """Where the agent of a host keeps its journal."""
        return lab.directory / f"agent-{host}"

    async def start(self) -> None:
        """Start all; they connect by themselves."""
        if self._relay is not None:
            await self._relay.start()
        await asyncio.gather(*(child.start() for child in self.children.values()))

    async def start_again(self, name: str, *, with_stream: bool) -> None:
        """Have a host's agent start anew, with both its paths or with the queue alone."""
        host = next(each for each in self._lab.hosts if each.name == name)
        await self.children[name].stop()
        self.children[name] = self._child(host, with_stream=with_stream)
        await self.children[name].start()

    async def stop(self) -> None:
        """Stop all; forwarding goes on (law 6)."""
        await asyncio.gather(*(child.stop() for child in self.children.values()))
        if self._relay is not None:
            await self._relay.stop()

    def require_alive(self) -> None:
        """Raise Unavailable, with the end of its log, when one has ended."""
        for child in self.children.values():
            child.require_alive()

    def _child(self, host: EmulatedHost, *, with_stream: bool = True) -> Child:
        command = alcor_command(
            "agent",
            *("--host", host.name),
            *("--vtep", ip_to_text(host.vtep)),
            *("--ovs-run-dir", str(host.run_dir)),
            *("--state-dir", str(self.state_dir(self._lab, host.name))),
            *(("--controller", self._controller_url) if with_stream else ("--queue-only",)),
            *(("--queue", f"tls://{self._relay.address}") if self._relay is not None else ()),
            *self._certificates[host.name],
        )
        log = self._lab.directory / f"agent-{host.name}.log"
        return Child(f"the agent of {host.name}", namespaces.inside(host.namespace, command), log)


def _certificates(lab: Laboratory, host: str, authority: Path | None) -> tuple[str, ...]:
    if authority is None:
        return ()
    directory = lab.directory / "certificates" / host
    identity.issue_host(authority, host, directory)
    return ("--certificates", str(directory))
