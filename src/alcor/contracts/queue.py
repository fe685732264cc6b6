"""The queue between controller and agents: a second way for the same frames (law 3).

    controller --publish--> the last value per host and section is kept --live, or when it is back--> agent
               --tell-----> not kept: Welcome, Farewell, Beat --------------------------------------> agent
    controller <------------------------------- answer: Hello, Acknowledgement, Plugs, Beat --------- agent

Everything may be lost, late or come twice. What makes that harmless: versions (law 2), sending again until it
is acknowledged, and *sessions*. A session begins with a Hello and carries its number; what was sent in another
one counts no longer, so that nothing late can bring back a section that Hello did not name.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId

# Numbers of updates that go by the queue begin here: an acknowledgement tells by its number what it answers,
# whichever way it takes. What is kept for a host away has the number of its last session instead.
NUMBERS_FROM = 1 << 32
AWAY = 0  # the session of what is kept for a host that nobody hears

OnAnswer = Callable[[HostId, int, bytes], None]
OnFrame = Callable[[int, bytes], None]
OnLost = Callable[[], None]


class QueueState(msgspec.Struct, frozen=True):
    """How the queue is, as one of its clients sees it. `reason`: a sentence when it is down or full."""

    is_up: bool
    is_full: bool = False  # it delivers to who listens, but keeps no more
    unconfirmed: int = 0  # published and to be confirmed as kept, and not yet confirmed
    reason: str = ""


class GoalQueue(Protocol):
    """The controller's end."""

    @property
    def state(self) -> QueueState: ...

    @property
    def frame_max(self) -> int:
        """The largest frame that the queue takes, in bytes."""
        ...

    def listen(self, on_answer: OnAnswer, on_lost: OnLost) -> None:
        """Have answers passed on as (host, session, frame); `on_lost` says that some may be missing."""
        ...

    def publish(self, host: HostId, key: SectionKey, frame: bytes, *, session: int) -> bool:
        """Send a frame and have it kept in place of the section's last. Never blocks and never raises.

        False: it was not taken. What was may still be lost with the connection, or refused later.
        """
        ...

    def tell(self, host: HostId, frame: bytes, *, session: int) -> None:
        """Send a frame that is not kept. Never blocks and never raises."""
        ...

    def tell_all(self, frame: bytes) -> None:
        """Send a frame that is not kept to all agents."""
        ...


class HostSubscription(Protocol):
    """One agent's end. Owner of its place at the queue, until it is closed."""

    @property
    def is_up(self) -> bool: ...

    async def last_values(self) -> Sequence[bytes]:
        """Read the kept frames of this host, oldest first. Raises Unavailable."""
        ...

    def answer(self, frame: bytes, *, session: int) -> None:
        """Send a frame to the controller. Never blocks and never raises."""
        ...

    def close(self) -> None:
        """Listen no longer."""
        ...


class AgentQueue(Protocol):
    """The agents' end; agents of one process may share it."""

    def subscribe(self, host: HostId, on_frame: OnFrame, on_lost: OnLost) -> HostSubscription:
        """Have frames passed on as (session, frame); session -1: to all agents."""
        ...
