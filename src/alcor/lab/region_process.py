"""A region as a child process, on free ports, for demonstration, benches and tests."""

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alcor.client.api import ApiClient, Endpoint
from alcor.lab.children import Child, alcor_command
from alcor.model import errors

START_TIMEOUT_S = 60.0
POLL_S = 0.02
ASKED_PER_S = 20_000  # hosts: who asks about many, asks rarely


class RegionProcess:
    """`alcor up` on its own ports and data directory."""

    def __init__(
        self,
        directory: Path,
        *,
        api_port: int | None = None,
        database: str | None = None,
        on_demand_above: int | None = None,
        queue: str | None = None,
        options: Sequence[str] = (),
        token: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        """`options`: more for `alcor up`; `token`, `ca_file`: what a region needs that these lock."""
        self.directory = directory
        port = api_port or free_port()
        self.url = f"{'http' if ca_file is None else 'https'}://127.0.0.1:{port}"
        self.endpoint = Endpoint(self.url, token, ca_file)
        # Agents in their hosts' namespaces do not see our loopback; a Unix socket they do.
        self.agent_url = f"unix://{directory / 'agents.sock'}"
        self.authority = directory / "authority"
        self.agent_tcp_url = f"tcp://127.0.0.1:{free_port()}"
        command = alcor_command("up", "--data-dir", str(directory), "--listen", f"127.0.0.1:{port}")
        command += ["--agents", self.agent_url, "--agents", self.agent_tcp_url]
        if on_demand_above is not None:
            command += ["--on-demand-above", str(on_demand_above)]
        self._queue = queue
        if queue:
            command += ["--queue", queue]
        if database:
            command += ["--database", database]
        command += options
        self.child = Child("the region", command, directory / "region.log")

    async def start(self) -> None:
        """Start it and wait until the API answers. Raises Unavailable."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.child.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        async with ApiClient(self.endpoint, timeout_s=2.0) as api:
            while True:
                try:
                    await api.get("/v2.0/hosts")
                    return
                except (errors.Unavailable, errors.Broken):
                    self.child.require_alive()
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(POLL_S)

    @property
    def queue_url(self) -> str:
        """Where its queue listens, once it is started."""
        return self._queue or (self.directory / "nats" / "url").read_text().strip()

    async def stop(self) -> None:
        """Stop it."""
        await self.child.stop()


async def hosts_alive(api: ApiClient, count: int, *, timeout_s: float = 60.0) -> list[dict[str, Any]]:
    """Wait until `count` hosts are alive; give them. Raises Unavailable."""
    deadline = time.monotonic() + timeout_s
    while True:
        hosts = [host for host in await api.every("/v2.0/hosts", "hosts") if host["alive"]]
        if len(hosts) >= count:
            return hosts
        if time.monotonic() > deadline:
            raise errors.Unavailable(f"{len(hosts)} of {count} hosts are alive", retry_after_s=1)
        await asyncio.sleep(POLL_S + len(hosts) / ASKED_PER_S)


def port_is_free(port: int) -> bool:
    """Can this TCP port of the loopback be listened on now?"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Give a TCP port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
