"""Does each agent hold what its acknowledgements say? By the mark in its beats, and now and then by digests.

beat's mark differs from the acknowledged ones', nothing under way, for a while --Compare--> agent
agent --Holds(all, with digests)--> what differs is sent whole, what it should not hold is removed
agent --Holds(one section)--------> the same for that section (its own turn, every now and then)

What it holds as it is wanted is in force, whether its acknowledgement was heard or lost on its way.
"""

from collections.abc import Callable, Mapping

import msgspec

from alcor.contracts.agent_channel import Held, Holds, Outcome, SectionResult
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.delivery.full_sections import FullSections
from alcor.control_plane.delivery.ledger import HostLedger, Ledger
from alcor.control_plane.delivery.paths import HostSession
from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId
from alcor.model.version import Version
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog

PERSISTS_S = 4.0  # more than a beat of any path: what is on its way has arrived
DOUBLINGS_MAX = 5  # of that time, while asking does not help


class _Difference(msgspec.Struct):
    session: HostSession
    since_s: float
    asked: int = 0


class Agreement:
    """Owner of what agents said last, and of the differences seen. `ask` sends a session Compare."""

    def __init__(
        self,
        sessions: Mapping[HostId, HostSession],
        interest: Interest,
        full: FullSections,
        ledger: Ledger,
        clock: Clock,
        log: EventLog,
        *,
        ask: Callable[[HostSession], None],
    ) -> None:
        self._sessions = sessions
        self._interest = interest
        self._full = full
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._ask = ask
        self._told: dict[HostId, bytes] = {}
        self._differences: dict[HostId, _Difference] = {}

    def told(self, session: HostSession, held: bytes) -> None:
        """Take the mark of a beat. Empty: the agent does not say."""
        if held and held != self._told.get(session.host):
            self._told[session.host] = held
            self.acknowledged(session)

    def acknowledged(self, session: HostSession) -> None:
        """Compare after an acknowledgement. O(1)."""
        host = session.host
        told = self._told.get(host)
        if told is None or told == self._ledger.account(host).mark.value:
            self._differences.pop(host, None)
            return
        known = self._differences.get(host)
        if known is None or known.session is not session:
            self._differences[host] = _Difference(session, self._clock.monotonic_s())
        else:
            known.since_s = self._clock.monotonic_s()

    def left(self, host: HostId) -> None:
        """Hear that a session ended."""
        self._told.pop(host, None)
        self._differences.pop(host, None)

    def turn(self) -> None:
        """Ask those that have differed for long enough with nothing under way. O(those that differ)."""
        now_s = self._clock.monotonic_s()
        for host, difference in list(self._differences.items()):
            session = difference.session
            if self._sessions.get(host) is not session:
                del self._differences[host]
            elif not _is_quiet(session, self._ledger.account(host)):
                difference.since_s = now_s
            elif now_s - difference.since_s >= PERSISTS_S * 2 ** min(difference.asked, DOUBLINGS_MAX):
                difference.since_s = now_s
                difference.asked += 1
                self._log.warning("held_otherwise", host_id=host, asked=difference.asked)
                self._ask(session)

    def heard(self, session: HostSession, holds: Holds) -> tuple[SectionResult, ...]:
        """Compare what an agent says it holds, and have sent what differs. O(sections named).

        Gives what is in force and was not acknowledged: that answer was lost.
        """
        host = session.host
        account = self._ledger.account(host)
        if not _is_quiet(session, account):
            return ()  # it is asked again, or tells the next time
        wanted = self._interest.wanted.get(host, {})
        as_wanted = [held for held in holds.held if self._is_as_wanted(host, held, account)]
        equal = {held.key for held in as_wanted}
        differing = [held.key for held in holds.held if held.key not in equal]
        if holds.is_all:
            named = {held.key for held in holds.held}
            differing += [key for key in wanted if key not in named]
        if differing:
            self._log.warning("held_mended", host_id=host, sections=len(differing), section=differing[0])
            session.send_all(differing)
            session.flush()
        elif holds.is_all:  # the acknowledgements were at fault
            account.mark.clear()
            for held in holds.held:
                account.mark.hold(held.key, held.version)
            self.acknowledged(session)
        return tuple(
            SectionResult(held.key, held.version, Outcome.IN_FORCE)
            for held in as_wanted
            if held.digest and not _is_known(held, account)
        )

    def _is_as_wanted(self, host: HostId, held: Held, account: HostLedger) -> bool:
        """What the data plane refuses has no digest: of that, the version tells."""
        if self._interest.wanted.get(host, {}).get(held.key) is None:
            return False
        sent: Version | None = account.sent.get(SectionKey(held.key))
        if sent != held.version:
            return False
        return not held.digest or held.digest == self._full.digest(host, held.key)


def _is_known(held: Held, account: HostLedger) -> bool:
    """Does the ledger count it as in force?"""
    is_acknowledged = account.acknowledged.get(held.key) == held.version.revision
    return is_acknowledged and held.key not in account.refused


def _is_quiet(session: HostSession, account: HostLedger) -> bool:
    return session.is_settled and not session.has_waiting and not account.outstanding
