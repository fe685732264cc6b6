"""A whole region in one process: store, API and controller. Wiring only."""

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import uvicorn

from alcor.adapters import stream
from alcor.adapters.certificates import Authority
from alcor.adapters.nats import access
from alcor.adapters.nats.embedded import EmbeddedNats
from alcor.adapters.nats.queue import NatsGoalQueue
from alcor.adapters.postgres.embedded import EmbeddedPostgres
from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.agent_channel import Channel
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.management_plane import key_sweeper
from alcor.management_plane.addressing.allocator import LeasedAllocator
from alcor.management_plane.api.application import create_application
from alcor.management_plane.api.limits import Limits
from alcor.management_plane.audit.trail import AuditTrail
from alcor.management_plane.events.feed import EventFeed
from alcor.model import errors, quota
from alcor.processes import listening
from alcor.processes.identity import Identities, IdentitySettings, Kind
from alcor.processes.tracing import RegionTracer
from alcor.runtime import tls
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor

WATCH_S = 0.2  # between looks at the embedded servers
EMBEDDED = "embedded"
NO_QUEUE = "none"
KEEP_ALIVE_S = 75  # clients that pause keep their connection: opening one costs more than a call
GC_THRESHOLD = 200_000  # allocations between collections: the default costs a third of a batch (numbers.md)


class RegionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a region needs to start. `database` None: the embedded PostgreSQL under `data_dir`.

    `queue`: EMBEDDED, NO_QUEUE, or the URL of a NATS cluster (2.11 or newer, with JetStream), which
    `queue_credentials` lets us into.
    """

    data_dir: Path
    database: str | None = None
    queue: str = EMBEDDED
    queue_credentials: Path | None = None
    api_host: str = "127.0.0.1"
    api_port: int = 9696
    agent_urls: tuple[str, ...] = ("tcp://127.0.0.1:9697",)
    identity: IdentitySettings = IdentitySettings()
    on_demand: OnDemandBounds = OnDemandBounds()  # ports in a network, from which on hosts ask for neighbours
    audit_days: int = 90  # how long it is kept who did what
    quotas: Mapping[str, int] = quota.DEFAULT_LIMITS  # by kind, of projects of which nothing else was said


class Region:
    """Owns the parts of one region and stops them in reverse order."""

    def __init__(self, settings: RegionSettings, log: EventLog) -> None:
        self._settings = settings
        self._log = log
        self._clock = SystemClock()
        self._supervisor = Supervisor(log)
        self._stack = contextlib.AsyncExitStack()
        self.failed = self._supervisor.failed
        self.api_url = ""
        self.agent_urls: tuple[str, ...] = ()

    async def start(self) -> None:
        """Start everything; on failure what was started is stopped again. Raises Invalid, Unavailable."""
        gc.disable()  # what is loaded stays: looking at all of it again and again finds nothing
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        finally:
            gc.enable()

    async def stop(self) -> None:
        """Stop everything. Forwarding on the hosts stays as it is (law 6)."""
        await self._stack.aclose()

    async def _start(self) -> None:
        settings = self._settings
        identities = Identities(settings.identity, settings.data_dir, self._clock, self._log)
        self._stack.push_async_callback(identities.close)
        listener = listening.api_socket(
            settings.api_host,
            settings.api_port,
            is_authenticated=settings.identity.kind is not Kind.NONE,
            is_encrypted=identities.certificate is not None or settings.identity.allow_plain_http,
        )
        self._stack.callback(listener.close)
        dsn = settings.database or await self._start_database()
        store = await PostgresStore.open(dsn, self._clock, self._log, limits=settings.quotas)
        self._stack.push_async_callback(store.close)
        sweeper = Supervisor(self._log)
        sweeper.start("request_keys", key_sweeper.sweep_for_ever(store, self._log))
        self._stack.push_async_callback(sweeper.close)
        allocator = LeasedAllocator(store.leases(), self._clock)
        store.listen(allocator.on_commit)
        self._stack.push_async_callback(allocator.close)
        authority = Authority.open(settings.data_dir / "authority")
        controller = Controller(
            store,
            self._clock,
            self._log,
            on_demand=settings.on_demand,
            queue=await self._start_queue(),
            warrant_key=authority.derive_key("rescue warrants"),
        )
        await controller.start()
        self._stack.push_async_callback(controller.stop)
        await self._serve_agents(controller, authority)
        trail = AuditTrail(store.audit(), self._clock, self._log, days=settings.audit_days)
        trail.start()
        self._stack.push_async_callback(trail.close)
        feed = EventFeed(store, self._log)
        application = create_application(
            store,
            allocator,
            controller,
            self._clock,
            self._log,
            identities=identities.source,
            limits=Limits(
                self._clock,
                projects=settings.identity.project_rate,
                attempts=settings.identity.attempt_rate,
            ),
            follow=controller.follow,
            tracer=RegionTracer(controller),
            feed=feed,
            trail=trail,
        )
        await self._serve_api(application, listener, identities)
        self._stack.push_async_callback(feed.close)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 50)

    async def _serve_agents(self, controller: Controller, authority: Authority) -> None:

        async def serve_certified(channel: Channel) -> None:
            await controller.serve_channel(channel, certified=stream.peer_name(channel))

        plain = [url for url in self._settings.agent_urls if not url.startswith("tcps:")]
        certified = [url for url in self._settings.agent_urls if url.startswith("tcps:")]
        servers = [await stream.serve(plain, controller.serve_channel)]
        self._stack.push_async_callback(servers[0].close)
        if certified:
            context = tls.controller_context(authority.issue_controller())
            servers.append(await stream.serve(certified, serve_certified, ssl=context))
            self._stack.push_async_callback(servers[1].close)
        self.agent_urls = tuple(url for server in servers for url in server.urls)

    async def _start_database(self) -> str:
        database = EmbeddedPostgres(self._settings.data_dir / "postgres")
        self._stack.push_async_callback(database.stop)
        dsn = await database.start()
        self._watch("database", database)
        return dsn

    async def _start_queue(self) -> NatsGoalQueue | None:
        settings = self._settings
        if settings.queue == NO_QUEUE:
            return None
        if settings.queue == EMBEDDED:
            server = EmbeddedNats(settings.data_dir / "nats", settings.data_dir / "authority")
            self._stack.push_async_callback(server.stop)
            await server.start()
            self._watch("queue", server)
            place = server.controller_access()
        else:
            place = access.of_cluster(settings.queue, settings.queue_credentials)
        queue = NatsGoalQueue(place, self._log)
        self._stack.push_async_callback(queue.close)
        queue.start()
        return queue

    def _watch(self, name: str, server: EmbeddedPostgres | EmbeddedNats) -> None:
        watch = Supervisor(self._log)
        watch.start(f"{name}_watch", _keep_running(name, server, self._log))
        self._stack.push_async_callback(watch.close)

    async def _serve_api(self, application: object, listener: socket.socket, identities: Identities) -> None:
        certificate = identities.certificate
        config = uvicorn.Config(
            application,  # type: ignore[arg-type]
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
            timeout_keep_alive=KEEP_ALIVE_S,
            server_header=False,
            ssl_context_factory=None if certificate is None else _always(certificate.context),
        )
        server = _QuietServer(config)
        task = self._supervisor.start("api", server.serve(sockets=[listener]))
        self._supervisor.start("identities", identities.follow())
        self._stack.push_async_callback(self._supervisor.close)
        self._stack.callback(setattr, server, "should_exit", True)
        while not server.started:
            if task.done():
                raise errors.Unavailable("the API could not start; see the event log", retry_after_s=1)
            await asyncio.sleep(0.005)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self.api_url = f"{'http' if certificate is None else 'https'}://{shown}:{port}"


def _always(context: ssl.SSLContext) -> Callable[..., ssl.SSLContext]:
    return lambda *_: context


async def _keep_running(name: str, server: EmbeddedPostgres | EmbeddedNats, log: EventLog) -> None:
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


class _QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process that owns the region has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
