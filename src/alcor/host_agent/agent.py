"""The agent of one host: keeps one stream to its controller and its data plane in agreement with what is sent.

    connections -> waiting (bounded) -> one loop: Applier (inbox, journal, data plane) -> acknowledgements
    data plane events ----------------------^  lost, ready          plugged, unplugged -> Plugs, once a turn

It talks to the controller only while the data plane is known to hold the state: a stream that exists says
that what Hello named is in force (law 1). When the data plane is lost the stream ends at once; when it is ready
again it is synchronised first. Without a controller all stays as it is, and workloads are still plugged
(law 6).
"""

import asyncio
from collections.abc import Iterable, Sequence

from alcor.contracts import agent_channel
from alcor.contracts.agent_channel import (
    Acknowledgement,
    Announce,
    Compare,
    Probe,
    Rescue,
    RescueEnd,
    RescueRenewal,
    Unknown,
    Update,
    Welcome,
)
from alcor.contracts.data_plane import DataPlane, HostFacts
from alcor.contracts.queue import AgentQueue
from alcor.host_agent import inbox, reporter, settings
from alcor.host_agent.applier import Applier, Received
from alcor.host_agent.connections import Connect, Connections
from alcor.host_agent.held_turns import HeldTurns
from alcor.host_agent.journal import Journal
from alcor.host_agent.neighbours import Neighbours
from alcor.host_agent.reporter import PlugReport
from alcor.host_agent.rescue_duty import NeighborHelp, NoHelp, RescueDuty
from alcor.host_agent.session import Other, Session
from alcor.host_agent.settings import AgentTiming
from alcor.host_agent.waiting_updates import WaitingUpdates
from alcor.model import errors
from alcor.model.goal_state import SectionKey
from alcor.model.ids import PortId, Vni
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.growth import Growth

TAKE_OVER_S = 15.0  # from the controller's grant until a data plane that another wrote to is ours


class Agent:
    """Owner of the updates waiting, and of the data plane's life. Implements `connections.Conversation`."""

    def __init__(
        self,
        facts: HostFacts,
        zone: str,
        data_plane: DataPlane,
        journal: Journal,
        connect: Connect,
        clock: Clock,
        log: EventLog,
        *,
        urls: Sequence[str],
        timing: AgentTiming = settings.USUAL,
        help_of: NeighborHelp | None = None,
        rescue: RescueDuty | None = None,
        agent_queue: AgentQueue | None = None,
    ) -> None:
        """`help_of`: rescues neighbours by order. `rescue`: this agent is itself such a rescue."""
        log = log.about(host_id=facts.host)
        self._facts = facts
        self._zone = zone
        self._data_plane = data_plane
        self._journal = journal
        self._clock = clock
        self._log = log
        self._timing = timing
        self._help = help_of or NoHelp()
        self._rescue = rescue
        self._started_at = clock.now_us()
        self._applier = Applier(data_plane, journal, clock, log, timing)
        self._plugs = PlugReport()
        self._neighbours = Neighbours()
        self._waiting = WaitingUpdates()
        self._wake = asyncio.Event()
        self._ready = False  # the data plane answers
        self._in_force = asyncio.Event()  # and holds the state, but for what it refuses
        self._fenced_by = ""  # who writes to it instead of us, until the controller grants a newer token
        self._presentable = asyncio.Event()  # in force, or fenced: either is worth a Hello
        self._connections = Connections(
            facts.host,
            connect,
            clock,
            log,
            urls=urls,
            timing=timing,
            agent_queue=agent_queue,
            presentable=self._presentable,
            whose=self,
        )
        self._disturbances = 0  # how often it was lost or asked to be synchronised
        self._retry_timer: asyncio.TimerHandle | None = None
        self._retry_due = False
        self._held_turns = HeldTurns(self._applier)
        self._growth = Growth(log, "packets_dropped")

    async def run(self) -> None:
        """Work until cancelled; then let go of everything and leave forwarding as it is.

        Raises Unavailable when the journal cannot be used. Any other exception is a broken assumption.
        """
        try:
            self._applier.load()
            await self._data_plane.start(self)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._apply_for_ever(), name="agent_apply")
                tasks.create_task(self._audit_for_ever(), name="agent_audit")
                self._connections.start(tasks)
        finally:
            if self._retry_timer is not None:
                self._retry_timer.cancel()
            await self._help.close()
            await self._data_plane.close()
            self._journal.close()

    # What the data plane tells (contracts.data_plane.DataPlaneEvents).

    def plugged(self, port_id: PortId) -> None:
        self._note_plug(port_id, is_plugged=True)

    def unplugged(self, port_id: PortId) -> None:
        self._note_plug(port_id, is_plugged=False)

    def unknown(self, vni: Vni, ip: bytes) -> bool:
        if not self._connections.is_introduced:
            return False
        is_first = not self._neighbours.has_questions
        is_worth_waiting = self._neighbours.want(vni, ip, self._clock.monotonic_s())
        if is_first and self._neighbours.has_questions:
            asyncio.get_running_loop().call_soon(self._ask)
        return is_worth_waiting

    def announced(self, port_id: PortId, ip: bytes) -> None:
        self._connections.tell(Announce(port_id, ip))

    def lost(self, reason: str) -> None:
        self._ready = False
        self._disturbances += 1
        self._data_plane_failed(reason)

    def ready(self) -> None:
        self._ready = True
        self._fenced_by = ""
        self._disturbances += 1
        if self._in_force.is_set():
            self._data_plane_failed("it asks to be synchronised")
        self._wake.set()

    def fenced(self, writer: str) -> None:
        if self._rescue is not None:
            self._rescue.over(f"'{writer}' took over")
            return
        self._log.warning("fenced", by=writer)
        self._fenced_by = writer
        self._applier.forget()
        self._connections.supersede()
        self._presentable.set()
        self._wake.set()

    @property
    def heard_at_s(self) -> float:
        """When the controller served us last, by the loop's clock; 0 before it ever did."""
        return self._connections.heard_at_s

    # What the connections ask and tell (connections.Conversation).

    def begun(self) -> None:
        self._wake.set()  # Hello is sent from the loop, between two changes of the state

    def ended(self) -> None:
        self._neighbours.forget()
        self._waiting.forget()  # not acknowledged: the controller finds out by our next Hello

    @property
    def held_mark(self) -> bytes:
        return self._applier.held_mark

    @property
    def held_epoch(self) -> int:
        return inbox.newest(self._applier.state).epoch

    @property
    def recorded_epoch(self) -> int:
        return agent_channel.epoch_of(self._data_plane.token)

    def knows(self, keys: Iterable[SectionKey]) -> bool:
        return self._applier.knows(keys)

    async def take(self, update: Update, frame: bytes) -> None:
        await self._waiting.add(Received(update, frame))
        self._wake.set()

    def _take_unknown(self, answer: Unknown) -> None:
        self._neighbours.heard(answer, self._clock.monotonic_s())

    def _ask(self) -> None:
        for ask in self._neighbours.take():
            self._connections.tell(ask)

    def hear(self, message: Other) -> None:
        match message:
            case Welcome(token=token):
                if token:
                    self._data_plane.grant(token)
                if self._fenced_by and (current := self._connections.current) is not None:
                    asyncio.get_running_loop().call_later(TAKE_OVER_S, self._give_up, current)
            case Rescue():
                self._help.order(message, self._connections.tell)
            case RescueRenewal():
                self._help.renew(message)
            case RescueEnd():
                self._help.end(message)
            case Probe():
                self._help.probe(message, self._connections.tell)
            case Unknown():
                self._take_unknown(message)
            case Compare():
                self._held_turns.asked()
                self._wake.set()

    def _give_up(self, current: Session) -> None:
        if self._connections.current is current and not self._in_force.is_set():
            current.close("the data plane was not taken over in time")

    # The one loop that changes the state: events only wake it, it compares wanted with held.

    async def _apply_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._cycle()
            except errors.Unavailable as error:
                self._data_plane_failed(error.message)
                asyncio.get_running_loop().call_later(self._timing.data_plane_retry_s, self._wake.set)
            self._schedule_retry()

    async def _cycle(self) -> None:
        if self._ready and not self._in_force.is_set():
            await self._synchronise()
        if not self._in_force.is_set():
            if self._fenced_by and not self._connections.is_introduced:
                self._waiting.forget()  # kept by the queue, and not named in this Hello
                self._introduce()
            return
        if self._connections.leave_older_controller():
            self._waiting.forget()
        while self._waiting and not self._connections.is_introduced and self._in_force.is_set():
            await self._apply_waiting()  # kept by the queue: Hello names it
        self._introduce()
        if self._waiting:
            await self._apply_waiting()
        elif self._retry_due:
            self._send([await self._applier.retry_refused()])
        self._retry_due = False
        self._tell_held()

    def _tell_held(self) -> None:
        holds = self._held_turns.take(may_tell=self._connections.is_introduced and self._in_force.is_set())
        if holds is not None:
            self._connections.tell(holds)

    async def _audit_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._timing.audit_s)
            self._held_turns.due()
            self._wake.set()
            self._growth.look(questions_full=self._neighbours.turned_away)

    async def _synchronise(self) -> None:
        disturbances = self._disturbances
        news = await self._applier.synchronise()
        if disturbances != self._disturbances:
            return  # lost or ready anew in the meantime: that has woken the loop again
        self._in_force.set()
        self._presentable.set()
        self._log.info("data_plane_synchronised", refused=self._applier.refused)
        self._send([news])

    async def _apply_waiting(self) -> None:
        # What came before a newer controller was heard is not taken any more.
        newest = self._connections.epoch_known
        batch = [one for one in self._waiting.take() if not 0 < one.update.epoch < newest]
        answers = await self._applier.apply(batch)
        self._neighbours.arrived(self._applier.state, [one.update for one in batch])
        if self._in_force.is_set():
            self._send(answers)  # to the stream they came by: another one is introduced only by this loop
        await self._applier.compact()

    def _introduce(self) -> None:
        if not self._connections.awaits_hello:
            return
        self._plugs.take()
        hold = reporter.NOTHING  # not in force: another writes, and we claim nothing (law 1)
        if self._in_force.is_set():
            plugged, anew = tuple(self._data_plane.plugged_ports()), self._plugs.anew(self.heard_at_s)
            hold = reporter.Hold(self._applier.held(), plugged, anew)
        self._connections.introduce(
            lambda session: reporter.hello(
                self._facts,
                self._zone,
                data_plane=self._data_plane.name,
                started_at=self._started_at,
                hold=hold,
                learned=reporter.learned(self._applier.state),
                help_of=self._help,
                rescue=self._rescue,
                epoch=self._connections.epoch_known,
                session=session,
                has_queue=self._connections.has_queue,
            )
        )

    def _send(self, answers: Sequence[Acknowledgement | None]) -> None:
        for answer in answers:
            if answer is not None:
                self._connections.tell(answer)

    def _data_plane_failed(self, reason: str) -> None:
        """Nothing is known to be in force: end the stream at once."""
        self._in_force.clear()
        if not self._fenced_by:  # else a call that ends late would keep us from asking for a newer token
            self._presentable.clear()
        self._log.warning("data_plane_lost", reason=reason)
        self._connections.close(f"the data plane is lost: {reason}")

    def _schedule_retry(self) -> None:
        if self._applier.refused and self._retry_timer is None:
            self._retry_timer = asyncio.get_running_loop().call_later(
                self._timing.refused_retry_s, self._retry_now
            )

    def _retry_now(self) -> None:
        self._retry_timer = None
        self._retry_due = True
        self._wake.set()

    def _note_plug(self, port_id: PortId, *, is_plugged: bool) -> None:
        loop = asyncio.get_running_loop()
        if self._plugs.note(port_id, is_plugged=is_plugged, now_s=loop.time(), heard_at_s=self.heard_at_s):
            loop.call_soon(self._tell_plugs)

    def _tell_plugs(self) -> None:
        plugs = self._plugs.take()  # without a session the next Hello names what is plugged then
        if plugs is not None:
            self._connections.tell(plugs)
