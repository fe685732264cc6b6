"""One agent's stream: sections wait here until its window has room, and leave merged into updates.

    synchronisation (per section held or wanted) --\\
    sections to send in full ----------------------+--> flush -> Update(number) -> channel
    deltas, in order of their changes -------------/

What is sent in full or confirmed is compiled when it leaves, so that it holds all changes until then; deltas of
the same section that were waiting are dropped, because they are in it.
"""

from collections import deque
from collections.abc import Iterable

from alcor.contracts.agent_channel import Channel, Held, Hello
from alcor.contracts.convergence import PathName
from alcor.control_plane.compiler import interest as interests
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.compiler.sections import HostSection
from alcor.control_plane.delivery import path_choice, update_frames
from alcor.control_plane.delivery.full_sections import FullSections
from alcor.control_plane.delivery.ledger import Ledger, Sent
from alcor.control_plane.delivery.update_frames import SectionFrame
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId, PortId
from alcor.model.version import Version

WINDOW_MAX = 8  # updates under way; what comes meanwhile is merged, so a slow host gets few large ones
CONGESTED_BYTES = 1024 * 1024  # bytes not yet taken by the network, from which on a stream counts as congested
BACKLOG_MAX = 8 * 1024 * 1024  # bytes not yet taken by the network
UPDATE_BYTES = 4 * 1024 * 1024  # an update is closed when it is larger; one section may exceed it
BUSY_BYTES = 256 * 1024  # an update so large may keep an agent from speaking for a while
DELTAS_MAX = 4096  # waiting for one host; beyond it sections are sent in full instead


class HostStream:
    """Owner of what waits for one agent, and of the numbers of its updates."""

    path: PathName = "fast"

    def __init__(
        self,
        hello: Hello,
        channel: Channel,
        *,
        epoch: int,
        interest: Interest,
        full: FullSections,
        ledger: Ledger,
    ) -> None:
        self.host: HostId = hello.host
        self.channel = channel
        self.started_at = hello.started_at
        self.agent_version = hello.agent_version
        self.rescuer = hello.rescuer
        self.session = hello.session
        self.has_queue = hello.queue
        self.reads_packed = hello.reads_packed
        self.plugged: set[PortId] = set(hello.plugged)
        self.last_heard_s = 0.0
        self.last_heard_at = 0
        self._epoch = epoch
        self._interest = interest
        self._full = full
        self._ledger = ledger
        self._account = ledger.connected(
            hello.host, path_choice.of_session(is_stream=True, rescuer=hello.rescuer)
        )
        self._number = 0
        self._large = 0  # number of the last large update
        self._held: dict[SectionKey, Held] = {held.key: held for held in hello.held}
        wanted = interest.wanted.get(hello.host, {})
        self._to_synchronise = deque(interests.keys_of({*wanted, *self._held}))
        self._unsynchronised = set(self._to_synchronise)
        self._is_complete = False
        self._completion = 0  # number of the update that says so
        self.may_send = True  # False: its turn to be synchronised has not come
        self._to_send_all: dict[SectionKey, None] = {}
        self._deltas: deque[tuple[Version, HostSection]] = deque()

    @property
    def is_settled(self) -> bool:
        """Has everything sent until it was synchronised been answered?"""
        return self._is_complete and all(number > self._completion for number in self._account.outstanding)

    @property
    def is_busy(self) -> bool:
        """Was it given much that it has not answered?"""
        return not self.is_settled or self._large in self._account.outstanding

    @property
    def has_waiting(self) -> bool:
        return bool(not self._is_complete or self._to_send_all or self._deltas)

    @property
    def is_congested(self) -> bool:
        """Is more unsent than the network takes soon, or more sent than the host answers soon?"""
        is_full = len(self._account.outstanding) >= WINDOW_MAX
        return is_full or self.channel.backlog_bytes >= CONGESTED_BYTES

    def beat(self, frame: bytes) -> None:
        """Let the agent hear that the controller is alive."""
        self.channel.send(frame)

    def offer(self, revision: int, sections: Iterable[HostSection]) -> None:
        """Take a change's sections for this host. `flush` sends them."""
        version = Version(self._epoch, revision)
        for section in sections:
            self._offer(version, section)

    def learn(self, section: HostSection) -> None:
        """Take a step of one section: placements that the host asked for. `flush` sends it."""
        self._offer(self._interest.wanted_version(self.host, section.key, epoch=self._epoch), section)

    def _offer(self, version: Version, section: HostSection) -> None:
        if section.key not in self._unsynchronised and section.key not in self._to_send_all:
            self._deltas.append((version, section))
        if len(self._deltas) > DELTAS_MAX:
            for _, section in self._deltas:
                self._to_send_all[section.key] = None
            self._deltas.clear()

    def send_all(self, keys: Iterable[SectionKey]) -> None:
        """Have sections sent in full with the next flush."""
        asked = {key for key in keys if key not in self._unsynchronised}
        self._to_send_all.update(dict.fromkeys(asked))
        if asked:
            self._deltas = deque(entry for entry in self._deltas if entry[1].key not in asked)

    def flush(self) -> None:
        """Send what waits, as far as the window has room."""
        while (
            self.may_send
            and self.has_waiting
            and len(self._account.outstanding) < WINDOW_MAX
            and self.channel.backlog_bytes < BACKLOG_MAX
        ):
            self._send_update()

    def _send_update(self) -> None:
        frames: list[SectionFrame] = []
        sent: list[Sent] = []
        size = 0
        while size < UPDATE_BYTES:
            entry = self._next()
            if entry is None:
                break
            frame, noted = entry
            size += frame.size
            frames.append(frame)
            sent.append(noted)
        complete = not self._to_synchronise and not self._is_complete
        self._number += 1
        if complete:
            self._is_complete, self._completion = True, self._number
        if size >= BUSY_BYTES:
            self._large = self._number
        self._ledger.sent(self.host, self._number, sent)
        self.channel.send(
            update_frames.update(
                self._number, frames, is_complete=complete, epoch=0, reads_packed=self.reads_packed
            )
        )

    def _next(self) -> tuple[SectionFrame, Sent] | None:
        if self._to_synchronise:
            key = self._to_synchronise.popleft()
            self._unsynchronised.discard(key)
            held = self._held.pop(key, None)
            return self._frame(*self._full.synchronising(self.host, key, held, epoch=self._epoch))
        if self._to_send_all:
            key = next(iter(self._to_send_all))
            del self._to_send_all[key]
            return self._frame(*self._full.step_to(self.host, key, epoch=self._epoch))
        if self._deltas:
            version, section = self._deltas.popleft()
            base = None if section.is_full else self._account.sent[section.key]
            return self._frame(section, base, version)
        return None

    def _frame(self, section: HostSection, base: Version | None, version: Version) -> tuple[SectionFrame, Sent]:
        self._account.sent[section.key] = version  # the base of what follows, in this update already
        frame = update_frames.section_frame(section, base, version)
        return frame, Sent(section.key, version, section.is_full, section.shared is None)
