"""The queue path: sessions with agents that are heard over the queue; for those away see `away_hosts`.

answers --Hello--> QueueChannel --> the controller serves it as it serves a stream
        --others-> the channel of their session; of an unknown session: Farewell, so that the agent begins anew
"""

from collections.abc import Awaitable, Callable

import msgspec

from alcor.contracts.agent_channel import BeatsInFrames, Channel, Farewell
from alcor.contracts.frame_buffer import FrameBuffer
from alcor.contracts.queue import GoalQueue, QueueState
from alcor.control_plane.delivery.away_hosts import AwayHosts, AwayPace
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

UNREAD_MAX = 4096  # frames of one agent; an agent that says more is cut

_encoder = msgspec.msgpack.Encoder()
_HELLO = b"\xa5hello"  # a message's tag is its first field
_FAREWELL = b"\xa8farewell"


class QueueChannel(BeatsInFrames):
    """One session with one agent over the queue. Implements `Channel` and `host_queue.Sections`."""

    def __init__(self, queue: GoalQueue, host: HostId, session: int) -> None:
        self.host = host
        self.session = session
        self._queue = queue
        self._buffer = FrameBuffer(UNREAD_MAX)

    async def receive(self) -> bytes | None:
        return await self._buffer.get()

    def send(self, frame_body: bytes) -> None:
        if self.close_reason is None:
            self._queue.tell(self.host, frame_body, session=self.session)

    def publish(self, key: SectionKey, frame: bytes) -> bool:
        if len(frame) > self._queue.frame_max:
            return False
        if self.close_reason is None:
            self._queue.publish(self.host, key, frame, session=self.session)
        return True

    def close(self, reason: str = "") -> None:
        self._buffer.end(reason or "closed here")

    @property
    def backlog_bytes(self) -> int:
        return 0

    @property
    def close_reason(self) -> str | None:
        return self._buffer.end_reason

    def arrive(self, frame: bytes) -> None:
        """Take what the agent says."""
        if _is(frame, _FAREWELL):
            self.close("the agent ends it")
        elif not self._buffer.put(frame):
            self.close("the agent says more than is read")


class QueuePath:
    """Owner of the sessions over the queue and of what is kept for hosts away."""

    def __init__(
        self,
        queue: GoalQueue,
        serve: Callable[[Channel], Awaitable[None]],
        log: EventLog,
        *,
        away: AwayPace,
        failure: Failure,
    ) -> None:
        """`failure`: of the controller, which is of no use when nothing is written for hosts away any more."""
        self._queue = queue
        self._serve = serve
        self._supervisor = Supervisor(log, failure=failure)  # one task, for all hosts away
        self._sessions = Supervisor(log, failure=None)  # a task for each host
        self._channels: dict[HostId, QueueChannel] = {}
        self.away = AwayHosts(queue, away)
        self._listens = False
        self._epoch = 0

    @property
    def state(self) -> QueueState:
        return self._queue.state

    def start(self, epoch: int) -> None:
        """Listen to agents."""
        self._epoch = epoch
        self._listens = True
        self._queue.listen(self._on_answer, self._on_lost)
        self._supervisor.start("kept for hosts away", self.away.run())

    async def stop(self) -> None:
        """End all sessions, and hear of no more."""
        self._listens = False
        await self._supervisor.close()
        await self._sessions.close()

    def beat(self, frame: bytes) -> None:
        """Let all agents hear that the controller is alive, and how often to beat: one message."""
        self._queue.tell_all(frame)

    def _on_answer(self, host: HostId, session: int, frame: bytes) -> None:
        channel = self._channels.get(host)
        if not self._listens:
            return
        if channel is not None and channel.session == session:
            channel.arrive(frame)
        elif _is(frame, _HELLO) and (channel is None or session > channel.session):
            if channel is not None:  # it is over, whether the new one is welcome here or not
                channel.close("a newer session began")
            channel = self._channels[host] = QueueChannel(self._queue, host, session)
            channel.arrive(frame)
            self._sessions.start(f"queue session {host}", self._follow(channel))
        elif not _is(frame, _FAREWELL):
            self._queue.tell(
                host, _encoder.encode(Farewell("this session is not known", self._epoch)), session=session
            )

    def _on_lost(self) -> None:
        """Plugs and acknowledgements may be missing: only a new Hello tells the truth again."""
        for channel in list(self._channels.values()):
            channel.close("the queue was lost for a moment")

    async def _follow(self, channel: QueueChannel) -> None:
        try:
            await self._serve(channel)
        finally:
            if self._channels.get(channel.host) is channel:
                del self._channels[channel.host]


def _is(frame: bytes, tag: bytes) -> bool:
    """Is the frame a message of this tag? An array of fewer than 16 fields has one byte before it."""
    return frame[1 : 1 + len(tag)] == tag or frame[3 : 3 + len(tag)] == tag
