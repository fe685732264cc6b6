"""The agents of a lab's hosts: a real process each, in its host's namespace."""

import asyncio
from pathlib import Path

from alcor.adapters import identity
from alcor.lab import namespaces
from alcor.lab.children import Child, alcor_command
from alcor.lab.laboratory import Laboratory
from alcor.model.addressing import ip_to_text


class LabAgents:
    """Owner of one agent process for each host of a lab. Agents keep their journals in the lab's directory.

    `authority`: the directory of the region's authority; with it, hosts can rescue each other.
    """

    def __init__(self, lab: Laboratory, controller_url: str, authority: Path | None = None) -> None:
        self.children = {
            host.name: Child(
                f"the agent of {host.name}",
                namespaces.inside(
                    host.namespace,
                    alcor_command(
                        "agent",
                        *("--host", host.name),
                        *("--vtep", ip_to_text(host.vtep)),
                        *("--controller", controller_url),
                        *("--ovs-run-dir", str(host.run_dir)),
                        *("--state-dir", str(self.state_dir(lab, host.name))),
                        *_certificates(lab, host.name, authority),
                    ),
                ),
                lab.directory / f"agent-{host.name}.log",
            )
            for host in lab.hosts
        }

    @staticmethod
    def state_dir(lab: Laboratory, host: str) -> Path:
        """Where the agent of a host keeps its journal."""
        return lab.directory / f"agent-{host}"

    async def start(self) -> None:
        """Start all; they connect by themselves."""
        await asyncio.gather(*(child.start() for child in self.children.values()))

    async def stop(self) -> None:
        """Stop all; forwarding goes on (law 6)."""
        await asyncio.gather(*(child.stop() for child in self.children.values()))

    def require_alive(self) -> None:
        """Raise Unavailable, with the end of its log, when one has ended."""
        for child in self.children.values():
            child.require_alive()


def _certificates(lab: Laboratory, host: str, authority: Path | None) -> tuple[str, ...]:
    if authority is None:
        return ()
    directory = lab.directory / "certificates" / host
    identity.issue_host(authority, host, directory)
    return ("--certificates", str(directory))
