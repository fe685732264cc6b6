"""What each host was sent and has acknowledged, and receipts of the newest revisions. Pure: times are given.

A host *has* revision R when every section that R touched on it is acknowledged at R or later; then it counts as
superseded if only a later version was acknowledged.
"""

import bisect
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from alcor.contracts.agent_channel import Acknowledgement, Outcome, SectionResult
from alcor.contracts.convergence import HostProgress, HostReceipt, Receipt
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.path_choice import Choice
from alcor.control_plane.delivery.receipts import PARTS_MAX, RECEIPTS_MAX, Receipts, ReceiptState
from alcor.model.goal_state import SectionKey
from alcor.model.held_mark import HeldMark
from alcor.model.ids import HostId
from alcor.model.version import Version


class Sent(msgspec.Struct, frozen=True):
    """One section of an update, as it was sent."""

    key: SectionKey
    version: Version
    is_full: bool
    is_removal: bool = False


class Progress(msgspec.Struct):
    """What an acknowledgement led to."""

    completed: list[int] = []  # revisions that every host concerned has now
    send_all: list[SectionKey] = []  # sections the agent wants in full
    refused: list[SectionResult] = []


class HostLedger:
    """One host's account. What was sent and acknowledged counts for one stream only."""

    __slots__ = (
        "acknowledged",
        "alive",
        "choice",
        "mark",
        "outstanding",
        "refused",
        "removals",
        "sent",
        "sent_in_full",
        "waiting",
    )

    def __init__(self) -> None:
        self.alive = False
        self.choice = path_choice.UNDECIDED  # of the path that its session is over
        self.sent: dict[SectionKey, Version] = {}
        self.sent_in_full: dict[SectionKey, int] = {}  # number of the update that last carried it in full
        self.removals: dict[SectionKey, Version] = {}  # of those in `sent`, what takes a section away
        self.acknowledged: dict[SectionKey, int] = {}  # revision in force
        self.refused: dict[SectionKey, tuple[int, str]] = {}  # revision, reason
        self.outstanding: dict[int, tuple[Sent, ...]] = {}
        self.mark = HeldMark()  # of what the agent said that it holds
        self.waiting: dict[SectionKey, list[int]] = {}  # revisions not acknowledged, ascending; mostly one

    def reset(self, *, alive: bool, choice: Choice = path_choice.UNDECIDED) -> None:
        """Forget what only a stream can know."""
        self.alive = alive
        self.choice = choice
        for held in (self.sent, self.sent_in_full, self.removals, self.acknowledged, self.refused):
            held.clear()
        self.outstanding.clear()
        self.mark.clear()


class Ledger:
    """Owner of all accounts and receipts."""

    def __init__(self, *, epoch: int, receipts_max: int = RECEIPTS_MAX, parts_max: int = PARTS_MAX) -> None:
        self._epoch = epoch
        self._hosts: dict[HostId, HostLedger] = {}
        self._receipts = Receipts(receipts_max=receipts_max, parts_max=parts_max)

    def account(self, host_id: HostId) -> HostLedger:
        """Give the host's account, opened when there was none."""
        account = self._hosts.get(host_id)
        if account is None:
            account = self._hosts[host_id] = HostLedger()
        return account

    def connected(self, host_id: HostId, choice: Choice) -> HostLedger:
        """Begin a stream, or a session by another path: nothing is known to be in force."""
        account = self.account(host_id)
        account.reset(alive=True, choice=choice)
        return account

    def disconnected(self, host_id: HostId) -> None:
        """End the stream: nothing is known to be in force any longer."""
        account = self.account(host_id)
        account.reset(alive=False)
        if not account.waiting:
            del self._hosts[host_id]

    def concern(
        self,
        revision: int,
        committed_at_us: int,
        hosts: Mapping[HostId, Sequence[SectionKey]],
        choices: Mapping[HostId, Choice],
    ) -> None:
        """Open the receipt of a revision: which sections it touches on which host. O(those sections).

        `choices`: by which path each host is told of it.
        """
        for host_id, keys in hosts.items():
            waiting = self.account(host_id).waiting
            for key in keys:
                line = waiting.get(key)
                if line is None:
                    waiting[key] = [revision]
                else:
                    line.append(revision)
        for forgotten in self._receipts.open(revision, committed_at_us, hosts, choices):
            self._forget(forgotten)

    def sent(self, host_id: HostId, number: int, sections: Iterable[Sent]) -> None:
        """Note an update under way."""
        account = self._hosts[host_id]
        noted = account.outstanding[number] = tuple(sections)
        for section in noted:
            account.sent[section.key] = section.version
            if section.is_full:
                account.sent_in_full[section.key] = number
            if section.is_removal:
                account.removals[section.key] = section.version
            else:
                account.removals.pop(section.key, None)

    def acknowledge(self, host_id: HostId, answer: Acknowledgement, *, now_us: int) -> Progress:
        """Take an agent's answer. Answers of another epoch, repeated or unknown ones change nothing wrongly."""
        account = self._hosts[host_id]
        progress = Progress()
        account.outstanding.pop(answer.number, None)
        for result in answer.results:
            if result.version.epoch != self._epoch or result.key not in account.sent:
                continue
            if result.version > account.sent[result.key]:
                continue  # nobody sent that: a peer that invents versions is not believed
            is_last = result.version == account.sent[result.key]
            is_removal = result.version == account.removals.get(result.key)
            if result.outcome is not Outcome.SEND_ALL and is_last:
                if is_removal:
                    account.mark.drop(result.key)
                else:
                    account.mark.hold(result.key, result.version)
            match result.outcome:
                case Outcome.IN_FORCE:
                    self._in_force(host_id, account, result, progress, now_us=now_us)
                    if is_last and is_removal:
                        for known in (
                            account.acknowledged,
                            account.sent,
                            account.sent_in_full,
                            account.removals,
                        ):
                            known.pop(result.key, None)
                case Outcome.SEND_ALL:
                    if account.sent_in_full.get(result.key, 0) <= answer.number or not answer.number:
                        progress.send_all.append(result.key)
                case Outcome.REFUSED | Outcome.UNSPECIFIED:
                    self._refuse(host_id, account, result)
                    progress.refused.append(result)
        return progress

    def settle(self, host_id: HostId, key: SectionKey, revision: int, *, now_us: int) -> list[int]:
        """Count a section as had by the host at a revision. Gives the revisions that are complete now."""
        completed: list[int] = []
        account = self.account(host_id)
        line = account.waiting.get(key)
        if line is None:
            return completed
        had = bisect.bisect_right(line, revision)
        for waited in line[:had]:
            receipt = self._state(waited)
            part = receipt.parts[host_id]
            part.remaining -= 1
            part.is_superseded |= waited < revision
            if part.remaining == 0:
                part.done_at_us = now_us
                part.choice = _taken(part.choice, account)
                receipt.open_parts -= 1
                if receipt.open_parts == 0:
                    self._receipts.complete(receipt)
                    completed.append(waited)
        del line[:had]
        if not line:
            del account.waiting[key]
        return completed

    def is_complete(self, revision: int) -> bool | None:
        """Tell whether every host concerned has the revision; None when its receipt is not known."""
        receipt = self._receipts.get(revision)
        return None if receipt is None else receipt.open_parts == 0

    def await_completion(self, revision: int, *, begins: bool) -> None:
        """Hear who begins or ends to wait for a revision: until then its receipt is kept whole."""
        state = self._receipts.get(revision)
        if state is not None:
            state.waiting += 1 if begins else -1

    def receipt(self, revision: int) -> Receipt | None:
        """Give the receipt; hosts by name."""
        state = self._receipts.get(revision)
        if state is None:
            return None
        hosts = tuple(self._host_receipt(state, host_id) for host_id in sorted(state.parts))
        return Receipt(revision, state.committed_at_us, state.open_parts == 0, hosts, state.omitted())

    @property
    def parts(self) -> int:
        """How many parts of hosts all receipts list."""
        return self._receipts.parts

    def _state(self, revision: int) -> ReceiptState:
        state = self._receipts.get(revision)
        assert state is not None, "what is waited for on a host has a receipt"
        return state

    def _host_receipt(self, receipt: ReceiptState, host_id: HostId) -> HostReceipt:
        part = receipt.parts[host_id]
        if part.done_at_us is not None:
            return receipt.done(host_id, part)
        account = self._hosts.get(host_id)
        if account is None or not account.alive:
            choice = path_choice.while_unheard(part.choice)
            reason = "the host's agent is not connected"
            return HostReceipt(host_id, "unreachable", None, reason, choice.path, choice.reason)
        choice = _taken(part.choice, account)
        state: HostProgress = "refused" if part.refusal else "pending"
        return HostReceipt(host_id, state, None, part.refusal, choice.path, choice.reason)

    def _in_force(
        self,
        host_id: HostId,
        account: HostLedger,
        result: SectionResult,
        progress: Progress,
        *,
        now_us: int,
    ) -> None:
        revision = result.version.revision
        if revision >= account.acknowledged.get(result.key, -1):
            account.acknowledged[result.key] = revision
        refused = account.refused.get(result.key)
        if refused is not None and refused[0] <= revision:
            del account.refused[result.key]
        progress.completed += self.settle(host_id, result.key, revision, now_us=now_us)

    def _refuse(self, host_id: HostId, account: HostLedger, result: SectionResult) -> None:
        reason = result.reason or "the data plane refused it without saying why"
        account.refused[result.key] = (result.version.revision, reason)
        account.acknowledged.pop(result.key, None)
        for revision in account.waiting.get(result.key, ()):
            if revision > result.version.revision:
                break
            self._state(revision).parts[host_id].refusal = reason

    def _forget(self, state: ReceiptState) -> None:
        """Wait no longer on any host for a revision whose receipt is forgotten."""
        for host_id, part in state.parts.items():
            if part.done_at_us is not None:
                continue
            account = self._hosts[host_id]
            for key in part.keys:
                line = account.waiting.get(key)
                if (
                    line and state.revision in line
                ):  # mostly the first: an older one is kept for who waits for it
                    line.remove(state.revision)
                    if not line:
                        del account.waiting[key]
            if not account.alive and not account.waiting:
                del self._hosts[host_id]


def _taken(decided: Choice, account: HostLedger) -> Choice:
    """Give the choice that counts: the session's, when another was decided for the change, or none."""
    is_same = decided.path == account.choice.path and decided != path_choice.KEPT
    return decided if is_same else account.choice
