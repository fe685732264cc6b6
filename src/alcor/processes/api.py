"""The API alone, one of several over a region's store; the controller is another process. Wiring only."""

import contextlib
import os
import socket
from pathlib import Path

import msgspec

from alcor.adapters import stream
from alcor.adapters.postgres.embedded import EmbeddedPostgres
from alcor.contracts.agent_channel import Channel
from alcor.management_plane.controller_link import ControllerLink
from alcor.processes.api_server import EMBEDDED_STORE, ApiServer, ApiSettings, starting
from alcor.runtime import tls
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure


class ApiProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an API process needs to start. `certificates`: for tcps:// controllers.

    `database` None: the embedded PostgreSQL of the region with the same data directory.
    """

    controller_urls: tuple[str, ...]
    api: ApiSettings
    database: str | None = None
    certificates: Path | None = None


class ApiProcess:
    """Owns the parts of one API process and stops them in reverse order."""

    def __init__(self, settings: ApiProcessSettings, log: EventLog) -> None:
        self._settings = settings
        self._log = log
        self._stack = contextlib.AsyncExitStack()
        self.failed = Failure()
        self._server = ApiServer(settings.api, self._stack, SystemClock(), log, self.failed)

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        """Start; the controller may come later. Raises Invalid, Unavailable."""
        async with starting(self._stack):
            await self._start()

    async def stop(self) -> None:
        """Stop everything."""
        await self._stack.aclose()

    async def _start(self) -> None:
        self._server.bind()
        settings = self._settings
        dsn = settings.database or EmbeddedPostgres(settings.api.data_dir / EMBEDDED_STORE).dsn
        store = await self._server.open_store(dsn)
        link = self._controller_link()
        link.start()
        self._stack.push_async_callback(link.close)
        store.listen(link.on_commit)
        await self._server.serve(store, link, link)

    def _controller_link(self) -> ControllerLink:
        certificates = self._settings.certificates
        context = None if certificates is None else tls.client_context(certificates, tls.API)

        async def connect(url: str) -> Channel:
            return await stream.connect(url, ssl=context if url.startswith("tcps:") else None)

        name = f"{socket.gethostname()}:{os.getpid()}"
        return ControllerLink(
            self._settings.controller_urls, connect, self._log, name=name, failure=self.failed
        )
