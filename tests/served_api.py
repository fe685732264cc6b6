"""The API over a store in memory, served on loopback from a thread of its own, for real clients."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from alcor.contracts.store import Write
from alcor.management_plane.api.application import create_application
from alcor.management_plane.identity.believed_headers import BelievedHeaders
from alcor.model.ids import ProjectId
from alcor.model.records import RecordSet
from alcor.runtime.clock import SystemClock, new_request_id
from alcor.runtime.event_log import SILENT
from doubles.convergence import ConvergenceDouble

START_TIMEOUT_S = 20.0


@contextmanager
def served() -> Iterator[str]:
    """Serve until left, with a live host in zone-1, and host-9 that is gone; give the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    servers: list[uvicorn.Server] = []

    def serve() -> None:
        async def run() -> None:
            store = MemoryStore()
            convergence = ConvergenceDouble(store)
            live = convergence.add_host("host-1", zone="zone-1")
            hosts = RecordSet(hosts=(live, convergence.add_host("host-9", is_alive=False)))
            await store.commit(Write(request_id=new_request_id(), project_id=ProjectId(""), inserts=hosts))
            application = create_application(
                store,
                MemoryAllocator(store),
                convergence,
                SystemClock(),
                SILENT,
                identities=BelievedHeaders(),
            )
            config = uvicorn.Config(application, log_level="error", lifespan="off", access_log=False)
            servers.append(uvicorn.Server(config))
            await servers[0].serve(sockets=[listener])

        asyncio.run(run())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (servers and servers[0].started):
        assert time.monotonic() < deadline, "the API did not start"
        time.sleep(0.01)
    yield url
    servers[0].should_exit = True
    thread.join(START_TIMEOUT_S)
