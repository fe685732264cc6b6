"""One agent's session over the queue: sections leave one by one, each enough alone, until they are answered.

    what differs since Hello, changes --> lines (one per section) --> publish --> ... --> acknowledgement
                                              ^------ not answered in time, or "send all" ------'

At most one value of a section is under way: the next one leads from what was acknowledged, so it waits for
that (and takes all changes until then along). Sent again it is the same value under the same number, so that an
answer counts however late it comes, and ever more rarely, so that a slow queue does not get slower by it.
Groups and routers go before networks, and leave after them: a port must not be in force without its rules. What
leaves waits for what was due when it came to leave, and not for later changes, which may never end.
"""

from collections.abc import Iterable
from typing import Protocol

from alcor.contracts import queue
from alcor.contracts.agent_channel import Channel, Hello
from alcor.contracts.convergence import PathName
from alcor.control_plane.compiler.sections import HostSection
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.full_sections import Step
from alcor.control_plane.delivery.ledger import Ledger
from alcor.control_plane.delivery.queue_lines import Line, Writer
from alcor.model import goal_state
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId, PortId
from alcor.model.version import Version

WINDOW_MAX = 64  # sections under way, each kept as it was sent; whole ones share what hosts share
RESEND_TURNS = 2  # beats without an answer, at least, until a section is sent again; then twice as many
RESEND_TURNS_MAX = 16  # what was lost is not missing for longer
LEAVING = 2  # phase of groups and routers that the host must not hold any more
RETRIED_PARTS = 16  # what was too large is tried again when it has shrunk by one of these parts


class Sections(Protocol):
    """Where a host's sections go; the channel of its session has it."""

    def publish(self, key: SectionKey, frame: bytes) -> bool:
        """Send a frame and have it kept. False: it is larger than the queue takes."""
        ...


class HostQueue:
    """Owner of what waits for one agent that is heard over the queue. Serves the controller like a stream."""

    path: PathName = "queue"

    def __init__(
        self,
        hello: Hello,
        channel: Channel,
        sections: Sections,
        *,
        ledger: Ledger,
        writer: Writer,
    ) -> None:
        self.host: HostId = hello.host
        self.channel = channel
        self.started_at = hello.started_at
        self.agent_version = hello.agent_version
        self.session = hello.session
        self.has_queue = True
        self.reads_packed = hello.reads_packed
        self.rescuer = HostId("")  # a neighbour speaks in its name over a stream only
        self.plugged: set[PortId] = set(hello.plugged)
        self.last_heard_s = 0.0
        self.last_heard_at = 0
        self.too_large: dict[
            SectionKey, int
        ] = {}  # for the queue, with so many entries: they wait for a stream
        self._sections = sections
        self._ledger = ledger
        self._account = ledger.connected(hello.host, path_choice.of_session(is_stream=False))
        self._writer = writer
        self._number = queue.NUMBERS_FROM
        held = {each.key: each for each in hello.held}
        self.lines = {key: Line(held=held.get(key), is_new=True) for key in self._writer.keys(held)}
        self._offers = 0  # of changes so far
        self._due = dict.fromkeys(self.lines, 0)  # and at which of them, the first that is not sent
        self._under_way: dict[SectionKey, Line] = {}
        self._unsynchronised = set(self.lines)  # to be answered before completion is told, whatever changes
        self._completion = 0  # number of the update that says so; 0 before it was sent
        self._completion_turns = 0
        self._completion_resend_at = RESEND_TURNS
        self._patience = (
            RESEND_TURNS  # beats until what is not answered is sent again, by how long answers take
        )
        self.may_send = True  # False: its turn to be synchronised has not come

    @property
    def is_settled(self) -> bool:
        """Was it answered that everything was sent?"""
        return bool(self._completion) and self._completion not in self._account.outstanding

    @property
    def is_busy(self) -> bool:
        """Was it given much that it has not answered?"""
        return not self.is_settled

    @property
    def has_waiting(self) -> bool:
        return bool(self._due or self._under_way or not self._completion)

    @property
    def is_congested(self) -> bool:
        return len(self._under_way) >= WINDOW_MAX

    def offer(self, revision: int, sections: Iterable[HostSection]) -> None:
        """Take a change's sections for this host. `flush` sends them."""
        version = Version(self._writer.epoch, revision)
        self._offers += 1
        for section in sections:
            self._add(version, section)

    def learn(self, section: HostSection) -> None:
        """Take a step of one section: placements that the host asked for. `flush` sends it."""
        self._add(self._writer.wanted_version(section.key), section)

    def _add(self, version: Version, section: HostSection) -> None:
        line = self.lines.get(section.key)
        if line is None:
            line = self.lines[section.key] = Line()
        self._writer.add(line, version, section)
        if not self._is_still_too_large(section.key):
            self._due.setdefault(section.key, self._offers)

    def _is_still_too_large(self, key: SectionKey) -> bool:
        """Would it be made in vain? Otherwise each change to such a section would cost all of it."""
        entries = self.too_large.get(key)
        if entries is None or not self._writer.is_wanted(key):
            return False
        return self._writer.entries(key) > entries - entries // RETRIED_PARTS

    def send_all(self, keys: Iterable[SectionKey]) -> None:
        """Have sections sent in full with the next flush."""
        for key in keys:
            line = self.lines.get(key)
            if line is None:
                line = self.lines[key] = Line()
            self._forget_number(line)
            due = line.due if self._under_way.pop(key, None) is not None else self._offers
            line.send_all()
            self._due[key] = min(due, self._due.get(key, due))

    def flush(self) -> None:
        """Send what waits and may go now."""
        self._take_answers()
        if not self.may_send:
            return
        if not (self._unsynchronised or self._completion):
            self._number += 1
            self._completion = self._number
            self._tell_completion()
        if self._due:
            self._publish_due()

    def _publish_due(self) -> None:
        pending = (*self._due.items(), *((key, line.due) for key, line in self._under_way.items()))
        phases = [(self._phase(key), due) for key, due in pending]
        last = min(phase for phase, _ in phases)
        oldest = min((due for phase, due in phases if phase < LEAVING), default=self._offers + 1)
        for key, due in list(self._due.items()):
            if len(self._under_way) >= WINDOW_MAX:
                break
            if key in self._under_way:
                continue
            phase = self._phase(key)
            if phase <= last or (phase == LEAVING and due < oldest):
                self._publish(key)

    def beat(self, frame: bytes) -> None:
        """Let a turn pass: send again what is not answered. Beats go to all agents at once, not from here."""
        self._take_answers()
        for key, line in list(self._under_way.items()):
            line.turns += 1
            if line.turns >= line.resend_at:
                self._publish_again(key, line)
        if self._completion and self._completion in self._account.outstanding:
            self._completion_turns += 1
            if self._completion_turns >= self._completion_resend_at:
                self._completion_resend_at = _later(self._completion_turns)
                self._tell_completion()
        self.flush()

    def _take_answers(self) -> None:
        outstanding = self._account.outstanding
        for key, line in list(self._under_way.items()):
            if line.number in outstanding:
                continue
            del self._under_way[key]
            self._unsynchronised.discard(key)
            self._patience = min(max(RESEND_TURNS, 2 * line.turns), RESEND_TURNS_MAX)
            line.acknowledge()
            if line.changes:
                self._due.setdefault(key, self._offers)
                continue
            self._due.pop(key, None)
            if key not in self._account.sent:
                del self.lines[key]  # removed

    def _phase(self, key: SectionKey) -> int:
        if goal_state.is_of_network(key):
            return 1
        return 0 if self._writer.is_wanted(key) else LEAVING

    def _publish(self, key: SectionKey) -> None:
        line = self.lines[key]
        line.due = self._due.pop(key)
        line.turns, line.resend_at = 0, self._patience
        self._send(key, line, self._writer.step(key, line), self._number + 1)

    def _publish_again(self, key: SectionKey, line: Line) -> None:
        """Send what is not answered once more, as it is.

        The whole of a section as well: made anew under another number, it would never be answered where answers
        take longer than the waits and changes go on.
        """
        assert line.sent is not None, "what is under way is kept until it is answered"
        line.resend_at = _later(line.turns)
        self._send(key, line, line.sent, line.number)

    def _send(self, key: SectionKey, line: Line, step: Step, number: int) -> None:
        frame, sent = self._writer.frame(step, number)
        if not self._sections.publish(key, frame):
            self.too_large[key] = self._writer.entries(key)
            self._under_way.pop(key, None)
            self._forget_number(line)
            line.send_all()
            return
        self.too_large.pop(key, None)
        self._number = max(self._number, number)
        line.number, line.version, line.sent = number, sent.version, step
        self._under_way[key] = line
        self._ledger.sent(self.host, number, (sent,))

    def _forget_number(self, line: Line) -> None:
        if line.number:
            self._account.outstanding.pop(line.number, None)

    def _tell_completion(self) -> None:
        self._ledger.sent(self.host, self._completion, ())
        self.channel.send(self._writer.completion(self._completion))


def _later(turns: int) -> int:
    """Say when to send again what was sent at this turn."""
    return turns + min(turns, RESEND_TURNS_MAX)
