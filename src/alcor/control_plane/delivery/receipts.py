"""Receipts of the newest revisions, within bounds: which host is how far with each. Pure.

open -> each host's part, until it is done -> complete
             |                                   |
             '-- too many parts in all: those that are done are counted instead of listed, of complete receipts
                 first; then the oldest open receipts are forgotten. Never one that somebody waits for.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

import msgspec

from alcor.contracts.convergence import HostProgress, HostReceipt, Omitted, PathName
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.path_choice import Choice
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId

RECEIPTS_MAX = 10_000
PARTS_MAX = 1_000_000  # of all receipts: one of a revision that concerns 2,000 hosts has as many parts
LISTED_MAX = 10  # of the parts that are counted, those that took longest stay


class Part(msgspec.Struct, gc=False):
    """One host's part in a revision."""

    keys: tuple[SectionKey, ...]
    remaining: int
    is_superseded: bool = False
    done_at_us: int | None = None
    refusal: str = ""
    choice: Choice = path_choice.UNDECIDED  # of its path; shared by all alike


class ReceiptState(msgspec.Struct):
    """One receipt. `counted`: parts done that are listed no longer, by what they came to."""

    revision: int
    committed_at_us: int
    parts: dict[HostId, Part]
    open_parts: int
    counted: Counter[tuple[bool, PathName]] | None = None  # superseded?, path
    waiting: int = 0  # callers that wait until it is complete

    def done(self, host_id: HostId, part: Part) -> HostReceipt:
        """Tell of a part that is done."""
        assert part.done_at_us is not None, "it is not done"
        took_ms = max(0, part.done_at_us - self.committed_at_us) / 1000
        state: HostProgress = "superseded" if part.is_superseded else "in_force"
        return HostReceipt(host_id, state, took_ms, path=part.choice.path, path_reason=part.choice.reason)

    def omitted(self) -> Omitted | None:
        """Tell what is not listed; None when everything is."""
        if self.counted is None:
            return None
        paths: Counter[PathName] = Counter()
        for (_, path), count in self.counted.items():
            paths[path] += count
        superseded = sum(count for (is_superseded, _), count in self.counted.items() if is_superseded)
        return Omitted(paths.total(), paths.total() - superseded, superseded, dict(sorted(paths.items())))


class Receipts:
    """Owner of the receipts. `parts`: how many there are in all."""

    def __init__(self, *, receipts_max: int, parts_max: int) -> None:
        self._receipts_max = receipts_max
        self._parts_max = parts_max
        # In order: of a plain dict that loses its first entries again and again, the first is slow to find.
        self._receipts: OrderedDict[int, ReceiptState] = OrderedDict()
        # Those whose parts were not counted yet since they were opened, or were completed; oldest first.
        self._open: OrderedDict[int, None] = OrderedDict()
        self._complete: OrderedDict[int, None] = OrderedDict()
        self.parts = 0

    def get(self, revision: int) -> ReceiptState | None:
        """Give a receipt; None when it is unknown or kept no longer."""
        return self._receipts.get(revision)

    def open(
        self,
        revision: int,
        committed_at_us: int,
        hosts: Mapping[HostId, Sequence[SectionKey]],
        choices: Mapping[HostId, Choice],
    ) -> list[ReceiptState]:
        """Open a receipt. Gives those that are forgotten for it."""
        alike: dict[tuple[SectionKey, ...], tuple[SectionKey, ...]] = {}  # most hosts are told the same
        parts = {
            host_id: Part(
                alike.setdefault(tuple(keys), tuple(keys)),
                len(keys),
                choice=choices.get(host_id, path_choice.UNDECIDED),
            )
            for host_id, keys in hosts.items()
        }
        self._receipts[revision] = ReceiptState(revision, committed_at_us, parts, len(parts))
        (self._open if parts else self._complete)[revision] = None
        self.parts += len(parts)
        return self._keep_within_bounds(revision)

    def complete(self, state: ReceiptState) -> None:
        """Hear that every part of a receipt is done."""
        self._open.pop(state.revision, None)
        self._complete[state.revision] = None

    def _keep_within_bounds(self, newest: int) -> list[ReceiptState]:
        forgotten = []
        for among in (self._complete, self._open):
            while self.parts > self._parts_max and (revision := self._oldest(among, newest)) is not None:
                del among[revision]
                self._count(self._receipts[revision])
        while self.parts > self._parts_max or len(self._receipts) > self._receipts_max:
            oldest = self._oldest(self._receipts, newest)
            if oldest is None:
                break
            forgotten.append(self._forget(oldest))
        return forgotten

    def _oldest(self, among: Mapping[int, object], newest: int) -> int | None:
        """Give the oldest that nobody waits for. O(1), and O(those that somebody waits for)."""
        return next(
            (each for each in among if each != newest and not self._receipts[each].waiting),
            None,
        )

    def _count(self, state: ReceiptState) -> None:
        """Count parts that are done instead of listing them, but for those that took longest. O(parts)."""
        done = [host_id for host_id, part in state.parts.items() if part.done_at_us is not None]
        done.sort(key=lambda host_id: state.parts[host_id].done_at_us or 0, reverse=True)
        counted = state.counted if state.counted is not None else Counter()
        for host_id in done[LISTED_MAX:]:
            part = state.parts.pop(host_id)
            counted[part.is_superseded, part.choice.path] += 1
            self.parts -= 1
        if counted:
            state.counted = counted
            state.parts = dict(state.parts)  # a dict that shrinks keeps its room

    def _forget(self, revision: int) -> ReceiptState:
        state = self._receipts.pop(revision)
        self._open.pop(revision, None)
        self._complete.pop(revision, None)
        self.parts -= len(state.parts)
        return state
