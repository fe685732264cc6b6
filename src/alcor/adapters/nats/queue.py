"""The queue on NATS JetStream: the only place that sees its client library.

Publishing is one message: who listens gets it at once, and the stream keeps it in place of the subject's last.
The session travels in the reply subject, where the stream's confirmation goes too; so frames are not wrapped.
No consumer is made for any host: a returning agent reads its own subjects directly, one by one, because only
so does the request name whose they are, for the server to check. Which there are stands in the host's index,
written again whenever a section is published for the first time.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError
from nats.js.api import DiscardPolicy, StreamConfig
from nats.js.errors import APIError, BadRequestError

from alcor.adapters.nats import subjects
from alcor.adapters.nats.access import Access
from alcor.adapters.nats.accounts import PARTITION
from alcor.contracts.queue import OnAnswer, OnFrame, OnLost, QueueState
from alcor.model import errors
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.runtime import supervision
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

KEPT_MAX_BYTES = 1024 * 1024 * 1024
KEPT_MIN_BYTES = 1024 * 1024
KEPT_MAX_AGE_S = 900.0  # who is away longer learns what differs from the controller
OUTBOX_MAX_BYTES = 128 * 1024 * 1024
FULL_S = 2.0  # so long a refusal to keep is believed, then it is tried again
SILENT_S = 5.0  # without a confirmation, after which nothing is taken for kept: so a server with a full disk is
SILENCE_BELIEVED_S = 30.0
RECONNECT_S = 0.2
REQUEST_S = 5.0
PAGE = 256  # kept frames asked for at once
INDEX_MAX = 4096  # sections named to a returning host; of more, those published last
TO_ALL = -1
_NO_ROOM = (10023, 10028, 10047)  # of JetStream: insufficient resources, of the account, of the server
_NOT_FOUND = "404"
CONTROLLER_INBOX = "alcor.confirmed"


class _Refusal(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Confirmation(msgspec.Struct):
    error: _Refusal | None = None


_confirmation = msgspec.json.Decoder(_Confirmation)
_index = msgspec.msgpack.Decoder(tuple[SectionKey, ...])


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


class NatsGoalQueue(NatsConnection):
    """Implements `contracts.queue.GoalQueue`."""

    def __init__(
        self,
        access: Access,
        log: EventLog,
        *,
        partition: str = PARTITION,
        kept_max_bytes: int = KEPT_MAX_BYTES,
        failure: Failure | None = None,
    ) -> None:
        super().__init__(
            access, log, name="controller", inbox=CONTROLLER_INBOX, partition=partition, failure=failure
        )
        self._kept_max_bytes = kept_max_bytes
        self._on_answer: OnAnswer | None = None
        self._on_lost: OnLost | None = None
        self._inbox = ""
        self._hears_answers = False
        self._unconfirmed = 0
        self._confirmed_s = 0.0
        self._full_until_s = 0.0
        self._full_reason = ""
        self._index: dict[HostId, dict[SectionKey, None]] = {}
        self._index_due: dict[HostId, None] = {}

    @property
    def state(self) -> QueueState:
        if not self.is_up:
            return QueueState(False, False, 0, self.reason)
        is_full = time.monotonic() < self._full_until_s
        return QueueState(True, is_full, self._unconfirmed, self._full_reason if is_full else "")

    def listen(self, on_answer: OnAnswer, on_lost: OnLost) -> None:
        self._on_answer, self._on_lost = on_answer, on_lost

    def publish(self, host: HostId, key: SectionKey, frame: bytes, *, session: int) -> bool:
        subject = subjects.goal(self.partition, host, key)
        self._notice_silence()
        if not self.send(subject, frame, f"{self._inbox}.{session}"):
            return False
        self._unconfirmed += 1
        self._note(host, key)
        return True

    def _notice_silence(self) -> None:
        now_s = time.monotonic()
        if not self._unconfirmed:
            self._confirmed_s = now_s
        elif now_s > self._confirmed_s + SILENT_S:
            self._full("the queue confirms nothing: what it is given may not be kept", for_s=SILENCE_BELIEVED_S)
            self._unconfirmed, self._confirmed_s = 0, now_s

    def tell(self, host: HostId, frame: bytes, *, session: int) -> None:
        self.send(subjects.tell(self.partition, host), frame, f"{self._inbox}.told.{session}")

    def tell_all(self, frame: bytes) -> None:
        self.send(subjects.beat(self.partition), frame)

    async def connected(self) -> None:
        if not self._inbox:
            inbox = self.client.new_inbox()
            await self.hear(f"{inbox}.*", self._on_confirmation)
            self._inbox = inbox
        if not self._hears_answers:
            await self.hear(subjects.answers(self.partition), self._on_message)
            self._hears_answers = True
        self._unconfirmed = 0
        self._full_until_s = 0.0
        await self._ensure_stream()

    def lost(self) -> None:
        self._unconfirmed = 0
        self._index.clear()  # what the server still keeps is not known
        self._index_due.clear()
        if self._on_lost is not None:
            self._on_lost()

    def _note(self, host: HostId, key: SectionKey) -> None:
        """Have the host's index name the section; for all sections of this turn it is written once."""
        known = self._index.setdefault(host, {})
        if key in known:
            return
        known[key] = None
        if len(known) > INDEX_MAX:
            del known[next(iter(known))]
        if not self._index_due:
            asyncio.get_running_loop().call_soon(self._write_indexes)
        self._index_due[host] = None

    def _write_indexes(self) -> None:
        for host in self._index_due:
            self.send(subjects.index(self.partition, host), msgspec.msgpack.encode(tuple(self._index[host])))
        self._index_due.clear()

    async def _ensure_stream(self) -> None:
        """Make the stream, or make it as it must be: its server's store may have been wiped.

        A server with less room than is wished for is asked for half of it, and so on.
        """
        max_bytes = self._kept_max_bytes
        while True:
            try:
                return await self._make_stream(max_bytes)
            except APIError as error:
                if error.err_code not in _NO_ROOM or max_bytes <= KEPT_MIN_BYTES:
                    raise
                max_bytes //= 2

    async def _make_stream(self, max_bytes: int) -> None:
        jetstream = self.client.jetstream(timeout=REQUEST_S)
        wanted = StreamConfig(
            name=subjects.STREAM,
            subjects=[subjects.KEPT],
            max_msgs_per_subject=1,
            max_bytes=max_bytes,
            max_age=KEPT_MAX_AGE_S,
            discard=DiscardPolicy.NEW,  # full is said, and not found out by who misses something
            duplicate_window=1,
            allow_direct=True,
        )
        try:
            await jetstream.add_stream(wanted)
        except BadRequestError:
            await jetstream.update_stream(wanted)

    def _on_confirmation(self, message: Msg) -> None:
        self._unconfirmed = max(0, self._unconfirmed - 1)
        self._confirmed_s = time.monotonic()
        if message.headers and message.headers.get("Status") == "503":
            self._full("the queue keeps nothing: its stream is gone")
            self._supervisor.start("queue_stream", self._stream_again())
            return
        try:
            error = _confirmation.decode(message.data).error
        except msgspec.DecodeError:
            return
        if error is not None:
            self._full(f"the queue keeps no more: {error.description}")
        elif self._full_until_s:
            self._full_until_s = 0.0

    async def _stream_again(self) -> None:
        try:
            await self._ensure_stream()
        except (NatsError, APIError, TimeoutError) as error:
            self._log.warning("queue_not_ready", reason=str(error))

    def _full(self, reason: str, *, for_s: float = FULL_S) -> None:
        now_s = time.monotonic()
        if now_s >= self._full_until_s:
            self._log.warning("queue_full", reason=reason)
        self._full_until_s, self._full_reason = now_s + for_s, reason

    def _on_message(self, message: Msg) -> None:
        speaker = subjects.speaker(message.subject)
        if message.headers or not self.believes:
            return  # headers are the stream's own words: no agent said so
        if speaker is not None and self._on_answer is not None:
            self._on_answer(*speaker, message.data)


class NatsAgentQueue(NatsConnection):
    """Implements `contracts.queue.AgentQueue`: all agents of a process on one connection.

    `name`: the host, or of emulated ones what they share.
    """

    def __init__(
        self,
        access: Access,
        log: EventLog,
        *,
        name: str,
        partition: str = PARTITION,
        failure: Failure | None = None,
    ) -> None:
        inbox = subjects.inbox(partition, HostId(name))
        super().__init__(access, log, name=name, inbox=inbox, partition=partition, failure=failure)
        self._places: dict[HostId, NatsPlace] = {}
        self._hears_beats = False

    def subscribe(self, host: HostId, on_frame: OnFrame, on_lost: OnLost) -> "NatsPlace":
        place = NatsPlace(self, host, on_frame, on_lost)
        self._places[host] = place
        if self.is_up:
            self._supervisor.start(f"queue place {host}", self._unless_lost(place.listen()))
        return place

    def forget(self, host: HostId, subscription: Any) -> None:
        """Let go of a place, and of its subscription if it has one."""
        self._places.pop(host, None)
        if subscription is not None and self.client.is_connected:
            self._supervisor.start(f"queue leaves {host}", self._unless_lost(subscription.unsubscribe()))

    async def _unless_lost(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what a connection that ends meanwhile makes needless: the next one begins with `connected`."""
        try:
            await work
        except NatsError as error:
            self._log.debug("queue_error", name=self._name, reason=str(error))

    async def connected(self) -> None:
        if not self._hears_beats:
            await self.hear(subjects.beat(self.partition), self._on_beat)
            self._hears_beats = True
        for place in list(self._places.values()):
            await place.listen()

    def lost(self) -> None:
        for place in list(self._places.values()):
            place.on_lost()

    def _on_beat(self, message: Msg) -> None:
        for place in list(self._places.values()) if self.believes else ():
            place.on_frame(TO_ALL, message.data)


class NatsPlace:
    """Implements `contracts.queue.HostSubscription`."""

    def __init__(self, queue: NatsAgentQueue, host: HostId, on_frame: OnFrame, on_lost: OnLost) -> None:
        self.on_frame = on_frame
        self.on_lost = on_lost
        self._queue = queue
        self._host = host
        self._subscription: Any = None  # the library's own, opened on the first connection

    @property
    def is_up(self) -> bool:
        return self._queue.is_up and self._subscription is not None

    async def listen(self) -> None:
        """Subscribe, once; the library does it again on each reconnection."""
        if self._subscription is None:
            subject = subjects.to_host(self._queue.partition, self._host)
            self._subscription = await self._queue.hear(subject, self._on_message)

    async def last_values(self) -> Sequence[bytes]:
        partition, host = self._queue.partition, self._host
        index = await self._last(subjects.index(partition, host))
        try:
            keys = _index.decode(index) if index else ()
        except msgspec.DecodeError as error:
            raise errors.Unavailable("the queue's index cannot be read", retry_after_s=1) from error
        found: list[bytes | None] = []
        for first in range(0, len(keys), PAGE):
            page = keys[first : first + PAGE]
            asked = (self._last(subjects.goal(partition, host, key)) for key in page)
            found += await asyncio.gather(*asked)
        return [frame for frame in found if frame is not None]

    def answer(self, frame: bytes, *, session: int) -> None:
        self._queue.send(subjects.answer(self._queue.partition, self._host, session), frame)

    def close(self) -> None:
        self._queue.forget(self._host, self._subscription)

    async def _last(self, subject: str) -> bytes | None:
        """Ask for what is kept of a subject; None when there is nothing."""
        try:
            answer = await self._queue.client.request(subjects.get(subject), timeout=REQUEST_S)
        except (NatsError, TimeoutError, OSError) as error:
            raise errors.Unavailable(f"the queue does not answer: {error}", retry_after_s=1) from error
        status = (answer.headers or {}).get("Status")
        if status is not None and status != _NOT_FOUND:
            raise errors.Unavailable(f"the queue keeps nothing: {status}", retry_after_s=1)
        return answer.data if status is None else None

    def _on_message(self, message: Msg) -> None:
        session = message.reply.rpartition(".")[2]
        if session.isdigit() and self._queue.believes:
            self.on_frame(int(session), message.data)
