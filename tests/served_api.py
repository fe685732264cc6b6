"""The API over a store in memory, served on loopback from a thread of its own, for real clients."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from alcor.contracts.store import Write
from alcor.management_plane.api.application import create_application
from alcor.management_plane.identity.believed_headers import BelievedHeaders
from alcor.model.ids import ProjectId
from alcor.model.records import RecordSet
from alcor.runtime.clock import SystemClock, new_request_id
from alcor.runtime.event_log import SILENT
from doubles.convergence import ConvergenceDouble
from real_server import listening

START_TIMEOUT_S = 20.0


@contextmanager
def served() -> Iterator[str]:
    """Serve until left, with a live host in zone-1, and host-9 that is gone; give the URL."""
    ports: queue.Queue[int] = queue.Queue()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
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
        is_left = asyncio.Event()
        loops.append((asyncio.get_running_loop(), is_left))
        async with listening(application) as port:
            ports.put(port)
            await is_left.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{ports.get(timeout=START_TIMEOUT_S)}"
    loop, is_left = loops[0]
    loop.call_soon_threadsafe(is_left.set)
    thread.join(START_TIMEOUT_S)
