"""The bytes of updates, put together around changes that are encoded already: once for all who share them."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from alcor.contracts import packed_ids
from alcor.control_plane.compiler.sections import HostSection
from alcor.model.goal_state import SectionKey
from alcor.model.version import Version

PACKED_MAX = 1024  # bytes of a section's change as text: of a few entries
PACKED_SECTIONS_MAX = 8  # in one update: more are a synchronisation

_encoder = msgspec.msgpack.Encoder()
_NIL = msgspec.Raw(_encoder.encode(None))


class SectionFrame(msgspec.Struct, frozen=True, gc=False):
    """A section's part of an update. `text`: its change, of `size` bytes; None for a removal."""

    section: HostSection
    base: Version | None
    version: Version
    text: bytes | None
    size: int


# The fields of a `SectionUpdate`: a change may be told to ten thousand hosts, and a tuple is made the fastest.
_Section: TypeAlias = tuple[SectionKey | msgspec.Raw, Version | None, Version, msgspec.Raw]


class _Update(msgspec.Struct, frozen=True, array_like=True, tag="update"):
    """The bytes of an `Update`."""

    number: int
    sections: list[_Section]
    complete: bool
    epoch: int


class _PackedUpdate(_Update, frozen=True, array_like=True, tag=packed_ids.TAG):
    """The bytes of one whose ids are packed."""


def section_frame(section: HostSection, base: Version | None, version: Version) -> SectionFrame:
    """Give a section's part of an update."""
    text = section.encode()
    return SectionFrame(section, base, version, text, 0 if text is None else len(text))


def update(
    number: int, frames: Sequence[SectionFrame], *, is_complete: bool, epoch: int, reads_packed: bool
) -> bytes:
    """Give the bytes of an update. `epoch` 0: of the stream's own controller.

    Ids are packed in what is small and the same for all hosts concerned.
    """
    if reads_packed and len(frames) <= PACKED_SECTIONS_MAX and all(map(_can_be_packed, frames)):
        return _encoder.encode(_PackedUpdate(number, list(map(_packed, frames)), is_complete, epoch))
    return _encoder.encode(_Update(number, list(map(_as_text, frames)), is_complete, epoch))


def _can_be_packed(frame: SectionFrame) -> bool:
    return frame.size <= PACKED_MAX and not frame.section.has_own


def _packed(frame: SectionFrame) -> _Section:
    change = frame.section.packed()
    key = packed_ids.pack_key(frame.section.key)
    return key, frame.base, frame.version, _NIL if change is None else change


def _as_text(frame: SectionFrame) -> _Section:
    change = _NIL if frame.text is None else msgspec.Raw(frame.text)
    return frame.section.key, frame.base, frame.version, change
