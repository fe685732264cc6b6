"""What one host must still be sent by the queue: per section a line of changes since what it is known to hold.

The queue keeps the last value of each section only, so each value must be enough alone: it leads from what
the host acknowledged to the newest version (cumulative), or is the whole section where that is not known or
smaller.
"""

from collections.abc import Sequence

from alcor.contracts.agent_channel import Held
from alcor.control_plane.compiler import interest as interests
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.compiler.sections import HostSection, SharedPart
from alcor.control_plane.delivery import cumulative, update_frames
from alcor.control_plane.delivery.full_sections import FullSections
from alcor.control_plane.delivery.ledger import Sent
from alcor.control_plane.delivery.update_frames import SectionFrame
from alcor.control_plane.region import Region
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.model.version import Version

CHANGES_MAX = 256  # of one section; beyond it the whole section is sent
COMPARED_BYTES = 16 * 1024  # from here on a change is compared with the whole section


class Line:
    """One section on its way. `base` None: what the host holds is not known, or is nothing."""

    __slots__ = ("base", "changes", "held", "is_new", "number", "turns", "version")

    def __init__(self, *, base: Version | None = None, held: Held | None = None, is_new: bool = False) -> None:
        self.base = base
        self.changes: list[tuple[Version, HostSection | None]] = []  # None: too many to keep
        self.held = held  # as Hello named it
        self.is_new = is_new  # nothing was acknowledged since Hello
        self.version: Version | None = None  # published last
        self.number = 0  # of that update; 0 when it is answered
        self.turns = 0  # beats since then

    @property
    def is_under_way(self) -> bool:
        return self.number != 0

    @property
    def wants_all(self) -> bool:
        """Is the whole section to be sent, whatever changed?"""
        return self.base is None or any(section is None or section.is_full for _, section in self.changes)

    def add(self, version: Version, section: HostSection) -> None:
        """Take a change that follows those before."""
        if self.base is None and not self.is_under_way:
            return  # what is sent next is whole, and holds it
        if section.is_full:
            self.changes = [(version, section)]
        elif len(self.changes) >= CHANGES_MAX:
            self.changes = [(version, None)]
        else:
            self.changes.append((version, section))

    def send_all(self) -> None:
        """Have the whole section sent next: the host holds something else than was thought."""
        self.base, self.is_new, self.number = None, False, 0
        self.changes.clear()

    def acknowledge(self) -> None:
        """Take what was published last for held."""
        assert self.version is not None, "only what was published is answered"
        newest = self.version
        self.base, self.is_new, self.held, self.number = newest, False, None, 0
        self.changes = [entry for entry in self.changes if entry[0] > newest]


class Writer:
    """Makes the frames of one host."""

    def __init__(
        self,
        host: HostId,
        *,
        epoch: int,
        region: Region,
        interest: Interest,
        full: FullSections,
        reads_packed: bool,
    ) -> None:
        """`reads_packed`: as the host's agent said last."""
        self._host = host
        self.epoch = epoch
        self._region = region
        self._interest = interest
        self._full = full
        self._reads_packed = reads_packed

    def keys(self, held: dict[SectionKey, Held]) -> list[SectionKey]:
        """Name what the host must hold and what it says it holds, in the order of delivery."""
        return interests.keys_of({*self._interest.wanted.get(self._host, {}), *held})

    def is_wanted(self, key: SectionKey) -> bool:
        """Must the host hold the section?"""
        return key in self._interest.wanted.get(self._host, ())

    def frame(self, key: SectionKey, line: Line, number: int) -> tuple[bytes, Sent]:
        """Give the update that brings the section to its newest version, and what to note of it."""
        section, base, version = self._section(key, line)
        sent = Sent(key, version, base is None, section.shared is None)
        frame = update_frames.section_frame(section, base, version)
        return self._update(number, (frame,), is_complete=False), sent

    def completion(self, number: int) -> bytes:
        """Give the update that says that everything was sent and answered."""
        return self._update(number, (), is_complete=True)

    def _update(self, number: int, frames: Sequence[SectionFrame], *, is_complete: bool) -> bytes:
        return update_frames.update(
            number, frames, is_complete=is_complete, epoch=self.epoch, reads_packed=self._reads_packed
        )

    def _section(self, key: SectionKey, line: Line) -> tuple[HostSection, Version | None, Version]:
        full = self._full.section(self._host, key)
        if full is None:
            return HostSection(key, None, is_full=True), None, Version(self.epoch, self._region.revision)
        version = self.wanted_version(key)
        if line.is_new and line.held is not None and self._full.digest(self._host, key) == line.held.digest:
            return self._full.confirmation(key), line.held.version, version
        if line.wants_all:
            return full, None, version
        if not line.changes:
            return self._full.confirmation(key), line.base, version
        section = _in_one(key, [section for _, section in line.changes if section is not None])
        return (full, None, version) if self._is_smaller(full, section) else (section, line.base, version)

    def _is_smaller(self, full: HostSection, section: HostSection) -> bool:
        encoded = section.encode()
        assert encoded is not None, "removals are full"
        return len(encoded) >= COMPARED_BYTES and len(full.encode() or b"") <= len(encoded)

    def wanted_version(self, key: SectionKey) -> Version:
        """Give the version that the host must hold."""
        return self._interest.wanted_version(self._host, key, epoch=self.epoch)


def _in_one(key: SectionKey, changes: list[HostSection]) -> HostSection:
    """Give one delta for several. A single one is shared with other hosts, and its bytes are made already."""
    if len(changes) == 1:
        return changes[0]
    values = [change for section in changes if (change := section.change()) is not None]
    return HostSection(key, SharedPart(cumulative.merged(values)), is_full=False)
