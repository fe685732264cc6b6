"""Keeps the audit trail: takes it over from the change log, and collects what committed nothing.

What was committed cannot be lost: who asked for it is in the change log, by the same commit. What was refused
is written in batches, so a crash may lose the last half second of it (docs/decisions/0018-audit.md).
"""

import asyncio

import msgspec

from alcor.contracts.audit import Asked, AuditLog, Entry
from alcor.model import errors
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

FLUSH_S = 0.5
FOLD_MAX = 200  # changes in one transaction
FOLDS_MAX = 50  # before a question is answered, in case others commit without end
KINDS_OF_REFUSAL_MAX = 1_000  # that differ, between two flushes; more are counted and not kept
TRIM_S = 60.0
TRIM_SLICE = 1_000
_DAY_US = 24 * 3600 * 1_000_000


class AuditTrail:
    """Owner of the refusals that wait to be written."""

    def __init__(
        self, kept: AuditLog, clock: Clock, log: EventLog, *, days: int, failure: Failure | None = None
    ) -> None:
        self._kept = kept
        self._clock = clock
        self._log = log
        self._days = days
        self._waiting: dict[tuple[object, ...], Entry] = {}
        self._lost = 0
        self._supervisor = Supervisor(log, failure=failure)

    def start(self) -> None:
        """Begin to write."""
        self._supervisor.start("audit", self._run())

    async def close(self) -> None:
        """Write what waits, and end."""
        await self._supervisor.close()
        try:
            await self._settle()
        except errors.Unavailable as error:
            self._log.error("audit_unwritten", reason=error.message, entries=len(self._waiting))

    def now_us(self) -> int:
        """Give the time, as entries have it."""
        return self._clock.now_us()

    def note(self, entry: Entry) -> None:
        """Remember what committed nothing. Alike ones of one moment become one entry. O(1)."""
        key = (entry.actor, entry.kind, entry.status, entry.reason)
        known = self._waiting.get(key)
        if known is not None:
            self._waiting[key] = msgspec.structs.replace(known, repeats=known.repeats + 1)
        elif len(self._waiting) < KINDS_OF_REFUSAL_MAX:
            self._waiting[key] = entry
        else:
            self._lost += 1

    async def entries(self, asked: Asked) -> list[Entry]:
        """Read, with everything that was answered before."""
        await self._settle()
        return await self._kept.entries(asked)

    async def trim(self) -> int:
        """Forget what is older than the days kept, slice by slice; give how much."""
        before = max(0, self._clock.now_us() - self._days * _DAY_US)
        total = 0
        while (count := await self._kept.trim(before=before, limit=TRIM_SLICE)) > 0:
            total += count
            await asyncio.sleep(0)
        return total

    async def _settle(self) -> None:
        for _ in range(FOLDS_MAX):
            if await self._kept.fold(limit=FOLD_MAX) < FOLD_MAX:
                break
        if self._lost:
            self._log.warning("audit_overflow", entries=self._lost)
            self._lost = 0
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                await self._kept.add(list(waiting.values()))
            except errors.Unavailable:
                self._waiting = waiting | self._waiting
                raise

    async def _run(self) -> None:
        trimmed_s = self._clock.monotonic_s()
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self._settle()
                if self._clock.monotonic_s() - trimmed_s >= TRIM_S:
                    trimmed_s = self._clock.monotonic_s()
                    await self.trim()
            except errors.Unavailable as error:
                self._log.warning("audit_waits", reason=error.message)
