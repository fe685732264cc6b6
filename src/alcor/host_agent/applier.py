"""Brings accepted updates into force: inbox, journal and data plane in one place, one call at a time."""

import asyncio
import math
from collections.abc import Awaitable, Iterable, Sequence

import msgspec

from alcor.contracts.agent_channel import Acknowledgement, Held, Outcome, SectionResult, Update
from alcor.contracts.data_plane import DataPlane, Refusal
from alcor.host_agent import inbox, reporter
from alcor.host_agent.digests import Digests
from alcor.host_agent.inbox import Decision
from alcor.host_agent.journal import Journal
from alcor.host_agent.settings import AgentTiming
from alcor.model import errors
from alcor.model.goal_state import HostState, SectionKey, SectionUpdate
from alcor.model.held_mark import HeldMark
from alcor.model.version import Version
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog


class Received(msgspec.Struct, frozen=True, gc=False):
    """An update with its bytes."""

    update: Update
    frame: bytes


class Applier:
    """Owner of the host's state, of what the data plane refused, and of the journal."""

    def __init__(
        self, data_plane: DataPlane, journal: Journal, clock: Clock, log: EventLog, timing: AgentTiming
    ) -> None:
        self._data_plane = data_plane
        self._journal = journal
        self._clock = clock
        self._log = log
        self._timing = timing
        self._refused: dict[SectionKey, str] = {}
        # Put in force, or taken away, while the data plane held more, and not told.
        self._unproven: dict[SectionKey, Version] = {}
        self._tried_at_s = -math.inf
        self._knows_all = False  # a synchronisation with the controller was completed in this process
        self._digests = Digests()
        self._mark = HeldMark()
        self.state = HostState()

    def load(self) -> None:
        """Take up the state of the journal. Raises Unavailable."""
        self.state = self._journal.load()
        self._mark_again(self.state.sections)
        self._log.info("journal_loaded", sections=len(self.state.sections))

    def forget(self) -> None:
        """Forget everything: another wrote to the data plane meanwhile, and what we hold may be older.

        In the journal before anything else is done: a restart must not bring it back. May be called while
        updates are put in force, or the journal is rewritten.
        """
        self.state = HostState()
        self._digests.clear()
        self._mark.clear()
        self._refused = {}
        self._unproven = {}
        self._knows_all = False
        self._journal.forget()

    @property
    def refused(self) -> int:
        """How many sections the data plane refuses."""
        return len(self._refused)

    def knows(self, keys: Iterable[SectionKey]) -> bool:
        """Is known which version of each was held last, even if it was removed?"""
        return all(key in self.state.versions for key in keys)

    @property
    def held_mark(self) -> bytes:
        """Which sections are held in which versions, in eight bytes."""
        return self._mark.value

    def held(self) -> tuple[Held, ...]:
        """Name the sections held, with what is in force of them."""
        return reporter.held(self.state, self._refused, self._digests)

    def held_next(self, after: str) -> Held | None:
        """Name the section that follows a key, from the first one again at the end. O(sections held)."""
        sections = self.state.sections
        key = min((key for key in sections if key > after), default=None) or min(sections, default=None)
        if key is None:
            return None
        digest = b"" if key in self._refused else self._digests.of(key, sections[key])
        return Held(key, self.state.versions[key], digest)

    async def synchronise(self) -> Acknowledgement | None:
        """Make the data plane hold the state, removing only when the state is known to be complete (law 6).

        Gives what changed of the refusals. Raises Unavailable.
        """
        before = self._refused
        refusals = await self._answer(self._data_plane.synchronise(self.state, remove=self._knows_all))
        self._note_refusals(refusals, tried=None)
        return self._proven_news(reporter.news_of_refused(self.state, before, self._refused))

    async def apply(self, batch: Sequence[Received]) -> list[Acknowledgement]:
        """Put updates in force together, and answer each of them and for what was refused before.

        Raises Unavailable when the data plane does not answer: then nothing is acknowledged.
        """
        before, state = self._refused, self.state
        decisions: list[list[Decision]] = []
        to_apply: list[SectionUpdate] = []
        to_keep: list[bytes] = []
        moved: list[SectionKey] = []
        for one in batch:
            made = [inbox.receive(self.state, section) for section in one.update.sections]
            decisions.append(made)
            if Decision.APPLY in made or Decision.CONFIRM in made:
                to_keep.append(one.frame)
            for section, decision in zip(one.update.sections, made, strict=True):
                if decision is Decision.APPLY:
                    to_apply.append(section)
                    moved.append(section.key)
                elif decision is Decision.CONFIRM:
                    moved.append(section.key)
        self._digests.changed(section.key for section in to_apply)
        self._mark_again(moved)
        self._keep(to_keep)
        if not self._knows_all and any(one.update.complete for one in batch):
            refusals = await self._answer(self._data_plane.synchronise(self.state, remove=True))
            self._note_refusals(refusals, tried=None)
            self._knows_all = self.state is state  # else it was forgotten meanwhile
        else:
            await self._apply_sections(to_apply)
        answers = [
            Acknowledgement(
                one.update.number, self._proven(reporter.results(one.update.sections, made, self._refused))
            )
            for one, made in zip(batch, decisions, strict=True)
        ]
        if before or self._refused:
            answered = {section.key for one in batch for section in one.update.sections}
            news = self._proven_news(
                reporter.news_of_refused(
                    self.state, _without(before, answered), _without(self._refused, answered)
                )
            )
            answers += [news] if news else []
        return answers

    async def retry_refused(self) -> Acknowledgement | None:
        """Try again what was refused. Gives what is new about it. Raises Unavailable."""
        before = self._refused
        self._tried_at_s = -math.inf
        await self._apply_sections([])
        return self._proven_news(reporter.news_of_refused(self.state, before, self._refused))

    async def compact(self) -> None:
        """Rewrite the journal when it has grown. Away from the loop: it waits for the disk."""
        if not self._journal.wants_compaction:
            return
        state = self.state
        inbox.forget_tombstones(state)
        try:
            await asyncio.to_thread(self._journal.compact, state, lambda: self.state is state)
        except errors.Unavailable as error:
            self._log.warning("journal_not_compacted", reason=error.message)

    def _proven(self, results: tuple[SectionResult, ...]) -> tuple[SectionResult, ...]:
        """Hold back what is in force while the data plane may do more than that; tell it when it does not.

        What a former writer left there is removed when the state is known to be complete. Until then a section
        without a rule would be in force on paper only (law 1), and so would be that there is none.
        """
        if self._data_plane.holds_more and not self._knows_all:
            held_back = [each for each in results if each.outcome is Outcome.IN_FORCE]
            known = self.state.versions  # of nothing, when all was forgotten meanwhile
            self._unproven.update({each.key: each.version for each in held_back if each.key in known})
            return tuple(each for each in results if each.outcome is not Outcome.IN_FORCE)
        told = {each.key for each in results}
        unproven, self._unproven = self._unproven, {}
        proven = unproven.keys() - self._refused.keys() - told
        return results + tuple(
            SectionResult(key, self.state.versions.get(key, unproven[key]), Outcome.IN_FORCE)
            for key in sorted(proven)
        )

    def _proven_news(self, news: Acknowledgement | None) -> Acknowledgement | None:
        results = self._proven(news.results if news is not None else ())
        return Acknowledgement(0, results) if results else None

    def _mark_again(self, keys: Iterable[SectionKey]) -> None:
        for key in keys:
            if key in self.state.sections:
                self._mark.hold(key, self.state.versions[key])
            else:
                self._mark.drop(key)

    async def _answer(self, call: Awaitable[Sequence[Refusal]]) -> Sequence[Refusal]:
        """Wait for the data plane, but not for ever."""
        if self._data_plane.answers_at_once:
            return await call
        try:
            async with asyncio.timeout(self._timing.data_plane_answer_s):
                return await call
        except TimeoutError as error:
            raise errors.Unavailable(
                "the data plane does not answer", retry_after_s=self._timing.data_plane_retry_s
            ) from error

    def _keep(self, frames: Sequence[bytes]) -> None:
        if not frames:
            return
        try:
            self._journal.append(frames)
        except errors.Unavailable as error:  # what is in force stays true; a restart begins with nothing
            self._log.warning("journal_not_written", reason=error.message)

    async def _apply_sections(self, sections: list[SectionUpdate]) -> None:
        if self._refused:
            sections = self._with_refused(sections)
        if sections:
            refusals = await self._answer(self._data_plane.apply(self.state, sections))
            if refusals or self._refused:
                self._note_refusals(refusals, tried={section.key for section in sections})

    def _with_refused(self, sections: list[SectionUpdate]) -> list[SectionUpdate]:
        """Replace what concerns refused sections by the whole of them: the data plane has no base for it."""
        named = {section.key for section in sections if section.key in self._refused}
        now_s = self._clock.monotonic_s()
        if now_s - self._tried_at_s >= self._timing.refused_retry_min_s:
            named.update(key for key in self._refused if key in self.state.versions)
            self._tried_at_s = now_s
        others = [section for section in sections if section.key not in named]
        return others + [self._whole(key) for key in sorted(named)]

    def _whole(self, key: SectionKey) -> SectionUpdate:
        section = self.state.sections.get(key)
        return SectionUpdate(key, None, self.state.versions[key], section.full() if section else None)

    def _note_refusals(self, refusals: Sequence[Refusal], *, tried: set[SectionKey] | None) -> None:
        """Keep what is refused. `tried` None: everything was."""
        kept = {} if tried is None else _without(self._refused, tried)
        self._refused = kept | {refusal.key: refusal.reason for refusal in refusals}
        self._refused = {key: reason for key, reason in self._refused.items() if key in self.state.versions}
        for refusal in refusals:
            self._log.warning("section_refused", section=refusal.key, reason=refusal.reason)


def _without(refused: dict[SectionKey, str], keys: set[SectionKey]) -> dict[SectionKey, str]:
    return {key: reason for key, reason in refused.items() if key not in keys}
