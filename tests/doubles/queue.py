"""The queue in memory: counts what is published, keeps the last values, brings frames to those who listen."""

import asyncio
from collections import deque

import msgspec

from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import Acknowledgement, Farewell, Hello, Update
from alcor.contracts.queue import AWAY, OnAnswer, OnLost, QueueState
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId

_encoder = msgspec.msgpack.Encoder()


class QueueDouble:
    """Implements `GoalQueue`. `published`: host, section, session and frame of each, in order."""

    def __init__(self, *, frame_max: int = 1024 * 1024) -> None:
        self.frame_max = frame_max
        self.state = QueueState(is_up=True)
        self.has_room = True  # for what leaves; False: frames are not taken, and nothing says so but that
        self.published: list[tuple[HostId, SectionKey, int, bytes]] = []
        self.kept: dict[tuple[HostId, SectionKey], bytes] = {}
        self.agents: dict[HostId, QueueAgent] = {}
        self._on_answer: OnAnswer | None = None
        self._on_lost: OnLost | None = None

    def listen(self, on_answer: OnAnswer, on_lost: OnLost) -> None:
        self._on_answer, self._on_lost = on_answer, on_lost

    def publish(self, host: HostId, key: SectionKey, frame: bytes, *, session: int) -> bool:
        if not self.state.is_up or not self.has_room:
            return False
        self.published.append((host, key, session, frame))
        self.kept[host, key] = frame
        self.tell(host, frame, session=session)
        return True

    def tell(self, host: HostId, frame: bytes, *, session: int) -> None:
        agent = self.agents.get(host)
        if agent is not None and session == agent.session:
            agent.hear(frame)

    def tell_all(self, frame: bytes) -> None:
        """Beats: nobody here counts them."""

    def answer(self, host: HostId, frame: bytes, *, session: int) -> None:
        """Bring an answer to the controller."""
        assert self._on_answer is not None
        self._on_answer(host, session, frame)

    def fail(self) -> None:
        """Lose the server."""
        self.state = QueueState(is_up=False, reason="the connection to the queue is lost")
        assert self._on_lost is not None
        self._on_lost()


class QueueAgent:
    """Holds what it is sent over the queue by the rules of an `AgentDouble`, and answers at once."""

    def __init__(self, double, queue: QueueDouble) -> None:  # type: ignore[no-untyped-def]  # of the unit tests
        self.double = double
        self.session = AWAY
        self.complete = asyncio.Event()
        self.updates: deque[Update] = deque()
        self._queue = queue

    def come(self, session: int = 1) -> None:
        """Begin a session."""
        self.session = session
        self.complete = asyncio.Event()
        self._queue.agents[self.double.host] = self
        hello: Hello = msgspec.structs.replace(self.double.hello(), session=session)
        self._queue.answer(self.double.host, _encoder.encode(hello), session=session)

    def leave(self) -> None:
        """End the session, and listen no longer."""
        del self._queue.agents[self.double.host]
        self._queue.answer(self.double.host, _encoder.encode(Farewell("gone")), session=self.session)

    def hear(self, frame: bytes) -> None:
        """Take a frame; answer an update."""
        match packed_ids.read(frame):
            case Update() as update:
                self.updates.append(update)
                answer = Acknowledgement(update.number, tuple(map(self.double.take, update.sections)))
                loop = asyncio.get_running_loop()
                loop.call_soon(self._answer, _encoder.encode(answer), self.session)
                if update.complete:
                    self.complete.set()
            case _:
                pass

    def _answer(self, frame: bytes, session: int) -> None:
        self._queue.answer(self.double.host, frame, session=session)

    def catch_up(self) -> None:
        """Take what was kept, as a returning agent does before it speaks."""
        for (host, _), frame in self._queue.kept.items():
            message = packed_ids.read(frame)
            if host == self.double.host and isinstance(message, Update):
                for section in message.sections:
                    self.double.take(section)
