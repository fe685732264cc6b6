"""The Open vSwitch data plane: keeps one bridge in step with the host's goal state.

agent --synchronise, apply--> turns --+--> flow table --bundle--> ovs-vswitchd
OVSDB monitor --attachments touched---+
drift, every 10 s --------------------+
ovs-vswitchd --packets--> hand over --packet out--> ovs-vswitchd

What it works on is held by `tenure`; keys of ports are recorded, and rest, in `port_keys`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from alcor.contracts.data_plane import DataPlaneEvents, HostFacts, Refusal
from alcor.data_plane.ovs import blame, endpoint, flow_changes
from alcor.data_plane.ovs.endpoint import SwitchEndpoints
from alcor.data_plane.ovs.fence import Bid, Recorded
from alcor.data_plane.ovs.flow_table import RefusedByBridge
from alcor.data_plane.ovs.hand_over import HandedOver
from alcor.data_plane.ovs.port_keys import KeyRecorder, RestingZones
from alcor.data_plane.ovs.session import Session
from alcor.data_plane.ovs.setup import Exposure
from alcor.data_plane.ovs.tenure import Tenure
from alcor.data_plane.ovs.turns import Turns
from alcor.data_plane.pipeline import refusal
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.model import goal_state
from alcor.model.errors import AlcorError, Unavailable
from alcor.model.goal_state import HostState, NetworkChange, SectionUpdate
from alcor.model.ids import PortId
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog
from alcor.runtime.growth import Growth
from alcor.runtime.supervision import Failure, Supervisor

BRIDGE = "br-int"
DRIFT_EVERY_S = 10.0


class OvsDataPlane:
    """Implements `contracts.data_plane.DataPlane` and `tenure.Tenant`. Owner of the program and of plugs.

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
        drift_every_s: float = DRIFT_EVERY_S,
    ) -> None:
        log = log.about(host_id=facts.host)
        self._facts = facts
        self._endpoints = endpoint.local(place, bridge) if isinstance(place, Path) else place
        self._exposure = exposure
        self._log = log
        self._drift_every_s = drift_every_s
        self._bridge = bridge
        self._clock = SystemClock()
        self._supervisor = Supervisor(log, failure=failure)
        self._turns = Turns()
        self._growth = Growth(log, "packets_dropped")
        self._tenure: Tenure[Session] = Tenure(
            bid or Bid(0, facts.host),
            facts.host,
            open_session=self._open_session,
            tenant=self,
            supervisor=self._supervisor,
            log=log,
        )
        self._hand_over = HandedOver(facts, self._clock, log)
        self._key_recorder = KeyRecorder(lambda: self._tenure.session, log)
        self._resting_zones = RestingZones(log)
        self._events: DataPlaneEvents
        self._program: FlowProgram | None = None
        self._tunnel_port = 0
        self._in_step = False  # `synchronise` succeeded in this session
        self._removes = False  # and the state was complete
        self.holds_more = False  # and it was not, and there was more
        self._touched: set[PortId] = set()
        self._woken = asyncio.Event()
        self._plugged: set[PortId] = set()

    # -- contract

    async def start(self, events: DataPlaneEvents) -> None:
        """Begin to connect and to watch."""
        self._events = events
        self._supervisor.start("ovs turns", self._turns.run())
        self._hand_over.start(events, self._supervisor)
        self._supervisor.start("ovs attachments", self._follow_attachments())
        self._supervisor.start("ovs port keys", self._key_recorder.run())
        self._supervisor.start("ovs zones", self._resting_zones.run(self._empty_zones_in_turn))
        self._supervisor.start("ovs drift", self._watch_drift())
        self._tenure.start()

    async def synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        """Read back, compare by cookie, change only what differs; established connections go on."""
        return await self._turns.take(lambda: self._synchronise(state, remove=remove))

    async def apply(self, state: HostState, updates: Sequence[SectionUpdate]) -> Sequence[Refusal]:
        """Put updates in force in one atomic bundle."""
        return await self._turns.take(lambda: self._apply(state, updates))

    def grant(self, token: int) -> None:
        """Claim the switch under this token, or under the newest one granted."""
        self._tenure.grant(token)

    @property
    def token(self) -> int:
        """Give the token that the database records for this writer; 0 while there is no session."""
        return self._tenure.token

    def plugged_ports(self) -> Sequence[PortId]:
        """Name the ports known here whose workload is attached, sorted."""
        return sorted(self._plugged)

    async def close(self) -> None:
        """Let go of both connections; the switch forwards on."""
        await self._supervisor.close()
        self._hand_over.let_go()
        self._tenure.close()

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
        self.holds_more = repair.left > 0
        self._resting_zones.found(program, repair.port_keys)
        self._hand_over.succeed(program, repair.legs)
        self._log.info("flows_synchronised", **repair.figures)
        self._hand_over.go_on()
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
        self._resting_zones.follow(program)
        self._hand_over.go_on()
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
        self._hand_over.meet(program.reached_through(anew))
        self._report(port_id for port_id in touched if port_id not in words)

    async def _repair_drift(self) -> None:
        session, program = self._working()
        if not self._in_step:
            return
        repair = await session.table.repair(program.wanted(), remove=self._removes)
        if any(repair.figures.values()):
            self._log.warning("drift_repaired", **repair.figures)

    async def _empty_zones(self) -> bool:
        session, program = self._working()
        if not self._removes:
            return False  # the state may not be complete: what it does not name still forwards
        return await self._resting_zones.empty_some(program, session.switch)

    # -- loops

    async def _empty_zones_in_turn(self) -> bool:
        return await self._turns.take(self._empty_zones)

    async def _follow_attachments(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._tenure.session is None or not self._in_step:
                continue
            try:
                await self._turns.take(self._attach)
            except AlcorError as error:
                self._log.info("plug_delayed", reason=error.message)

    async def _watch_drift(self) -> None:
        while True:
            await asyncio.sleep(self._drift_every_s)
            self._growth.look(**self._hand_over.dropped)
            if self._tenure.session is None or not self._in_step:
                continue
            try:
                await self._turns.take(self._repair_drift)
            except AlcorError as error:
                self._log.info("drift_not_checked", reason=error.message)

    # -- tenure

    async def _open_session(self, bid: Bid, *, lapsed: Recorded | None, lost: Callable[[str], None]) -> Session:
        session = Session(
            self._bridge,
            bid,
            exposure=self._exposure,
            on_packet=self._hand_over.put,
            on_attachments=self._touch,
            on_lost=lost,
        )
        is_open = False
        try:
            await session.open(self._endpoints, lapsed=lapsed)
            is_open = True
        finally:
            if not is_open:  # also when we are told to stop meanwhile
                session.close()
        return session

    def taken(self, session: Session) -> None:
        """Work with this session from now on."""
        if self._program is None or self._tunnel_port != session.tunnel_port:
            # Keys on the interfaces keep the conntrack zones, and so the connections, of a former agent.
            recorded = {
                port_id: attachment.key
                for port_id, attachment in session.view.attachments().items()
                if attachment.key is not None
            } | session.view.sub_port_keys()
            known = dict(self._program.port_keys) if self._program is not None else {}
            self._program = FlowProgram(self._facts, session.tunnel_port, self._hand_over.retold)
            self._program.seed_port_keys(known | recorded)
            self._resting_zones.begin(self._program)
            self._tunnel_port = session.tunnel_port
        self._hand_over.take(self._program, session.switch)

    def ready(self) -> None:
        """Say that the switch may be written to."""
        self._events.ready()

    def fenced(self, writer: str) -> None:
        """Say who else writes."""
        self._events.fenced(writer)

    def lost(self, reason: str) -> None:
        """Wait for another session."""
        self._in_step = False
        self._hand_over.let_go()
        self._events.lost(reason)

    # -- callbacks of the session; none of them blocks

    def _touch(self, port_ids: set[PortId]) -> None:
        self._touched |= port_ids
        self._woken.set()

    # -- what became of it

    async def _working_as_granted(self) -> tuple[Session, FlowProgram]:
        """Claim first what was granted: what a newer controller sent is written under its token only."""
        await self._tenure.claim()
        return self._working()

    def _working(self) -> tuple[Session, FlowProgram]:
        if self._tenure.session is None or self._program is None:
            raise Unavailable("the switch does not answer", retry_after_s=0.2)
        return self._tenure.session, self._program

    def _report(self, port_ids: Iterable[PortId]) -> None:
        """Tell what is plugged now of these ports, and note keys that are not on the interface yet."""
        session, program = self._working()
        for port_id in sorted(program.reached_through(port_ids)):
            port = program.local_port(port_id)
            key = program.port_key(port_id) if port is not None else None
            self._key_recorder.note(session.view, port_id, port, key)
            if port is not None and program.is_attached(port_id):
                if port_id not in self._plugged:
                    self._plugged.add(port_id)
                    self._events.plugged(port_id)
            elif port_id in self._plugged:
                self._plugged.discard(port_id)
                self._events.unplugged(port_id)
        self._hand_over.look(program, is_complete=self._removes)

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
