"""Brings a server on our loopback to the hosts of a lab, whose namespaces do not see it.

    host's namespace --TCP over the underlay--> [relay in the underlay's namespace]
                                                     | Unix socket: the file system is the same everywhere
    server on our loopback <--TCP-- [relay here] <---'

Bytes are carried as they are: what is encrypted stays so from end to end.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from alcor.lab import inside, namespaces, underlay
from alcor.lab.children import Child
from alcor.lab.laboratory import Laboratory
from alcor.model import errors

START_S = 20.0
POLL_S = 0.02
CHUNK_BYTES = 256 * 1024
CONNECTIONS_MAX = 1024
CONNECT_S = 5.0


class Relay:
    """Owner of the two processes. Hosts of the lab connect to `address`."""

    def __init__(self, lab: Laboratory, name: str, *, port: int, to_port: int) -> None:
        path = lab.directory / f"{name}.sock"
        self.address = f"{lab.underlay.address}:{port}"
        self._ready = [path, lab.directory / f"{name}.ready"]
        ends = (
            (f"unix://{path}", f"tcp://127.0.0.1:{to_port}", self._ready[0]),
            (f"tcp://{self.address}", f"unix://{path}", self._ready[1]),
        )
        self._children = []
        for number, (listen, target, ready) in enumerate(ends):
            command = [sys.executable, "-m", __name__, listen, target, str(ready)]
            if number:
                command = namespaces.inside(lab.underlay.namespace, [*command, underlay.BRIDGE])
            log = lab.directory / f"{name}-{number}.log"
            self._children.append(Child(f"the relay {name}", command, log))

    async def start(self) -> None:
        """Start it and wait until both ends listen. Raises Unavailable."""
        deadline = time.monotonic() + START_S
        for child, ready in zip(self._children, self._ready, strict=True):
            await child.start()
            while not ready.exists():
                child.require_alive()
                if time.monotonic() > deadline:
                    raise errors.Unavailable(f"{child.name} does not start", retry_after_s=1)
                await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        """End it with all connections through it."""
        for child in self._children:
            await child.stop()


async def relay(listen: str, target: str, ready: Path) -> None:
    """Carry connections until SIGTERM; `ready` exists when it listens."""
    connections = 0

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        if connections >= CONNECTIONS_MAX:
            writer.close()
            return
        connections += 1
        try:
            async with asyncio.timeout(CONNECT_S):
                other_reader, other_writer = await _connect(target)
            await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))
        except (OSError, TimeoutError):
            writer.close()
        finally:
            connections -= 1

    server = await _serve(listen, carry)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    ready.touch()
    await told.wait()
    server.close()
    os._exit(0)  # connections end with the process, whatever they wait for


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction to its end; then the other ends too, as for the queue's clients it must."""
    try:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(url)
    if where.scheme == "unix":
        return await asyncio.open_unix_connection(where.path)
    return await asyncio.open_connection(where.hostname, where.port)


async def _serve(url: str, carry: object) -> asyncio.AbstractServer:
    where = urlsplit(url)
    if where.scheme == "unix":
        return await asyncio.start_unix_server(carry, where.path)  # type: ignore[arg-type]
    return await asyncio.start_server(carry, where.hostname, where.port)  # type: ignore[arg-type]


def _no_offload(device: str) -> None:
    """Have checksums computed before packets leave: the hosts' userspace datapaths would not."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        inside.checksums_off(sock, device)


if __name__ == "__main__":
    for device in sys.argv[4:]:
        _no_offload(device)
    asyncio.run(relay(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
