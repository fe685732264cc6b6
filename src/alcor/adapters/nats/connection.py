"""One connection to NATS that comes back by itself: the controller's or that of agents builds on it."""

import asyncio
from collections import deque
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError
from nats.js.errors import APIError

from alcor.adapters.nats.access import Access
from alcor.adapters.nats.accounts import PARTITION
from alcor.model import errors
from alcor.runtime import supervision
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

OUTBOX_MAX_BYTES = 128 * 1024 * 1024
RECONNECT_S = 0.2
REQUEST_S = 5.0  # until what is asked of the server counts as not answered


class NatsConnection:
    """Owner of one connection that comes back by itself, and of what waits to be sent on it."""

    def __init__(
        self,
        access: Access,
        log: EventLog,
        *,
        name: str,
        inbox: str,
        partition: str = PARTITION,
        failure: Failure | None = None,
    ) -> None:
        self.partition = partition
        self._access = access
        self._inbox_prefix = inbox
        self._log = log
        self._name = name
        self._supervisor = Supervisor(log, failure=failure)
        self.client: Client = Client()
        self.is_up = False
        self.reason = "the queue has not been reached yet"
        self._losses = 0  # of the connection: what is prepared when another is lost is of no use
        self._outbox: deque[tuple[str, bytes, str]] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Connect, now or when the server is there."""
        self._supervisor.start(f"queue {self._name}", self._run())

    async def close(self) -> None:
        """End the connection."""
        self.is_up = False
        await self._supervisor.close()
        if self.client.is_connected or self.client.is_reconnecting:
            await self.client.close()

    def send(self, subject: str, frame: bytes, reply: str = "") -> bool:
        """Queue a message. False: it cannot be sent now."""
        if not self.is_up or self._outbox_bytes + len(frame) > OUTBOX_MAX_BYTES:
            return False
        self._outbox.append((subject, frame, reply))
        self._outbox_bytes += len(frame)
        self._wake.set()
        return True

    @property
    def frame_max(self) -> int:
        return self.client.max_payload if self.client.is_connected else 1024 * 1024

    async def hear(self, subject: str, on_message: Callable[[Msg], None]) -> Subscription:
        """Subscribe. What fails for one message is in the event log; the library would keep it to itself."""

        async def contain(message: Msg) -> None:
            with supervision.contained(self._log, f"queue message {message.subject}"):
                on_message(message)

        return await self.client.subscribe(subject, cb=contain)

    async def connected(self) -> None:
        """Prepare a connection that was just made, or made again. For those who build on it."""

    def lost(self) -> None:
        """Hear that messages may be missing. For those who build on it."""

    async def _run(self) -> None:
        await self._connect()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                subject, frame, reply = self._outbox.popleft()
                self._outbox_bytes -= len(frame)
                try:
                    await self.client.publish(subject, frame, reply)
                except NatsError as error:
                    self._log.debug("queue_message_lost", subject=subject, reason=str(error))

    async def _connect(self) -> None:
        while True:
            try:
                await self.client.connect(
                    self._access.url,
                    name=self._name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_S,  # type: ignore[arg-type]  # seconds, fractions too
                    connect_timeout=2,
                    ping_interval=10,
                    pending_size=0,  # while away nothing is buffered: it would be late, and is sent again
                    allow_reconnect=True,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    skip_subject_validation=True,
                    inbox_prefix=self._inbox_prefix,
                    **self._access.options(),
                )
                await self._on_connected()
                return
            except (OSError, NatsError, TimeoutError) as error:
                await self._on_error(error)
                await asyncio.sleep(RECONNECT_S)

    @property
    def believes(self) -> bool:
        """Is the server one that encrypts, when that is wanted? The library would go on without."""
        return not self._access.wants_tls or bool(self.client._server_info.get("tls_required"))

    async def _on_reconnected(self) -> None:
        self._supervisor.start(f"queue {self._name} again", self._on_connected())

    async def _on_connected(self) -> None:
        losses = self._losses
        try:
            if not self.believes:
                raise errors.Unavailable("its server does not encrypt", retry_after_s=1)
            await self.connected()
        except (NatsError, APIError, TimeoutError, errors.Unavailable) as error:
            if losses != self._losses:
                return  # of a connection that is gone: the next one is prepared by itself
            self.reason = f"the queue does not work: {error}"
            self._log.warning("queue_not_ready", reason=str(error))
            self._supervisor.start("queue_again", self._again())
            return
        if losses != self._losses or not self.client.is_connected:
            return
        self.is_up, self.reason = True, ""
        self._log.info("queue_connected", name=self._name)

    async def _again(self) -> None:
        await asyncio.sleep(1.0)
        if self.client.is_connected and not self.is_up:
            await self._on_connected()

    async def _on_disconnected(self) -> None:
        self._losses += 1
        if self.is_up:
            self._log.warning("queue_disconnected", name=self._name)
        self.is_up, self.reason = False, "the connection to the queue is lost"
        self._outbox.clear()
        self._outbox_bytes = 0
        self.lost()

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            self.lost()
        if not self.client.is_connected:
            self.reason = f"the queue cannot be reached: {str(error) or type(error).__name__}"
        self._log.debug("queue_error", name=self._name, reason=str(error))
