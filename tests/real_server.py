"""The application of a scene on a real socket, behind the real server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from alcor.adapters.http_server import Bounds, HttpServer
from alcor.management_plane.api import errors as error_form


@asynccontextmanager
async def listening(application: ASGIApp, bounds: Bounds | None = None) -> AsyncIterator[int]:
    """Serve on loopback; give the port."""
    # Named by its protocol: only then does asyncio turn off Nagle's algorithm, which costs an answer 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = HttpServer(application, error_form.body_of, bounds=bounds)
        tasks = [
            asyncio.create_task(server.serve(sockets=[listener])),
            asyncio.create_task(server.door.watch()),
        ]
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            tasks[1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
