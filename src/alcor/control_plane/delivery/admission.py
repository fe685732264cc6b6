"""Lets hosts that said Hello be synchronised, as many at once as the limits allow, by the schedule's order.

A host that waits has its Welcome and hears beats, and forwards what it holds: it is sent nothing else before
its turn, so that no change overtakes what it needs with it.
"""

import asyncio
from typing import assert_never

from alcor.contracts.agent_channel import Hello
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.delivery.paths import HostSession
from alcor.control_plane.delivery.resync import ResyncLimits, ResyncSchedule
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import AddressesKey, GroupKey, NetworkKey, RouterKey, SectionKey
from alcor.model.ids import HostId
from alcor.model.records import PRIORITY_DEFAULT, PRIORITY_MAX
from alcor.runtime.clock import Clock

RESCUE_PRIORITY = PRIORITY_MAX + 1  # a neighbour that writes for a host has nothing to write yet
ENTRY_BYTES = 80  # of a placement or member on the wire, about
SECTION_BYTES = 200  # of a section without them


class Admission:
    """Owner of the schedule, and of which sessions may be sent something."""

    def __init__(self, region: Region, interest: Interest, clock: Clock, limits: ResyncLimits) -> None:
        self._region = region
        self._interest = interest
        self._clock = clock
        self._schedule = ResyncSchedule(limits)
        self._sessions: dict[HostId, HostSession] = {}  # that are not synchronised
        self._is_due = False  # somebody is about to be admitted
        self.done: set[HostId] = set()

    @property
    def waiting(self) -> int:
        """How many hosts wait for their turn."""
        return self._schedule.waiting

    @property
    def synchronising(self) -> int:
        """How many hosts have their turn."""
        return self._schedule.admitted

    @property
    def bytes_left(self) -> int:
        """How much is thought to be sent until all are synchronised, those under way counted whole."""
        return self._schedule.bytes_waiting + self._schedule.bytes_admitted

    def came(self, session: HostSession, hello: Hello) -> None:
        """A session began. O(sections of the host)."""
        host = session.host
        self.left(host)
        self._sessions[host] = session
        session.may_send = False
        self._schedule.wait(
            host,
            priority=RESCUE_PRIORITY if session.rescuer else priority_of(self._region, host),
            size=self._size(host, {held.key for held in hello.held}),
        )
        self._admit()

    def left(self, host: HostId) -> None:
        """The session ended."""
        self.done.discard(host)
        if self._sessions.pop(host, None) is not None:
            self._schedule.leave(host)
            self._admit()

    def answered(self, session: HostSession) -> bool:
        """The host answered something. True: by that it is synchronised. O(1)."""
        if self._sessions.get(session.host) is not session or not session.is_settled:
            return False
        del self._sessions[session.host]
        self.done.add(session.host)
        self._schedule.leave(session.host)
        self._admit()
        return True

    def turn(self) -> None:
        """Let time pass: hosts that take too long let others go first."""
        for host in self._schedule.expire(self._clock.monotonic_s()):
            self._sessions[host].may_send = False
        self._admit()

    def _admit(self) -> None:
        """Let the next hosts begin, one in each turn of the loop: meanwhile others are heard and welcomed.

        Were they not, those that come back all at once would give up waiting and come again, for ever.
        """
        if not self._is_due and self._schedule.waiting:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._admit_one)

    def _admit_one(self) -> None:
        self._is_due = False
        host = self._schedule.admit(self._clock.monotonic_s())
        if host is not None:
            session = self._sessions[host]
            session.may_send = True
            if session.channel.close_reason is None:  # else it leaves in a moment
                session.flush()
            self._admit()

    def _size(self, host: HostId, held: set[SectionKey]) -> int:
        """Estimate the bytes to send: whole what is not held; what is held is taken for equal."""
        wanted = self._interest.wanted.get(host, {})
        entries = sum(self._entries(key) for key in wanted if key not in held)
        return SECTION_BYTES * len(wanted) + ENTRY_BYTES * entries

    def _entries(self, key: SectionKey) -> int:
        match goal_state.parse_key(key):
            case NetworkKey(id=network_id):
                node = self._region.networks[network_id]
                return 0 if node.on_demand else len(node.bound)
            case RouterKey():
                return 1
            case GroupKey(id=group_id):
                return len(self._region.groups[group_id].rules)
            case AddressesKey(id=addresses_id):
                return len(self._region.address_groups[addresses_id].addresses)
            case _ as never:
                assert_never(never)


def priority_of(region: Region, host: HostId) -> int:
    """Give the highest priority of the tenants in whose networks the host has ports. O(those networks)."""
    node = region.hosts.get(host)
    projects = () if node is None else {region.networks[id_].project for id_ in node.networks}
    return max((region.priorities.get(id_, PRIORITY_DEFAULT) for id_ in projects), default=PRIORITY_DEFAULT)
