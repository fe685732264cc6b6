"""One writer's way to a host's switch: the steps of `ovs.session` with the decisions of `ovs.fence`.

    connect -> read the record, judge -> record the claim -> become master -> ready -> writes, each held against
    the switch; demoted, cut or refused: lost, and from the beginning

Between any two steps others may come. What is written goes to the simulated switch and is watched (law 2).
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from alcor.contracts.data_plane import DataPlaneEvents, HostFacts, Refusal
from alcor.data_plane.ovs import fence
from alcor.data_plane.ovs.fence import Bid, Fenced, Recorded
from alcor.data_plane.ovs.openflow import Stale
from alcor.data_plane.ovs.ovsdb import WaitFailed
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

BACKOFF_S = 0.2
CLAIM_TRIES = 5
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
        self._bid = bid
        self._chance = chance
        self._is_reachable = is_reachable
        self._on_fenced = on_fenced
        self._supervisor = Supervisor(log, failure=None)
        self._granted = asyncio.Event()
        self._session: _Session | None = None
        self._events: DataPlaneEvents

    # contract

    async def start(self, events: DataPlaneEvents) -> None:
        self._events = events
        self._supervisor.start("switch session", self._keep_session())
        if self._bid.lease_ms:
            self._supervisor.start("lease", self._renew_lease())

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
        if token > self._bid.token:
            self._bid = self._bid._replace(token=token)
            self._granted.set()
            if self._session is not None:
                self._supervisor.start("claim", self._claim(self._session))

    @property
    def token(self) -> int:
        return self._session.bid.token if self._session is not None else 0

    def plugged_ports(self) -> Sequence[PortId]:
        return self._session.driver.plugged_ports() if self._session is not None else ()

    async def close(self) -> None:
        await self._supervisor.close()
        if self._session is not None:
            self._session.close()
            self._session = None

    # what the switch tells

    def touched(self, port_id: PortId) -> None:
        """A workload came or went."""
        self.part.tell(self._announce, port_id)

    def _announce(self, port_id: PortId) -> None:
        if self._session is not None:
            self._session.driver.announce((port_id,))

    def _lose(self, session: "_Session", reason: str) -> None:
        session.close()
        if self._session is session:
            self._session = None
            self._events.lost(reason)

    # the session

    async def _keep_session(self) -> None:
        lapsed: Recorded | None = None
        is_fenced = False  # and our agent was told
        while True:
            self._granted.clear()
            session = _Session(self)
            session.lapsed = lapsed
            try:
                await self._open(session)
            except Fenced as error:
                session.close()
                if not is_fenced:
                    self._tell_fenced(error.writer)
                is_fenced = True
                is_granted = await self._granted_within(fence.lapses_after_s(error.recorded))
                lapsed = None if is_granted else error.recorded
                continue
            except (Unavailable, Stale, WaitFailed):
                session.close()
                await asyncio.sleep(BACKOFF_S)
                continue
            is_told, is_fenced, lapsed = is_fenced, False, None
            if not session.over.is_set():
                self._session = session
                if session.taken_from and not is_told and self._bid.writer == self._facts.host:
                    self._tell_fenced(session.taken_from)
                self._events.ready()
                if session.bid.token < self._bid.token:  # granted while the session was opened
                    await self._claim(session)
            await session.over.wait()

    async def _granted_within(self, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._granted.wait()
        except TimeoutError:
            return False
        return True

    async def _renew_lease(self) -> None:
        while True:
            await asyncio.sleep(self._bid.lease_ms / 1000 / fence.RENEWALS)
            session = self._session
            if session is None:
                continue
            try:
                await self._reach(session)
                session.renewal += 1
                mine = fence.guard(BRIDGE, session.bid.token, session.bid.writer)
                self._target.fence.transact([mine, fence.renew(BRIDGE, session.renewal)])
            except (errors.AlcorError, WaitFailed) as error:
                self._lose(session, str(error))

    def _tell_fenced(self, writer: str) -> None:
        self._on_fenced()
        self._events.fenced(writer)

    async def _open(self, session: "_Session") -> None:
        await self._reach()
        self._target.fence.connect(session)
        await self._record(session, self._bid, is_first=True)
        await self._reach(session)
        self._target.fence.transact([fence.guard(BRIDGE, session.bid.token, session.bid.writer)])
        await self._become_master(session, session.bid)
        target = self._target
        session.driver = SimulatedDataPlane(self._facts, target.fabric)
        session.driver.host = target.switch
        await session.driver.start(_OfSession(self, session))

    async def _claim(self, session: "_Session") -> None:
        try:
            await self._become_master(session, self._bid)
        except (errors.AlcorError, Stale, WaitFailed) as error:
            self._lose(session, str(error))

    async def _become_master(self, session: "_Session", bid: Bid) -> None:
        await self._record(session, bid, is_first=False)
        await self._reach(session)
        try:
            self._target.fence.become_master(session, session.bid.token)
        except Stale as error:
            raise Fenced(Recorded(session.bid.token + 1, "a newer master")) from error

    async def _record(self, session: "_Session", bid: Bid, *, is_first: bool) -> None:
        for _ in range(CLAIM_TRIES):
            await self._reach(session)
            before = self._target.fence.external_ids()
            recorded = fence.read(before)
            made = bid._replace(token=fence.judge(recorded, bid, lapsed=session.lapsed))
            if recorded.writer not in ("", bid.writer):
                if not is_first:
                    raise Fenced(recorded)
                session.taken_from = recorded.writer
            if recorded[:3] != made:
                await self._reach(session)
                try:
                    self._target.fence.transact(fence.claim(BRIDGE, before, made))
                except WaitFailed:
                    continue
            else:
                session.renewal = recorded.renewal
            session.bid = made
            return
        raise errors.Unavailable("the bridge's record is being changed by others", retry_after_s=0.2)

    # writing

    async def _write(self) -> SimulatedDataPlane:
        """Have the switch take a write, now. Raises Unavailable; what follows must not wait for anything."""
        session = self._session
        if session is None:
            raise errors.Unavailable("the switch does not answer", retry_after_s=0.2)
        if session.bid.token < self._bid.token:
            await self._claim(session)
        try:
            await self._reach(session)
        except Unavailable as error:
            self._lose(session, error.message)
            raise
        if not self._target.fence.write(session, session.bid):
            self._lose(session, "it is not the master")
            raise errors.Unavailable("the switch takes writes of its master only", retry_after_s=0.2)
        return session.driver

    async def _reach(self, session: "_Session | None" = None) -> None:
        if self._target.faulty:
            await asyncio.sleep(self._chance.random() ** 4 * _SLOW_S)
        is_there = self._is_reachable() and self._facts.vtep == self._target.facts.vtep
        if not is_there or self._target.fence.is_down or (session is not None and session.over.is_set()):
            raise errors.Unavailable("the data plane does not answer", retry_after_s=1)

    def _refusals(self, keys: Sequence[SectionKey]) -> list[Refusal]:
        return [Refusal(key, "the switch says no") for key in keys if key in self._target.refuses]


class _Session:
    """One connection to the switch. Implements `Connection`."""

    def __init__(self, data_plane: FencedDataPlane) -> None:
        self.bid = Bid(0, "")
        self.taken_from = ""
        self.lapsed: Recorded | None = None
        self.renewal = 0
        self.over = asyncio.Event()
        self.driver: SimulatedDataPlane
        self.data_plane = data_plane

    def ended(self, reason: str) -> None:
        self.data_plane.part.tell(self.data_plane._lose, self, reason)

    def close(self) -> None:
        target = self.data_plane._target
        if target.fence.master is self:
            target.switch.asks_by(None, lambda passage, in_port: None)
        target.fence.disconnect(self)
        self.over.set()


class _OfSession:
    """Implements `DataPlaneEvents` for a session's driver: what it tells counts while the session lasts."""

    def __init__(self, data_plane: FencedDataPlane, session: _Session) -> None:
        self._data_plane = data_plane
        self._session = session

    def plugged(self, port_id: PortId) -> None:
        if self._data_plane._session is self._session:
            self._data_plane._events.plugged(port_id)

    def unplugged(self, port_id: PortId) -> None:
        if self._data_plane._session is self._session:
            self._data_plane._events.unplugged(port_id)

    def unknown(self, vni: Vni, ip: bytes) -> bool:
        part = self._data_plane.part
        if self._data_plane._session is not self._session or part.hung_at is not None:
            return False
        return part.run(self._data_plane._events.unknown, vni, ip)

    def announced(self, port_id: PortId, ip: bytes) -> None:
        part = self._data_plane.part
        if self._data_plane._session is self._session and part.hung_at is None:
            part.run(self._data_plane._events.announced, port_id, ip)

    def lost(self, reason: str) -> None:
        pass

    def ready(self) -> None:
        pass

    def fenced(self, writer: str) -> None:
        pass
