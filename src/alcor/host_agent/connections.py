"""Keeps a session with the controller: by a stream or, without one, by the queue.

    urls, one after the other --stream--> session, until it ends --> the next, after a wait
                                no stream --> session over the queue, until there is a stream

There is one session at a time. What the queue brings beside it, or kept for the host while it had none, is
taken only if it cannot be older than what the data plane still does.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from alcor.contracts.agent_channel import Channel, FromAgent, Hello, Update
from alcor.contracts.queue import AgentQueue
from alcor.host_agent import session
from alcor.host_agent.queue_link import QueueLink
from alcor.host_agent.session import Other, Session
from alcor.host_agent.settings import AgentTiming
from alcor.model import errors
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog

Connect = Callable[[str], Awaitable[Channel]]


class Conversation(Protocol):
    """Whose sessions these are: what it says and knows. Nothing here blocks but `take`."""

    def begun(self) -> None:
        """A session waits for its Hello."""
        ...

    def ended(self) -> None:
        """Nothing that was asked or sent in the session counts any longer."""
        ...

    async def take(self, update: Update, frame: bytes) -> None:
        """Take an update in, when there is room."""
        ...

    def hear(self, message: Other) -> None:
        """Act on any other message."""
        ...

    @property
    def held_mark(self) -> bytes:
        """Give what a beat says of what is held."""
        ...

    @property
    def held_epoch(self) -> int:
        """Give the newest term of a controller that what is held is of."""
        ...

    @property
    def recorded_epoch(self) -> int:
        """Give the term of the controller that granted the data plane; 0: none, or not known now."""
        ...

    def knows(self, keys: Iterable[SectionKey]) -> bool:
        """Is the version known that was held of each of these sections?"""
        ...


class Connections:
    """Owner of the session, and of the host's place at the queue. `presentable`: there is something to say."""

    def __init__(
        self,
        host: HostId,
        connect: Connect,
        clock: Clock,
        log: EventLog,
        *,
        urls: Sequence[str],
        timing: AgentTiming,
        agent_queue: AgentQueue | None,
        presentable: asyncio.Event,
        whose: Conversation,
    ) -> None:
        self._host = host
        self._connect = connect
        self._clock = clock
        self._log = log
        self._urls = tuple(urls)
        self._timing = timing
        self._agent_queue = agent_queue
        self._presentable = presentable
        self._whose = whose
        self._link: QueueLink | None = None
        self._session: Session | None = None
        self._no_session = asyncio.Event()
        self._no_session.set()
        self._without_stream = asyncio.Event()  # no stream could be had
        self._newest_epoch = 0  # of the controllers heard by this process
        self._heard_at_s = 0.0

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to connect, by every path there is."""
        tasks.create_task(self._stay_connected(), name="agent_connect")
        if self._agent_queue is not None:
            link = QueueLink(self._host, self._agent_queue, self._take_beside, self._clock)
            self._link = link
            tasks.create_task(link.pass_on(), name="agent_queue_beside")
            tasks.create_task(self._stay_at_queue(link), name="agent_queue")

    @property
    def current(self) -> Session | None:
        """The session, introduced or not; None: there is none."""
        return self._session

    @property
    def is_introduced(self) -> bool:
        """Has Hello been sent in the session there is?"""
        return self._session is not None and self._session.introduced

    @property
    def awaits_hello(self) -> bool:
        """Is there a session that Hello has not been sent in?"""
        return self._session is not None and not self._session.introduced and self._session.is_open

    @property
    def has_queue(self) -> bool:
        """May this host be spoken to over the queue?"""
        return self._link is not None

    @property
    def heard_at_s(self) -> float:
        """When the controller served us last, by the loop's clock; 0 before it ever did."""
        if self._session is not None:
            self._heard_at_s = max(self._heard_at_s, self._session.heard_at_s)
        return self._heard_at_s

    @property
    def epoch_known(self) -> int:
        """Give the newest term of a controller that is known: heard, held, or recorded in the data plane.

        The last tells an agent without a journal that an old controller is not to be served by.
        """
        heard = self._session.newest_epoch if self._session is not None else 0
        return max(self._newest_epoch, heard, self._whose.held_epoch, self._whose.recorded_epoch)

    def introduce(self, hello: Callable[[int], Hello]) -> None:
        """Send Hello, which is made of the session's number at the queue (0: there is no queue)."""
        assert self._session is not None, "a session waits for it"
        self._session.newest_epoch = self.epoch_known
        self._session.introduce(hello(self._link.begin() if self._link is not None else 0))

    def tell(self, message: FromAgent) -> None:
        """Say something in the session; without one that is introduced, nobody hears it."""
        if self._session is not None and self._session.introduced:
            self._session.send(message)

    def close(self, reason: str) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            self._session.close(reason)

    def supersede(self) -> None:
        """Hear that another has written to the data plane: what the queue kept may be older than that."""
        if self._link is not None:
            self._link.supersede()

    def leave_older_controller(self) -> bool:
        """End a session whose controller is older than the one that the data plane was last written to for.

        That one is found out about when a lapsed record is passed: after the Hello that should have named it.
        """
        current, recorded = self._session, self._whose.recorded_epoch
        if current is None or not (current.introduced and current.is_open) or recorded <= current.newest_epoch:
            return False
        current.close(f"the data plane was written to for a controller of epoch {recorded}")
        self._newest_epoch = max(self._newest_epoch, recorded)
        return True

    async def _stay_connected(self) -> None:
        attempt = dialled = 0
        if not self._urls:
            self._without_stream.set()
        while self._urls:
            await self._presentable.wait()
            # Each in its turn: one that welcomes may be the wrong one.
            url = self._urls[dialled % len(self._urls)]
            dialled += 1
            try:
                channel = await self._connect(url)
            except errors.Unavailable as error:
                self._log.debug("controller_away", url=url, reason=error.message)
                attempt += 1
            else:
                self._without_stream.clear()
                await self._leave_queue()
                begun_s = self._clock.monotonic_s()
                is_welcomed = await self._converse(channel, url)
                # Without another path there is nothing to stay with meanwhile.
                lasted_s = self._clock.monotonic_s() - begun_s if self._link is not None else math.inf
                attempt = session.next_attempt(
                    attempt, lasted_s=lasted_s, is_welcomed=is_welcomed, timing=self._timing
                )
            self._without_stream.set()
            await asyncio.sleep(session.reconnect_delay_s(self._host, attempt, self._timing))

    async def _stay_at_queue(self, link: QueueLink) -> None:
        """Speak over the queue as long as there is no stream."""
        timing = self._timing.over_queue()
        while True:
            await self._without_stream.wait()
            await self._presentable.wait()
            if link.is_up:
                await link.catch_up()
            if link.is_up and self._without_stream.is_set() and self._presentable.is_set():
                await self._converse(link.open(), "the queue", timing, is_shared=True)
            await asyncio.sleep(self._timing.queue_retry_s)

    async def _leave_queue(self) -> None:
        """End the session over the queue: there is a stream again."""
        self.close("there is a stream")
        await self._no_session.wait()

    async def _converse(
        self, channel: Channel, url: str, timing: AgentTiming | None = None, *, is_shared: bool = False
    ) -> bool:
        """Keep one session until it ends. True when the controller had welcomed us."""
        current = Session(
            self._host,
            channel,
            timing or self._timing,
            lambda: self._whose.held_mark,
            newest_epoch=self.epoch_known,
            is_shared=is_shared,
        )
        self._session = current
        self._no_session.clear()
        self._whose.begun()
        try:
            reason = await current.read(on_update=self._whose.take, on_other=self._whose.hear)
        finally:
            self._heard_at_s = self.heard_at_s
            self._newest_epoch = max(self._newest_epoch, current.newest_epoch)
            self._session = None
            self._no_session.set()
            if self._link is not None:
                self._link.end()
            self._whose.ended()
        self._log.info("controller_left", url=url, reason=reason)
        return current.welcomed

    async def _take_beside(self, update: Update, frame: bytes) -> None:
        """Take what came by the queue, but nothing kept that may be older than what the data plane still does.

        What was kept for this agent since its last session is newer than all it knows. Of anything else it can
        tell only by the version that it held of that section.
        """
        assert self._link is not None, "frames beside a session come by the queue"
        if 0 < update.epoch < self.epoch_known:
            return  # of a controller that another has taken over from
        if 0 < self._whose.recorded_epoch < update.epoch:
            return  # of a newer controller, which has granted no token yet: Hello brings both
        is_newer = self.is_introduced or self._link.was_kept_since_last_session(update)
        if is_newer or self._whose.knows(section.key for section in update.sections):
            await self._whose.take(update, frame)
