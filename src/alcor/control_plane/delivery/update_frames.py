"""The bytes of updates, put together around changes that are encoded already: once for all who share them."""

from collections.abc import Sequence

import msgspec

from alcor.control_plane.compiler.sections import HostSection
from alcor.model.goal_state import SectionKey
from alcor.model.version import Version

_encoder = msgspec.msgpack.Encoder()
_NIL = msgspec.Raw(_encoder.encode(None))


class SectionFrame(msgspec.Struct, frozen=True, array_like=True):
    """The bytes of a `SectionUpdate`."""

    key: SectionKey
    base: Version | None
    version: Version
    change: msgspec.Raw

    @property
    def size(self) -> int:
        """How many bytes its change has."""
        return len(memoryview(self.change))


class _UpdateFrame(msgspec.Struct, frozen=True, array_like=True, tag="update"):
    """The bytes of an `Update`."""

    number: int
    sections: Sequence[SectionFrame]
    complete: bool
    epoch: int


def section_frame(section: HostSection, base: Version | None, version: Version) -> SectionFrame:
    """Give a section's part of an update."""
    encoded = section.encode()
    return SectionFrame(section.key, base, version, _NIL if encoded is None else msgspec.Raw(encoded))


def update(number: int, sections: Sequence[SectionFrame], *, is_complete: bool, epoch: int) -> bytes:
    """Give the bytes of an update. `epoch` 0: of the stream's own controller."""
    return _encoder.encode(_UpdateFrame(number, sections, is_complete, epoch))
