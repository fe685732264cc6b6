"""A whole region in one process: store, API and controller. Wiring only."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path

import msgspec

from alcor.adapters import http_server, stream
from alcor.adapters.certificates import Authority
from alcor.adapters.nats import access
from alcor.adapters.nats.embedded import EmbeddedNats
from alcor.adapters.nats.goal_queue import NatsGoalQueue
from alcor.adapters.postgres.embedded import EmbeddedPostgres
from alcor.contracts.agent_channel import Channel
from alcor.control_plane.answers import Answers
from alcor.control_plane.api_streams import ApiStreams
from alcor.control_plane.controller import Controller
from alcor.control_plane.health.rescue import Powers
from alcor.control_plane.region import OnDemandBounds
from alcor.control_plane.server_events.teller import Teller
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.processes import listening, nova
from alcor.processes.api_server import EMBEDDED_STORE, ApiServer, ApiSettings, starting
from alcor.processes.nova import NovaSettings
from alcor.processes.tracing import RegionTracer
from alcor.runtime import huge_pages, open_files, tls
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

WATCH_S = 0.2  # between looks at the embedded servers
EMBEDDED = "embedded"
NO_QUEUE = "none"


class RegionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a region needs to start. `database` None: the embedded PostgreSQL under the data directory.

    `queue`: EMBEDDED, NO_QUEUE, or the URL of a NATS cluster (2.11 or newer, with JetStream), which
    `queue_credentials` lets us into. `api_process_urls`: where other API processes dial in.
    """

    api: ApiSettings
    database: str | None = None
    queue: str = EMBEDDED
    queue_credentials: Path | None = None
    agent_urls: tuple[str, ...] = ("tcp://127.0.0.1:9697",)
    allow_plain_agents: bool = (
        False  # off loopback without certificates: what they say of their names is believed
    )
    api_process_urls: tuple[str, ...] = ()
    on_demand: OnDemandBounds = OnDemandBounds()  # ports in a network, from which on hosts ask for neighbours
    nova: NovaSettings | None = None  # who is told of servers' ports


class Region:
    """Owns the parts of one region and stops them in reverse order."""

    def __init__(self, settings: RegionSettings, log: EventLog) -> None:
        self._settings = settings
        self._log = log
        self._clock = SystemClock()
        self._stack = contextlib.AsyncExitStack()
        self.failed = Failure()
        self._server = ApiServer(settings.api, self._stack, self._clock, log, self.failed)
        self.agent_urls: tuple[str, ...] = ()
        self.api_process_urls: tuple[str, ...] = ()

    @property
    def api_url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        """Start everything; on failure what was started is stopped again. Raises Invalid, Unavailable."""
        async with starting(self._stack):
            await self._start()

    async def stop(self) -> None:
        """Stop everything. Forwarding on the hosts stays as it is (law 6)."""
        await self._stack.aclose()

    async def _start(self) -> None:
        settings = self._settings
        self._require_closed()
        events = None if settings.nova is None else nova.events(settings.nova, self._clock, self._stack)
        self._server.bind()
        dsn = settings.database or await self._start_database()
        store = await self._server.open_store(dsn)
        authority = Authority.open(settings.api.data_dir / "authority")
        teller = None
        if events is not None:
            teller = await Teller.open(events, store.told(), store, self._clock, self._log, failure=self.failed)
        controller = Controller(
            store,
            self._clock,
            self._log,
            on_demand=settings.on_demand,
            queue=await self._start_queue(),
            powers=Powers(authority.derive_key("rescue warrants"), partial(self._certify, authority)),
            audit=self._server.audit,
            watcher=teller,
            failure=self.failed,
        )
        await controller.start()
        clients = http_server.for_this_process(http_server.Bounds()).connections_max
        open_files.warn_if_few(self._log, peers=len(controller.region.hosts), clients=clients)
        self._keep_doing("huge_pages", huge_pages.keep())
        if teller is not None:
            teller.start()
            self._stack.push_async_callback(teller.close)
        self._stack.push_async_callback(controller.stop)
        answers, tracer = Answers(controller), RegionTracer(controller)
        self.agent_urls = await self._serve_agents(controller, authority)
        streams = ApiStreams(answers, tracer, controller.told, self._log, epoch=controller.epoch)
        self.api_process_urls = await self._serve_api_processes(streams, authority)
        await self._server.serve(store, answers, tracer, follow=controller.follow)

    def _require_closed(self) -> None:
        """Refuse addresses where anybody could pose as one of ours, before anything starts. Raises Invalid."""
        for url in self._settings.api_process_urls:
            listening.require_closed(url, "API processes")
        if not self._settings.allow_plain_agents:
            otherwise = " and certificates, or say --allow-plain-agents where nobody else is in the network"
            for url in self._settings.agent_urls:
                listening.require_closed(url, "agents", otherwise)

    def _certify(self, authority: Authority, target: HostId, neighbour: HostId, public_key: bytes) -> bytes:
        try:
            return authority.certify_rescuer(target, neighbour, public_key)
        except errors.Invalid as error:  # it refuses the order, and another one is asked
            self._log.warning("rescuer_not_certified", host_id=target, by=neighbour, reason=error.message)
            return b""

    async def _serve_agents(self, controller: Controller, authority: Authority) -> tuple[str, ...]:
        async def serve_certified(channel: Channel) -> None:
            if self._has_role(channel, tls.AGENT):
                await controller.serve_channel(channel, certified=stream.peer_name(channel))

        return await self._accept(
            self._settings.agent_urls,
            authority,
            local=partial(controller.serve_channel, is_local=True),
            plain=controller.serve_channel,
            certified=serve_certified,
            hears_datagrams=True,
        )

    async def _serve_api_processes(self, streams: ApiStreams, authority: Authority) -> tuple[str, ...]:
        async def serve_certified(channel: Channel) -> None:
            if self._has_role(channel, tls.API):
                await streams.serve(channel)

        urls = self._settings.api_process_urls
        return await self._accept(
            urls, authority, local=streams.serve, plain=streams.serve, certified=serve_certified
        )

    async def _accept(
        self,
        urls: Sequence[str],
        authority: Authority,
        *,
        local: stream.OnChannel,
        plain: stream.OnChannel,
        certified: stream.OnChannel,
        hears_datagrams: bool = False,
    ) -> tuple[str, ...]:
        """Listen on urls; give them with their ports.

        Those of tcps with certificates on both sides; `local`: socket files, for our own user alone.
        """
        found: tuple[str, ...] = ()
        context = None
        for serve, wanted in (
            (local, [url for url in urls if url.startswith("unix:")]),
            (plain, [url for url in urls if not url.startswith(("tcps:", "unix:"))]),
            (certified, [url for url in urls if url.startswith("tcps:")]),
        ):
            if wanted:
                if serve is certified:
                    context = tls.controller_context(authority.issue_controller())
                server = await stream.serve(
                    wanted, serve, self._log, ssl=context, hears_datagrams=hears_datagrams
                )
                self._stack.push_async_callback(server.close)
                found += tuple(server.urls)
        for url in found:
            listening.close_to_others(url)
        return found

    def _has_role(self, channel: Channel, role: str) -> bool:
        """Hold the peer's certificate against what it is to be used for; close the channel if it is another."""
        found = stream.peer_role(channel)
        if found != role:
            self._log.warning(
                "certificate_of_other_role", name=stream.peer_name(channel) or "", role=found or ""
            )
            channel.close(f"this is for certificates of the role '{role}'")
        return found == role

    async def _start_database(self) -> str:
        database = EmbeddedPostgres(self._settings.api.data_dir / EMBEDDED_STORE)
        self._stack.push_async_callback(database.stop)
        dsn = await database.start()
        self._keep_doing("database_watch", keep_running("database", database, self._log))
        return dsn

    async def _start_queue(self) -> NatsGoalQueue | None:
        settings = self._settings
        if settings.queue == NO_QUEUE:
            return None
        if settings.queue == EMBEDDED:
            server = EmbeddedNats(settings.api.data_dir / "nats", settings.api.data_dir / "authority")
            self._stack.push_async_callback(server.stop)
            await server.start()
            self._keep_doing("queue_watch", keep_running("queue", server, self._log))
            place = server.controller_access()
        else:
            place = access.of_cluster(settings.queue, settings.queue_credentials)
        queue = NatsGoalQueue(place, self._log, failure=self.failed)
        self._stack.push_async_callback(queue.close)
        queue.start()
        return queue

    def _keep_doing(self, name: str, work: Coroutine[object, object, None]) -> None:
        supervisor = Supervisor(self._log, failure=self.failed)
        supervisor.start(name, work)
        self._stack.push_async_callback(supervisor.close)


async def keep_running(name: str, server: EmbeddedPostgres | EmbeddedNats, log: EventLog) -> None:
    """Start an embedded server again whenever it died.

    What the database acknowledged is in its log; what the queue lost, the ledger sends again.
    """
    while True:
        await asyncio.sleep(WATCH_S)
        if not server.is_running:
            log.warning(f"{name}_died", pid=server.pid)
            try:
                await server.ensure_running()
                log.info(f"{name}_restarted", pid=server.pid)
            except errors.Unavailable as error:
                log.error(f"{name}_does_not_start", reason=error.message)
                await asyncio.sleep(error.retry_after_s)
