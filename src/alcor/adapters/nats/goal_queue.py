"""The controller's end of the queue on NATS JetStream: publishes, has it kept, and hears answers.

Publishing is one message: who listens gets it at once, and the stream keeps it in place of the subject's last.
The session travels in the reply subject, where the stream's confirmation goes too; so frames are not wrapped.
All that is kept for hosts away is confirmed. What a host hears live it answers itself: of that one message at a
time is confirmed, which tells soon enough that the stream is full or gone; the reply to others is nobody's.
No consumer is made for any host: a returning agent reads its own subjects (`agent_queue`). Which there are
stands in the host's index, written again whenever a section is published for the first time.
"""

import asyncio
import time

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, StreamConfig
from nats.js.errors import APIError, BadRequestError

from alcor.adapters.nats import subjects
from alcor.adapters.nats.access import Access
from alcor.adapters.nats.accounts import PARTITION
from alcor.adapters.nats.connection import REQUEST_S, NatsConnection
from alcor.contracts.queue import AWAY, OnAnswer, OnLost, QueueState
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure

KEPT_MAX_BYTES = 1024 * 1024 * 1024
KEPT_MIN_BYTES = 1024 * 1024
KEPT_MAX_AGE_S = 900.0  # who is away longer learns what differs from the controller
FULL_S = 2.0  # so long a refusal to keep is believed, then it is tried again
SILENT_S = 5.0  # without a confirmation, after which nothing is taken for kept: so a server with a full disk is
SILENCE_BELIEVED_S = 30.0
ASKED_AGAIN_S = 1.0  # without a confirmation, another one is asked for: it may be lost
INDEX_MAX = 4096  # sections named to a returning host; of more, those published last
_NO_ROOM = (10023, 10028, 10047)  # of JetStream: insufficient resources, of the account, of the server
CONTROLLER_INBOX = "alcor.confirmed"


class _Refusal(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Confirmation(msgspec.Struct):
    error: _Refusal | None = None


_confirmation = msgspec.json.Decoder(_Confirmation)


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
        self._asked_s = 0.0
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
        now_s = time.monotonic()
        self._notice_silence(now_s)
        asks = session == AWAY or not self._unconfirmed or now_s >= self._asked_s + ASKED_AGAIN_S
        inbox = self._inbox if asks else f"{self._inbox}.unasked"
        if not self.send(subjects.goal(self.partition, host, key), frame, f"{inbox}.{session}"):
            return False
        if asks:
            self._unconfirmed += 1
            self._asked_s = now_s
        self._note(host, key)
        return True

    def _notice_silence(self, now_s: float) -> None:
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
