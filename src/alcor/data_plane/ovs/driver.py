"""The Open vSwitch data plane: keeps one bridge in step with the host's goal state.

agent --synchronise, apply--> turns --+--> flow table --bundle--> ovs-vswitchd
OVSDB monitor --attachments touched---+
drift, every 10 s --------------------+
ovs-vswitchd --packets--> answers --packet out--> ovs-vswitchd
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path

from alcor.contracts.data_plane import DataPlaneEvents, HostFacts, Refusal
from alcor.data_plane import answering, frames
from alcor.data_plane.advertisements import Advertisement
from alcor.data_plane.asking import Asking, asked_address
from alcor.data_plane.ovs import blame, endpoint, fence, flow_changes, port_keys
from alcor.data_plane.ovs.advertiser import Advertiser
from alcor.data_plane.ovs.answers import Answers
from alcor.data_plane.ovs.attachments import KeyPlace
from alcor.data_plane.ovs.endpoint import SwitchEndpoints
from alcor.data_plane.ovs.fence import Bid, Fenced, Recorded
from alcor.data_plane.ovs.flow_table import RefusedByBridge
from alcor.data_plane.ovs.messages import PacketIn
from alcor.data_plane.ovs.session import Session
from alcor.data_plane.ovs.setup import Exposure
from alcor.data_plane.ovs.turns import Turns
from alcor.data_plane.pipeline import refusal
from alcor.data_plane.pipeline.flow import Field, Output, SetField
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.pipeline.unknown import ASKING, RESUMED_FIELDS
from alcor.model import goal_state
from alcor.model.errors import AlcorError, Unavailable
from alcor.model.goal_state import HostState, NetworkChange, SectionUpdate
from alcor.model.ids import PortId
from alcor.runtime import supervision
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog
from alcor.runtime.growth import Growth
from alcor.runtime.limits import TokenBuckets
from alcor.runtime.supervision import Failure, Supervisor

BRIDGE = "br-int"
DRIFT_EVERY_S = 10.0
KEYS_AT_ONCE = 1000  # interfaces in one transaction
ZONES_AT_ONCE = 64  # each costs the switch a walk over all its connections
ANNOUNCED_PER_S = 2.0  # of each port: each that is new is a commit
ANNOUNCED_BURST = 16.0
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 2.0


class OvsDataPlane:
    """Implements `contracts.data_plane.DataPlane`. Owner of the session, the program and what is plugged.

    `place`: the directory where Open vSwitch keeps its sockets, or the listeners of another host's.
    `bid`: who writes (this host, or the neighbour that rescues it) and under which token, see `fence`.
    """

    name = "ovs"
    answers_at_once = False

    def __init__(
        self,
        facts: HostFacts,
        place: Path | SwitchEndpoints,
        log: EventLog,
        bridge: str = BRIDGE,
        *,
        bid: Bid | None = None,
        exposure: Exposure | None = None,
        failure: Failure | None = None,
    ) -> None:
        self._facts = facts
        self._endpoints = endpoint.local(place, bridge) if isinstance(place, Path) else place
        self._bid = bid or Bid(0, facts.host)
        self._exposure = exposure
        self._granted = asyncio.Event()
        self._log = log
        self._bridge = bridge
        self._clock = SystemClock()
        self._supervisor = Supervisor(log, failure=failure)
        self._turns = Turns()
        self._growth = Growth(log, "packets_dropped")
        self._answers = Answers(answer=self._answer, send=self._send, clock=self._clock)
        self._advertiser = Advertiser(
            told=self._told, send=self._tell, can_send=lambda: self._session is not None, clock=self._clock
        )
        self._asking: Asking[PacketIn] = Asking(
            ask=lambda vni, ip: self._events.unknown(vni, ip), mac_of=self._mac_of, resume=self._resume
        )
        self._announcements: TokenBuckets[int] = TokenBuckets(rate_per_s=ANNOUNCED_PER_S, burst=ANNOUNCED_BURST)
        self._events: DataPlaneEvents
        self._session: Session | None = None
        self._program: FlowProgram | None = None
        self._tunnel_port = 0
        self._in_step = False  # `synchronise` succeeded in this session
        self._removes = False  # and the state was complete
        self._touched: set[PortId] = set()
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()
        self._plugged: set[PortId] = set()
        self._to_record: dict[KeyPlace, int | None] = {}
        self._record = asyncio.Event()
        self._seeded: set[int] = set()  # keys that interfaces carried when the program was new
        self._stale: set[int] = set()  # keys of ports that went while no agent was here
        self._gone = asyncio.Event()

    # -- contract

    async def start(self, events: DataPlaneEvents) -> None:
        """Begin to connect and to watch."""
        self._events = events
        self._supervisor.start("ovs turns", self._turns.run())
        self._supervisor.start("ovs answers", self._answers.run())
        self._supervisor.start("ovs advertisements", self._advertiser.run())
        self._supervisor.start("ovs attachments", self._follow_attachments())
        self._supervisor.start("ovs port keys", self._record_keys())
        self._supervisor.start("ovs zones", self._empty_zones())
        self._supervisor.start("ovs drift", self._watch_drift())
        self._supervisor.start("ovs session", self._keep_session())
        if self._bid.lease_ms:
            self._supervisor.start("ovs lease", self._renew_lease())

    async def synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        """Read back, compare by cookie, change only what differs; established connections go on."""
        return await self._turns.take(lambda: self._synchronise(state, remove=remove))

    async def apply(self, state: HostState, updates: Sequence[SectionUpdate]) -> Sequence[Refusal]:
        """Put updates in force in one atomic bundle."""
        return await self._turns.take(lambda: self._apply(state, updates))

    def grant(self, token: int) -> None:
        """Claim the switch under this token, or under the newest one granted."""
        if token > self._bid.token:
            self._bid = self._bid._replace(token=token)
            self._granted.set()
            if self._session is not None:
                self._supervisor.start("ovs claim", self._claim())

    @property
    def token(self) -> int:
        """Give the token that the database records for this writer; 0 while there is no session."""
        return self._session.token if self._session is not None else 0

    def plugged_ports(self) -> Sequence[PortId]:
        """Name the ports known here whose workload is attached, sorted."""
        return sorted(self._plugged)

    async def close(self) -> None:
        """Let go of both connections; the switch forwards on."""
        await self._supervisor.close()
        if self._session is not None:
            self._session.close()
            self._session = None

    # -- turns: one of these at a time

    async def _synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        session, program = await self._working_as_granted()
        self._touched.clear()
        attached = session.view.attachments()
        for port_id in sorted(program.attached().keys() - attached.keys()):
            program.detach(port_id)
        for port_id, attachment in attached.items():
            program.attach(port_id, attachment.ofport)
        program.replace(state)
        repair = await session.table.equalise(program.wanted(), remove=remove)
        self._in_step = True
        self._removes = remove
        # A key that is on an interface is that port's own, whatever else of it has changed.
        self._stale |= repair.port_keys - (self._seeded & set(program.port_keys.values()))
        self._gone.set()
        self._advertiser.succeed(program, repair.legs)
        self._log.info("flows_synchronised", **repair.figures)
        self._asking.go_on(self._clock.monotonic_s())
        self._report(self._plugged | attached.keys())
        named = [SectionUpdate(key, None, state.versions[key], None) for key in state.sections]
        return self._refusals(state, state.full_updates() if repair.refused else named, repair.refused)

    async def _apply(self, state: HostState, updates: Sequence[SectionUpdate]) -> Sequence[Refusal]:
        session, program = await self._working_as_granted()
        if not self._in_step:
            raise Unavailable("the switch was not synchronised yet", retry_after_s=0.1)
        change = program.change(state, updates)
        if any(update.base is None for update in updates):
            change = flow_changes.with_refused(change, session.table.refused(), program)
        refused = await session.table.change(change)
        if program.resting_port_keys:
            self._gone.set()
        self._asking.go_on(self._clock.monotonic_s())
        self._report(self._ports_of(updates))
        return self._refusals(state, updates, refused)

    async def _attach(self) -> None:
        """Follow what was plugged and unplugged since the last time, in one bundle."""
        session, program = self._working()
        touched, self._touched = sorted(self._touched), set()
        if not self._in_step:
            return  # `synchronise` reads all of it
        now = {port_id: session.view.attachment(port_id) for port_id in touched}
        changes = [
            program.detach(port_id)
            for port_id, attachment in now.items()
            if attachment is None and port_id in program.attached()
        ]
        anew: set[PortId] = set()  # another interface than before: it was unplugged in between
        for port_id, attachment in now.items():
            if attachment is not None and program.attached().get(port_id) != attachment.ofport:
                anew |= {port_id} & program.attached().keys()
                changes.append(program.attach(port_id, attachment.ofport))
        refused = await session.table.change(flow_changes.joined(changes))
        for bad in refused:
            self._log.error("plug_refused", flow=bad.flow.origin, reason=bad.reason)
        words = {word for bad in refused for word in bad.flow.origin.split()}
        self._plugged -= anew - words
        self._advertiser.meet(program.reached_through(anew))
        self._report(port_id for port_id in touched if port_id not in words)

    async def _repair_drift(self) -> None:
        session, program = self._working()
        if not self._in_step:
            return
        repair = await session.table.repair(program.wanted(), remove=self._removes)
        if any(repair.figures.values()):
            self._log.warning("drift_repaired", **repair.figures)

    async def _empty_some_zones(self) -> bool:
        """Forget connections of ports that are gone; only then may their keys be given again. More to do?"""
        session, program = self._working()
        if not self._removes:
            return False  # the state may not be complete: what it does not name still forwards
        zones = [*islice(chain(program.resting_port_keys, self._stale), ZONES_AT_ONCE)]
        if zones:
            await session.switch.flush_zones(zones)
            program.wake_port_keys(zones)
            self._stale.difference_update(zones)
        return bool(program.resting_port_keys or self._stale)

    # -- loops

    async def _keep_session(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        lapsed: Recorded | None = None
        is_fenced = False  # and our agent was told
        while True:
            self._ended.clear()
            self._granted.clear()
            session = Session(
                self._bridge,
                self._bid,
                exposure=self._exposure,
                on_packet=self._handed_over,
                on_attachments=self._touch,
                on_lost=self._lose,
            )
            try:
                await session.open(self._endpoints, lapsed=lapsed)
            except Fenced as error:
                session.close()
                if not is_fenced:
                    self._log.warning("switch_fenced", host=self._facts.host, writer=error.writer)
                    self._events.fenced(error.writer)
                is_fenced = True
                is_granted = await self._granted_within(fence.lapses_after_s(error.recorded))
                lapsed = None if is_granted else error.recorded
                continue
            except AlcorError as error:
                session.close()
                self._log.info("switch_not_ready", reason=error.message)
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
                continue
            backoff_s, is_told, is_fenced, lapsed = BACKOFF_FIRST_S, is_fenced, False, None
            if not self._ended.is_set():
                self._take(session)
                if session.taken_from and not is_told and self._bid.writer == self._facts.host:
                    # An old controller's order has an older token than ours, but may have come later.
                    self._events.fenced(session.taken_from)
                self._events.ready()
                if session.token < self._bid.token:  # granted while the session was opened
                    await self._claim()
            await self._ended.wait()

    async def _granted_within(self, seconds: float | None) -> bool:
        """Wait for a newer token, so long at most. None: for as long as it takes."""
        try:
            async with asyncio.timeout(seconds):
                await self._granted.wait()
        except TimeoutError:
            return False
        return True

    async def _renew_lease(self) -> None:
        """Show that we are at work, for as long as we are: a record of ours that stays the same lapses."""
        while True:
            await asyncio.sleep(self._bid.lease_ms / 1000 / fence.RENEWALS)
            session = self._session
            if session is None:
                continue
            try:
                await session.renew()
            except AlcorError as error:
                self._log.info("lease_not_renewed", reason=error.message)

    def _take(self, session: Session) -> None:
        if self._program is None or self._tunnel_port != session.tunnel_port:
            # Keys on the interfaces keep the conntrack zones, and so the connections, of a former agent.
            recorded = {
                port_id: attachment.key
                for port_id, attachment in session.view.attachments().items()
                if attachment.key is not None
            } | session.view.sub_port_keys()
            known = dict(self._program.port_keys) if self._program is not None else {}
            self._program = FlowProgram(self._facts, session.tunnel_port, self._advertiser.retold)
            self._program.seed_port_keys(known | recorded)
            self._seeded = set(self._program.port_keys.values())
            self._tunnel_port = session.tunnel_port
        self._session = session

    async def _follow_attachments(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._session is None or not self._in_step:
                continue
            try:
                await self._turns.take(self._attach)
            except AlcorError as error:
                self._log.info("plug_delayed", reason=error.message)

    async def _record_keys(self) -> None:
        while True:
            await self._record.wait()
            self._record.clear()
            some = sorted(self._to_record)[:KEYS_AT_ONCE]
            keys = {place: self._to_record.pop(place) for place in some}
            if self._to_record:
                self._record.set()
            session = self._session
            if session is None or not keys:
                continue
            try:
                await session.record_keys(keys)
            except AlcorError as error:
                self._log.warning("port_keys_not_recorded", reason=error.message)

    async def _empty_zones(self) -> None:
        while True:
            await self._gone.wait()
            self._gone.clear()
            try:
                while await self._turns.take(self._empty_some_zones):
                    pass
            except AlcorError as error:  # tried again after the next change or session
                self._log.warning("connections_not_forgotten", reason=error.message)

    async def _watch_drift(self) -> None:
        while True:
            await asyncio.sleep(DRIFT_EVERY_S)
            self._growth.look(
                answers=self._answers.dropped,
                looking_up=self._asking.dropped,
                asking_too_often=self._asking.limited,
            )
            if self._session is None or not self._in_step:
                continue
            try:
                await self._turns.take(self._repair_drift)
            except AlcorError as error:
                self._log.info("drift_not_checked", reason=error.message)

    async def _claim(self) -> None:
        session = self._session
        if session is None or session.token >= self._bid.token:
            return
        try:
            await session.claim(self._bid)
        except AlcorError as error:
            session.close()
            self._lose(error.message)

    # -- callbacks of the session; none of them blocks

    def _touch(self, port_ids: set[PortId]) -> None:
        self._touched |= port_ids
        self._woken.set()

    def _lose(self, reason: str) -> None:
        had_session = self._session is not None
        self._session = None
        self._in_step = False
        self._ended.set()
        if had_session:
            self._log.warning("switch_lost", reason=reason)
            self._events.lost(reason)

    def _handed_over(self, packet: PacketIn) -> None:
        way = ASKING.get(packet.table)
        ip = None if way is None else asked_address(way, packet.fields, packet.data)
        if way is None or ip is None:
            if packet.table != Table.SPOOF or not self._took_announcement(packet):
                self._answers.put(packet)
            return
        self._asking.handed_over(
            packet,
            vni=packet.fields.get(way.vni, 0),
            ip=ip,
            key=packet.fields.get(way.port, 0),
            to_mac=int.from_bytes(packet.data[:6], "big") if packet.table == Table.REMOTE else None,
            now_s=self._clock.monotonic_s(),
        )

    def _took_announcement(self, packet: PacketIn) -> bool:
        """Tell the agent of an address that a workload says is its own. Is the packet of that kind?"""
        said = frames.said_by_neighbour(packet.data)
        if said is None or self._program is None:
            return said is not None
        key = packet.fields.get(Field.REG1, 0)
        port_id = self._program.announcer(key, *said)
        if port_id is not None and self._announcements.take(key, self._clock.monotonic_s()):
            self._events.announced(port_id, said[1])
        return True

    def _mac_of(self, vni: int, ip: bytes) -> int | None:
        return None if self._program is None else self._program.mac_of(vni, ip)

    def _resume(self, packet: PacketIn) -> None:
        if self._session is not None:
            actions = tuple(SetField(field, packet.fields.get(field, 0)) for field in RESUMED_FIELDS)
            self._session.switch.resume_packet(packet, actions, ASKING[packet.table].resume)

    def _answer(self, vni: int, key: int, frame: bytes) -> Sequence[bytes]:
        if self._program is None:
            return ()
        with supervision.contained(self._log, "ovs answers"):  # a frame that a workload made up ends no agent
            return answering.answer(self._program, self._facts, vni=vni, key=key, frame=frame)
        return ()

    def _told(self, port_id: PortId) -> Sequence[Advertisement]:
        return () if self._program is None else answering.told(self._program, self._facts, port_id)

    def _tell(self, port_id: PortId, frame: bytes) -> None:
        if self._session is not None and self._program is not None:
            self._session.switch.packet_out(self._program.way_to(port_id), frame)

    def _send(self, packet: PacketIn, frame: bytes) -> None:
        if self._session is not None and self._program is not None:
            tagging = self._program.tagging(packet.fields.get(Field.REG1, 0))
            self._session.switch.packet_out((*tagging, Output(packet.in_port)), frame)

    # -- what became of it

    async def _working_as_granted(self) -> tuple[Session, FlowProgram]:
        """Claim first what was granted: what a newer controller sent is written under its token only."""
        await self._claim()
        return self._working()

    def _working(self) -> tuple[Session, FlowProgram]:
        if self._session is None or self._program is None:
            raise Unavailable("the switch does not answer", retry_after_s=0.2)
        return self._session, self._program

    def _report(self, port_ids: Iterable[PortId]) -> None:
        """Tell what is plugged now of these ports, and note keys that are not on the interface yet."""
        session, program = self._working()
        for port_id in sorted(program.reached_through(port_ids)):
            port = program.local_port(port_id)
            key = program.port_key(port_id) if port is not None else None
            if places := port_keys.to_record(session.view, port_id, port, key):
                self._to_record |= places
                self._record.set()
            if port is not None and program.is_attached(port_id):
                if port_id not in self._plugged:
                    self._plugged.add(port_id)
                    self._events.plugged(port_id)
            elif port_id in self._plugged:
                self._plugged.discard(port_id)
                self._events.unplugged(port_id)
        self._advertiser.look(program, is_complete=self._removes)

    def _ports_of(self, updates: Sequence[SectionUpdate]) -> set[PortId]:
        touched: set[PortId] = set()
        for update in updates:
            if update.base is None and goal_state.is_of_network(update.key):
                touched |= self._plugged  # a full section also says what is gone, by silence
            if isinstance(update.change, NetworkChange):
                touched.update(port.id for port in update.change.set_ports)
                touched.update(update.change.gone_ports)
        return touched

    def _refusals(
        self, state: HostState, updates: Sequence[SectionUpdate], refused: Sequence[RefusedByBridge]
    ) -> list[Refusal]:
        found = {bad.key: bad for bad in blame.refusals(refused, updates)} if refused else {}
        found |= {bad.key: bad for bad in refusal.refusals(state, updates)}
        return [found[key] for key in sorted(found)]
