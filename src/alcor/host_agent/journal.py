"""The last state an agent accepted, on disk: what it holds on to when it starts and nobody answers.

One file of records: 4 bytes length, 4 bytes CRC-32 (both big endian), and the body of an Update frame as it
came (encoding it again would cost more than writing it). Loading replays them through the inbox, so a record
torn or repeated does no harm. Nothing is synchronised to the disk per update: a power failure may lose some,
but leaves a switch without flows, for which an earlier moment is better than none; the controller sends what
differs. A process's end leaves the switch as it is, and what is kept must not be older than that: so when an
update cannot be kept, all that was kept is dropped. When the file has grown, a snapshot replaces it.
"""

import contextlib
import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import FRAME_MAX, Update
from alcor.host_agent import inbox
from alcor.model import errors
from alcor.model.goal_state import HostState, SectionUpdate

COMPACT_MIN_BYTES = 256 * 1024  # below it a rewrite saves nothing worth its fsync
COMPACT_GROWTH = 3  # times the last snapshot: the cost per appended byte stays constant
_HEADER = struct.Struct(">II")
_encoder = msgspec.msgpack.Encoder()


class Journal(Protocol):
    """Where an agent keeps its state over restarts."""

    def load(self) -> HostState:
        """Give the state kept. Raises Unavailable when it cannot be had."""
        ...

    def append(self, frames: Sequence[bytes]) -> None:
        """Keep updates, as their frame bodies. Raises Unavailable; then nothing is kept, until `compact`."""
        ...

    @property
    def wants_compaction(self) -> bool:
        """Has it grown so much that `compact` pays, or is something not kept?"""
        ...

    def compact(self, state: HostState, is_current: Callable[[], bool]) -> None:
        """Replace all by the state. Blocks on the disk. Raises Unavailable; then all is as before.

        May run in a thread beside the others. `is_current`: asked at the last moment; if not, nothing is done.
        """
        ...

    def forget(self) -> None:
        """Keep nothing any longer, from now on."""
        ...

    def close(self) -> None: ...


class NoJournal:
    """Keeps nothing: for hosts that live no longer than their process."""

    wants_compaction = False

    def load(self) -> HostState:
        return HostState()

    def append(self, frames: Sequence[bytes]) -> None:
        pass

    def compact(self, state: HostState, is_current: Callable[[], bool]) -> None:
        pass

    def forget(self) -> None:
        pass

    def close(self) -> None:
        pass


class FileJournal:
    """The journal in a directory of its own. Owner of the open file and of the directory's lock.

    `_alone`: held by whoever changes the file or says which it is, since `compact` runs in a thread.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "journal"
        self._next = directory / "journal.next"
        self._lock_path = directory / "lock"
        self._alone = threading.Lock()
        self._lock = -1
        self._file = -1
        self._size = 0
        self._snapshot_size = 0
        self._unkept = 0  # appends that failed, one after another
        self._is_incomplete = False  # and a snapshot is due

    def load(self) -> HostState:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with open(self._file, "rb", closefd=False) as reader:
                state, self._size = replay(reader.read())
            os.ftruncate(self._file, self._size)  # what follows a torn record could never be read
        except OSError as error:
            self.close()
            raise _unavailable(self._path, error) from error
        return state

    def append(self, frames: Sequence[bytes]) -> None:
        data = b"".join(map(record, frames))
        with self._alone:
            self._append(data)

    def _append(self, data: bytes) -> None:
        try:
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError("the disk took a part only")
        except OSError as error:
            self._forget()
            self._unkept += 1
            # Ever more rarely while the disk stays full: each attempt costs all that is held.
            self._is_incomplete = self._unkept & (self._unkept - 1) == 0
            raise _unavailable(self._path, error) from error
        self._size += written
        if self._unkept:
            self._unkept, self._is_incomplete = 0, True

    @property
    def wants_compaction(self) -> bool:
        return self._is_incomplete or self._size > max(COMPACT_MIN_BYTES, COMPACT_GROWTH * self._snapshot_size)

    def compact(self, state: HostState, is_current: Callable[[], bool]) -> None:
        data = snapshot(state)
        with self._alone:
            if self._file >= 0 and is_current():
                self._replace(data)

    def forget(self) -> None:
        with self._alone:
            self._forget()

    def close(self) -> None:
        with self._alone:
            for descriptor in (self._file, self._lock):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._lock = -1

    def _replace(self, data: bytes) -> None:
        file = -1
        self._is_incomplete = False
        try:
            file = os.open(self._next, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            with open(file, "wb", closefd=False) as writer:
                writer.write(data)
            os.fsync(file)
            os.rename(self._next, self._path)
        except OSError as error:
            if file >= 0:
                os.close(file)
            self._snapshot_size = self._size  # try again only after as much has been added
            raise _unavailable(self._path, error) from error
        os.close(self._file)
        self._file = file
        self._size = self._snapshot_size = len(data)
        self._unkept = 0

    def _forget(self) -> None:
        # A file that does not even let itself be shortened is on a broken disk: the next start cannot open it.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            self._size = self._snapshot_size = 0

    def _take_lock(self) -> None:
        """Make sure that no other agent works for this host: two would undo each other's work."""
        self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError("another agent is using it") from error


def replay(data: bytes) -> tuple[HostState, int]:
    """Make the state from a journal's bytes, up to the first record that is not whole.

    Gives the state and the length of what could be read. Never raises, whatever the bytes are.
    """
    state = HostState()
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, offset)
        end = offset + _HEADER.size + length
        if length > FRAME_MAX or end > len(data):
            break
        body = data[offset + _HEADER.size : end]
        if zlib.crc32(body) != checksum:
            break
        try:
            update = packed_ids.read_update(body)
        except msgspec.DecodeError:  # written by another version of Alcor: the controller sends it again
            break
        for section_update in update.sections:
            inbox.receive(state, section_update)
        offset = end
    return state, offset


def snapshot(state: HostState) -> bytes:
    """Make the records from which `replay` gives this state: one a section, then the tombstones."""
    gone = [
        SectionUpdate(key, None, version, None)
        for key, version in sorted(state.versions.items())
        if key not in state.sections
    ]
    updates = [Update(0, (update,)) for update in state.full_updates()]
    return b"".join(record(_encoder.encode(update)) for update in (*updates, Update(0, tuple(gone))))


def record(frame: bytes) -> bytes:
    """Make the record of one frame body."""
    return _HEADER.pack(len(frame), zlib.crc32(frame)) + frame


def _unavailable(path: Path, error: OSError) -> errors.Unavailable:
    return errors.Unavailable(f"the journal {path} cannot be used: {error}", retry_after_s=1.0)
