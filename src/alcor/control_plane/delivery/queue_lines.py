"""What one host must still be sent by the queue: per section a line of changes since what it is known to hold.

The queue keeps the last value of each section only, so each value must be enough alone: it leads from what
the host acknowledged to the newest version (cumulative), or is the whole section where that is not known or
smaller. The whole is made only then: a change costs its own entries, however large its section is.
"""

from collections.abc import Sequence

from alcor.contracts.agent_channel import Held
from alcor.control_plane.compiler import interest as interests
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.compiler.sections import HostSection, SharedPart
from alcor.control_plane.delivery import cumulative, update_frames
from alcor.control_plane.delivery.full_sections import FullSections, Step
from alcor.control_plane.delivery.ledger import Sent
from alcor.control_plane.delivery.update_frames import SectionFrame
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.model.version import Version

CHANGES_MAX = 256  # of one section; of more, one is made of them
COMPARED_ENTRIES = 64  # from here on a change is compared with the whole section


class Line:
    """One section on its way. `base` None: what the host holds is not known, or is nothing."""

    __slots__ = ("base", "changes", "due", "held", "is_new", "number", "resend_at", "sent", "turns", "version")

    def __init__(self, *, base: Version | None = None, held: Held | None = None, is_new: bool = False) -> None:
        self.base = base
        self.changes: list[tuple[Version, HostSection | None]] = []  # None: the whole is no more than they are
        self.held = held  # as Hello named it
        self.is_new = is_new  # nothing was acknowledged since Hello
        self.version: Version | None = None  # published last
        self.number = 0  # of that update; 0 when it is answered
        self.sent: Step | None = None  # what it was, to be sent again as it is; None when it is answered
        self.due = 0  # what is under way: since which offer of changes
        self.turns = 0  # beats since it was sent first
        self.resend_at = 0  # turns

    @property
    def is_under_way(self) -> bool:
        return self.number != 0

    @property
    def wants_all(self) -> bool:
        """Is the whole section to be sent, whatever changed? O(1): a whole one drops those before it."""
        if self.base is None or not self.changes:
            return self.base is None
        first = self.changes[0][1]
        return first is None or first.is_full

    def add(self, version: Version, section: HostSection) -> None:
        """Take a change that follows those before."""
        if self.base is None and not self.is_under_way:
            return  # what is sent next is whole, and holds it
        if section.is_full:
            self.changes = [(version, section)]
        else:
            self.changes.append((version, section))

    def compact(self, entries: int) -> None:
        """Keep one change for all; none when it has as many entries as the whole section. O(entries)."""
        version = self.changes[-1][0]
        section = None if self.wants_all else self.in_one()
        if section is not None and section.entries >= entries:
            section = None
        self.changes = [(version, section)]

    def in_one(self) -> HostSection:
        """Give one delta for all changes. A single one is shared with other hosts, its bytes too."""
        steps = [section for _, section in self.changes if section is not None]
        if len(steps) == 1:
            return steps[0]
        values = [change for section in steps if (change := section.change()) is not None]
        return HostSection(steps[0].key, SharedPart(cumulative.merged(values)), is_full=False)

    def send_all(self) -> None:
        """Have the whole section sent next: the host holds something else than was thought."""
        self.base, self.is_new, self.number, self.sent = None, False, 0, None
        self.changes.clear()

    def acknowledge(self) -> None:
        """Take what was published last for held."""
        assert self.version is not None, "only what was published is answered"
        newest = self.version
        self.base, self.is_new, self.held, self.number, self.sent = newest, False, None, 0, None
        self.changes = [entry for entry in self.changes if entry[0] > newest]


class Writer:
    """Makes the frames of one host."""

    def __init__(
        self,
        host: HostId,
        *,
        epoch: int,
        interest: Interest,
        full: FullSections,
        reads_packed: bool,
    ) -> None:
        """`reads_packed`: as the host's agent said last."""
        self._host = host
        self.epoch = epoch
        self._interest = interest
        self._full = full
        self._reads_packed = reads_packed

    def keys(self, held: dict[SectionKey, Held]) -> list[SectionKey]:
        """Name what the host must hold and what it says it holds, in the order of delivery."""
        return interests.keys_of({*self._interest.wanted.get(self._host, {}), *held})

    def is_wanted(self, key: SectionKey) -> bool:
        """Must the host hold the section?"""
        return key in self._interest.wanted.get(self._host, ())

    def entries(self, key: SectionKey) -> int:
        """Count what the section has as a whole. O(1)."""
        return self._full.entries(self._host, key)

    def wanted_version(self, key: SectionKey) -> Version:
        """Give the version that the host must hold."""
        return self._interest.wanted_version(self._host, key, epoch=self.epoch)

    def add(self, line: Line, version: Version, section: HostSection) -> None:
        """Take a change of the line's section. O(1), but for one in `CHANGES_MAX`."""
        line.add(version, section)
        if len(line.changes) > CHANGES_MAX:
            line.compact(self.entries(section.key))

    def step(self, key: SectionKey, line: Line) -> Step:
        """Give what brings the section to its newest version."""
        if line.is_new:
            return self._full.synchronising(self._host, key, line.held, epoch=self.epoch)
        if line.wants_all or not self.is_wanted(key):
            return self._full.step_to(self._host, key, epoch=self.epoch)
        if not line.changes:
            return self._full.confirmation(key), line.base, self.wanted_version(key)
        section = line.in_one()
        if (count := section.entries) >= COMPARED_ENTRIES and count >= self.entries(key):
            return self._full.step_to(self._host, key, epoch=self.epoch)
        return section, line.base, self.wanted_version(key)

    def frame(self, step: Step, number: int) -> tuple[bytes, Sent]:
        """Give the update of a step, and what to note of it."""
        section, base, version = step
        sent = Sent(section.key, version, base is None, section.shared is None)
        frame = update_frames.section_frame(section, base, version)
        return self._update(number, (frame,), is_complete=False), sent

    def completion(self, number: int) -> bytes:
        """Give the update that says that everything was sent and answered."""
        return self._update(number, (), is_complete=True)

    def _update(self, number: int, frames: Sequence[SectionFrame], *, is_complete: bool) -> bytes:
        return update_frames.update(
            number, frames, is_complete=is_complete, epoch=self.epoch, reads_packed=self._reads_packed
        )
