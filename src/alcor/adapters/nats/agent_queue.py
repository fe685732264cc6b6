"""The agents' end of the queue on NATS: what the controller publishes, live, and what is kept of it.

A returning agent reads its own subjects directly, one by one, because only so does the request name whose they
are, for the server to check. Which there are stands in the host's index (`goal_queue`).
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from alcor.adapters.nats import subjects
from alcor.adapters.nats.access import Access
from alcor.adapters.nats.accounts import PARTITION
from alcor.adapters.nats.connection import REQUEST_S, NatsConnection
from alcor.contracts.queue import OnFrame, OnLost
from alcor.model import errors
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure

PAGE = 256  # kept frames asked for at once
TO_ALL = -1
_NOT_FOUND = "404"

_index = msgspec.msgpack.Decoder(tuple[SectionKey, ...])


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
