"""One writer's way to a host's switch: held by `ovs.tenure`, in sessions of the same steps as `ovs.session`.

    connect -> read the record, judge -> record the claim -> become master -> ready -> writes, each held against
    the switch; demoted, cut or refused: lost, and from the beginning

Between any two steps others may come. What is written goes to the simulated switch and is watched (law 2).
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from alcor.contracts.data_plane import DataPlaneEvents, HostFacts, Refusal
from alcor.data_plane.ovs import fence
from alcor.data_plane.ovs.fence import Bid, Fenced, Recorded
from alcor.data_plane.ovs.openflow import Stale
from alcor.data_plane.ovs.ovsdb import Operation, WaitFailed
from alcor.data_plane.ovs.tenure import Tenure
from alcor.data_plane.simulated.driver import SimulatedDataPlane
from alcor.data_plane.simulated.fabric import Fabric
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.model import errors
from alcor.model.errors import Unavailable
from alcor.model.goal_state import HostState, SectionKey, SectionUpdate
from alcor.model.ids import PortId, Vni
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor
from alcor.simulation import virtual_time
from alcor.simulation.fenced_switch import BRIDGE, FencedSwitch

_SLOW_S = 0.02
_UNANSWERED = 0.003  # chance that the data plane does what it is told, and the answer is lost


class Target(Protocol):
    """The host that is written to."""

    facts: HostFacts
    faulty: bool
    fence: FencedSwitch
    switch: SimulatedHost
    fabric: Fabric
    refuses: set[SectionKey]

    def shown(self, state: HostState, updates: Sequence[SectionUpdate] | None) -> None:
        """Hear what is put in force; None: the whole state."""
        ...


class FencedDataPlane:
    """Implements `DataPlane` for one writer. `is_reachable`: may this writer's machine reach the switch now?"""

    name = "simulated"
    answers_at_once = False

    def __init__(
        self,
        target: Target,
        facts: HostFacts,
        bid: Bid,
        chance: random.Random,
        log: EventLog,
        *,
        is_reachable: Callable[[], bool] = lambda: True,
        on_fenced: Callable[[], None] = lambda: None,
    ) -> None:
        part = virtual_time.current()
        assert part is not None, "a writer belongs to a part"
        self.part = part
        self._target = target
        self._facts = facts
        self._chance = chance
        self._is_reachable = is_reachable
        self._on_fenced = on_fenced
        log = log.about(host_id=facts.host)
        self._supervisor = Supervisor(log, failure=None)
        self._tenure: Tenure[_Session] = Tenure(
            bid,
            facts.host,
            open_session=self._open_session,
            tenant=self,
            supervisor=self._supervisor,
            log=log,
        )
        self._events: DataPlaneEvents

    # contract

    async def start(self, events: DataPlaneEvents) -> None:
        self._events = events
        self._tenure.start()

    async def synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        driver = await self._write()
        self._target.shown(state, None)
        refused = await driver.synchronise(state, remove=remove)
        return [*refused, *self._refusals(sorted(state.sections))]

    async def apply(self, state: HostState, updates: Sequence[SectionUpdate]) -> Sequence[Refusal]:
        driver = await self._write()
        self._target.shown(state, updates)
        refusals = self._refusals(sorted({update.key for update in updates} & state.sections.keys()))
        refused = {refusal.key for refusal in refusals}
        taken = [update for update in updates if update.key not in refused]
        more = await driver.apply(state, taken)
        if self._target.faulty and self._chance.random() < _UNANSWERED:
            raise errors.Unavailable("the data plane's answer was lost", retry_after_s=1)
        return [*more, *refusals]

    def grant(self, token: int) -> None:
        self._tenure.grant(token)

    @property
    def token(self) -> int:
        return self._tenure.token

    @property
    def holds_more(self) -> bool:
        session = self._tenure.session
        return session is not None and session.driver.holds_more

    def plugged_ports(self) -> Sequence[PortId]:
        session = self._tenure.session
        return session.driver.plugged_ports() if session is not None else ()

    async def close(self) -> None:
        await self._supervisor.close()
        self._tenure.close()

    # what the switch tells

    def touched(self, port_id: PortId) -> None:
        """A workload came or went."""
        self.part.tell(self._announce, port_id)

    def _announce(self, port_id: PortId) -> None:
        if self._tenure.session is not None:
            self._tenure.session.driver.announce((port_id,))

    # tenure

    def taken(self, session: "_Session") -> None:
        """Write through this session from now on."""

    def ready(self) -> None:
        self._events.ready()

    def fenced(self, writer: str) -> None:
        self._on_fenced()
        self._events.fenced(writer)

    def lost(self, reason: str) -> None:
        self._events.lost(reason)

    async def _open_session(
        self, bid: Bid, *, lapsed: Recorded | None, lost: Callable[[str], None]
    ) -> "_Session":
        session = _Session(self, bid, lapsed, lost)
        is_open = False
        try:
            await session.open()
            is_open = True
        finally:
            if not is_open:
                session.close()
        return session

    # writing

    async def _write(self) -> SimulatedDataPlane:
        """Have the switch take a write, now. Raises Unavailable; what follows must not wait for anything."""
        await self._tenure.claim()
        session = self._tenure.session
        if session is None:
            raise errors.Unavailable("the switch does not answer", retry_after_s=0.2)
        await session.reach()
        if not self._target.fence.write(session, session.bid):
            session.lose("it is not the master")
            raise errors.Unavailable("the switch takes writes of its master only", retry_after_s=0.2)
        return session.driver

    async def _reach(self) -> None:
        if self._target.faulty:
            await asyncio.sleep(self._chance.random() ** 4 * _SLOW_S)
        is_there = self._is_reachable() and self._facts.vtep == self._target.facts.vtep
        if not is_there or self._target.fence.is_down:
            raise errors.Unavailable("the data plane does not answer", retry_after_s=1)

    def _refusals(self, keys: Sequence[SectionKey]) -> list[Refusal]:
        return [Refusal(key, "the switch says no") for key in keys if key in self._target.refuses]


class _Session:
    """One connection to the switch. Implements `Connection`, `tenure.Claimed` and `fence.Database`."""

    def __init__(
        self, data_plane: FencedDataPlane, bid: Bid, lapsed: Recorded | None, lost: Callable[[str], None]
    ) -> None:
        self.bid = bid
        self.taken_from = ""
        self.driver: SimulatedDataPlane
        self.data_plane = data_plane
        self._lapsed = lapsed
        self._lost = lost
        self._renewal = 0
        self._is_over = False

    @property
    def token(self) -> int:
        return self.bid.token

    async def open(self) -> None:
        """Connect, record the claim, become the master. Raises Fenced, Unavailable."""
        target = self.data_plane._target
        await self.data_plane._reach()
        target.fence.connect(self)
        await self._record(self.bid, is_first=True)
        await self._guarded([])  # what is amended of the bridge
        await self.claim(self.bid)
        self.driver = SimulatedDataPlane(self.data_plane._facts, target.fabric)
        self.driver.host = target.switch
        await self.driver.start(_OfSession(self.data_plane, self))

    async def claim(self, bid: Bid) -> None:
        await self._record(bid, is_first=False)
        await self.reach()
        try:
            self.data_plane._target.fence.become_master(self, self.bid.token)
        except Stale as error:
            raise fence.overtaken(self.bid.token) from error

    async def renew(self) -> None:
        self._renewal += 1
        await self._guarded([fence.renew(BRIDGE, self._renewal)])

    async def external_ids(self) -> Mapping[str, str]:
        await self.reach()
        return self.data_plane._target.fence.external_ids()

    async def transact(self, operations: Sequence[Operation]) -> None:
        await self.reach()
        self.data_plane._target.fence.transact(operations)

    async def reach(self) -> None:
        """Wait for the switch. Raises Unavailable, and is lost, when it does not answer."""
        try:
            await self.data_plane._reach()
        except Unavailable as error:
            self.lose(error.message)
            raise
        if self._is_over:
            raise errors.Unavailable("the connection has ended", retry_after_s=1)

    def ended(self, reason: str) -> None:
        self.data_plane.part.tell(self.lose, reason)

    def lose(self, reason: str) -> None:
        """End unasked."""
        if not self._is_over:
            self.close()
            self._lost(reason)

    def close(self) -> None:
        target = self.data_plane._target
        if target.fence.master is self:
            target.switch.asks_by(None, lambda passage, in_port: None)
        target.fence.disconnect(self)
        self._is_over = True

    async def _record(self, bid: Bid, *, is_first: bool) -> None:
        claim = await fence.record(self, BRIDGE, bid, lapsed=self._lapsed, is_first=is_first)
        self.bid, self._renewal = claim.bid, claim.renewal
        self.taken_from = claim.taken_from or self.taken_from

    async def _guarded(self, operations: Sequence[Operation]) -> None:
        try:
            await self.transact([fence.guard(BRIDGE, self.bid.token, self.bid.writer), *operations])
        except WaitFailed as error:
            recorded = fence.read(await self.external_ids())
            self.lose(f"'{recorded.writer}' took the switch over")
            raise Fenced(recorded) from error


class _OfSession:
    """Implements `DataPlaneEvents` for a session's driver: what it tells counts while the session lasts."""

    def __init__(self, data_plane: FencedDataPlane, session: _Session) -> None:
        self._data_plane = data_plane
        self._session = session

    def plugged(self, port_id: PortId) -> None:
        if self._data_plane._tenure.session is self._session:
            self._data_plane._events.plugged(port_id)

    def unplugged(self, port_id: PortId) -> None:
        if self._data_plane._tenure.session is self._session:
            self._data_plane._events.unplugged(port_id)

    def unknown(self, vni: Vni, ip: bytes) -> bool:
        part = self._data_plane.part
        if self._data_plane._tenure.session is not self._session or part.hung_at is not None:
            return False
        return part.run(self._data_plane._events.unknown, vni, ip)

    def announced(self, port_id: PortId, ip: bytes) -> None:
        part = self._data_plane.part
        if self._data_plane._tenure.session is self._session and part.hung_at is None:
            part.run(self._data_plane._events.announced, port_id, ip)

    def lost(self, reason: str) -> None:
        pass

    def ready(self) -> None:
        pass

    def fenced(self, writer: str) -> None:
        pass
