"""The API of one process, over a store that others may share. Wiring only."""

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from alcor.adapters.http_server import HttpServer
from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.audit import Entry
from alcor.contracts.convergence import Convergence, Tracer
from alcor.contracts.store import Change
from alcor.management_plane import key_sweeper
from alcor.management_plane.addressing.allocator import LeasedAllocator
from alcor.management_plane.api import errors as error_form
from alcor.management_plane.api.application import create_application
from alcor.management_plane.api.limits import Limits
from alcor.management_plane.audit.trail import AuditTrail
from alcor.management_plane.events.feed import EventFeed
from alcor.model import errors, quota
from alcor.processes import listening
from alcor.processes.identity import Identities, IdentitySettings, Kind
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

GC_THRESHOLD = 200_000  # allocations between collections: the default costs a third of a batch

EMBEDDED_STORE = "postgres"  # its folder in the data directory


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a process serves the API: the same for all that share a store, but for where they listen."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 9696
    shares_address: bool = False  # other processes listen there too; the kernel deals out connections
    identity: IdentitySettings = IdentitySettings()
    audit_days: int = 90  # how long it is kept who did what
    quotas: Mapping[str, int] = quota.DEFAULT_LIMITS  # by kind, of projects of which nothing else was said


class ApiServer:
    """Starts its parts by `bind`, `open_store`, `serve`, in this order; whoever owns `stack` ends them."""

    def __init__(
        self,
        settings: ApiSettings,
        stack: contextlib.AsyncExitStack,
        clock: Clock,
        log: EventLog,
        failure: Failure,
    ) -> None:
        self._settings = settings
        self._stack = stack
        self._clock = clock
        self._log = log
        self._failure = failure
        self._supervisor = Supervisor(log, failure=failure)
        self.url = ""
        self._bound: tuple[Identities, socket.socket] | None = None
        self._trail: AuditTrail | None = None

    def bind(self) -> None:
        """Bind the socket: what cannot be is found out before anything starts. Raises Invalid, Unavailable."""
        settings = self._settings
        identities = Identities(settings.identity, settings.data_dir, self._clock, self._log)
        self._stack.push_async_callback(identities.close)
        listener = listening.api_socket(
            settings.host,
            settings.port,
            is_authenticated=settings.identity.kind is not Kind.NONE,
            is_encrypted=identities.certificate is not None or settings.identity.allow_plain_http,
            is_shared=settings.shares_address,
        )
        self._stack.callback(listener.close)
        self._bound = identities, listener

    async def open_store(self, dsn: str) -> PostgresStore:
        """Connect to the store, and keep it tidy. Raises Unavailable."""
        settings, failure = self._settings, self._failure
        store = await PostgresStore.open(dsn, self._clock, self._log, limits=settings.quotas, failure=failure)
        self._stack.push_async_callback(store.close)
        sweeper = Supervisor(self._log, failure=failure)
        sweeper.start("request_keys", key_sweeper.sweep_for_ever(store, self._log))
        self._stack.push_async_callback(sweeper.close)
        self._trail = AuditTrail(
            store.audit(), self._clock, self._log, days=settings.audit_days, failure=failure
        )
        self._trail.start()
        self._stack.push_async_callback(self._trail.close)
        return store

    def audit(self, entry: Entry) -> None:
        """Keep what this process did by itself. Once the store is open."""
        assert self._trail is not None, "open_store comes before"
        self._trail.note(entry)

    async def serve(
        self,
        store: PostgresStore,
        convergence: Convergence,
        tracer: Tracer,
        *,
        follow: Callable[[Callable[[Change], None]], None] | None = None,
    ) -> None:
        """Answer from now on. `follow` as in `create_application`. Raises Unavailable."""
        assert self._bound is not None, "bind comes first"
        assert self._trail is not None, "open_store comes before"
        settings, (identities, listener) = self._settings, self._bound
        allocator = LeasedAllocator(store.leases(), self._clock)
        store.listen(allocator.on_commit)
        self._stack.push_async_callback(allocator.close)
        feed = EventFeed(store, self._log, failure=self._failure)
        application = create_application(
            store,
            allocator,
            convergence,
            self._clock,
            self._log,
            identities=identities.source,
            limits=Limits(
                self._clock,
                projects=settings.identity.project_rate,
                attempts=settings.identity.attempt_rate,
            ),
            follow=follow,
            tracer=tracer,
            feed=feed,
            trail=self._trail,
        )
        await self._listen(application, identities, listener)
        self._stack.push_async_callback(feed.close)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 50)

    async def _listen(self, application: object, identities: Identities, listener: socket.socket) -> None:
        certificate = identities.certificate
        tls = None if certificate is None else _always(certificate.context)
        server = HttpServer(application, error_form.body_of, tls=tls)
        task = self._supervisor.start("api", server.serve(sockets=[listener]))
        self._supervisor.start("api_deadlines", server.door.watch())
        self._supervisor.start("identities", identities.follow())
        self._stack.push_async_callback(self._supervisor.close)
        self._stack.callback(setattr, server, "should_exit", True)
        while not server.started:
            if task.done():
                raise errors.Unavailable("the API could not start; see the event log", retry_after_s=1)
            await asyncio.sleep(0.005)
        self.url = _url(listener, is_encrypted=certificate is not None)


@contextlib.asynccontextmanager
async def starting(stack: contextlib.AsyncExitStack) -> AsyncIterator[None]:
    """Start a process's parts: what was put on the stack is ended again if one of them does not start."""
    try:
        with _without_collections():
            yield
    except BaseException:
        await stack.aclose()
        raise


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Load what stays without looking at all of it again and again: that finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _url(listener: socket.socket, *, is_encrypted: bool) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_encrypted else 'http'}://{shown}:{port}"


def _always(context: ssl.SSLContext) -> Callable[..., ssl.SSLContext]:
    return lambda *_: context
