"""A host's disk under simulation, with the journal on it: what a process's end and a power failure leave of it.

append   -> the file, as every process sees it; written back to the medium some time later, if at all
compact  -> written back whole, then renamed: after a power failure either file may be found
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence

from alcor.host_agent import journal
from alcor.model import errors
from alcor.model.goal_state import HostState

_COMPACT_BYTES = 16 * 1024  # early, so that a short run compacts often
_FULL = 0.003  # chance of an append for which there is no room
_RENAMING_LOST = 0.3
_HALF_WRITTEN = 0.3  # chance that a process is ended within a write
_NOISE_MAX_BYTES = 64


class Disk:
    """Implements `Journal`; owner of the bytes."""

    def __init__(self, chance: random.Random) -> None:
        self.faulty = True
        self.counts: Counter[str] = Counter()
        self._chance = chance
        self._data = b""
        self._durable = 0  # so many of its bytes are on the medium
        self._former: tuple[bytes, int] | None = None  # the file that the last renaming replaced, and its own
        self._snapshot_size = 0
        self._is_incomplete = False

    # contract

    def load(self) -> HostState:
        state, size = journal.replay(self._data)
        self._data = self._data[:size]
        self._durable = min(self._durable, size)
        return state

    def append(self, frames: Sequence[bytes]) -> None:
        if self.faulty and self._chance.random() < _FULL:
            self.counts["full_disks"] += 1
            self.forget()
            self._is_incomplete = True
            raise errors.Unavailable("the disk is full", retry_after_s=1)
        self._data += b"".join(map(journal.record, frames))

    @property
    def wants_compaction(self) -> bool:
        return self._is_incomplete or len(self._data) > max(_COMPACT_BYTES, 3 * self._snapshot_size)

    def compact(self, state: HostState, is_current: Callable[[], bool]) -> None:
        if not is_current():
            return
        self._former = self._data, self._durable
        self._data = journal.snapshot(state)
        self._durable = self._snapshot_size = len(self._data)
        self._is_incomplete = False

    def forget(self) -> None:
        self._data, self._durable, self._snapshot_size = b"", 0, 0

    def close(self) -> None:
        pass

    # what befalls it

    def wipe(self) -> None:
        """Lose all."""
        self.forget()
        self._former = None

    def end_writer(self) -> None:
        """End the process that writes to it: perhaps when half of a record is written, and not in force yet."""
        if self.faulty and self._data and self._chance.random() < _HALF_WRITTEN:
            self.counts["torn_records"] += 1
            record = journal.record(self._data[-_NOISE_MAX_BYTES:])
            self._data += record[: self._chance.randrange(1, len(record))]

    def lose_power(self) -> None:
        """Lose what is not on the medium, from any byte on; zeros or anything else may be in its place."""
        self.counts["power_losses"] += 1
        data, durable = self._data, self._durable
        if self._former is not None and self._chance.random() < _RENAMING_LOST:
            data, durable = self._former
        kept = self._chance.randrange(durable, len(data) + 1)
        lost = min(len(data) - kept, _NOISE_MAX_BYTES)
        rest = self._chance.choice((b"", bytes(lost), self._chance.randbytes(lost)))
        self._data = data[:kept] + rest
        self._durable, self._former = len(self._data), None
