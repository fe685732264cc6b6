"""The agent of one host: keeps one stream to its controller and its data plane in agreement with what is sent.

    channel -> read -> waiting (bounded) -> one loop: Applier (inbox, journal, data plane) -> acknowledgements
    data plane events ----------------------^  lost, ready          plugged, unplugged -> Plugs, once a turn

It talks to the controller only while the data plane is known to hold the state: a stream that exists says
that what Hello named is in force (law 1). When the data plane is lost the stream ends at once; when it is ready
again it is synchronised first. Without a controller all stays as it is, and workloads are still plugged
(law 6).
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence

import alcor
from alcor.contracts import agent_channel
from alcor.contracts.agent_channel import (
    PROTOCOL,
    Acknowledgement,
    Announce,
    Channel,
    Compare,
    Hello,
    Probe,
    Probed,
    Rescue,
    RescueEnd,
    RescueOutcome,
    RescueRenewal,
    RescueReport,
    Unknown,
    Update,
    Welcome,
)
from alcor.contracts.data_plane import DataPlane, HostFacts
from alcor.contracts.queue import AgentQueue
from alcor.host_agent import inbox, reporter, session, settings
from alcor.host_agent.applier import Applier, Received
from alcor.host_agent.held_turns import HeldTurns
from alcor.host_agent.journal import Journal
from alcor.host_agent.neighbours import Neighbours
from alcor.host_agent.queue_link import QueueLink
from alcor.host_agent.reporter import PlugReport
from alcor.host_agent.rescue_duty import NeighborHelp, RescueDuty
from alcor.host_agent.session import Other, Session
from alcor.host_agent.settings import AgentTiming
from alcor.host_agent.waiting_updates import WaitingUpdates
from alcor.model import errors
from alcor.model.ids import HostId, PortId, Vni
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.growth import Growth

TAKE_OVER_S = 15.0  # from the controller's grant until a data plane that another wrote to is ours

Connect = Callable[[str], Awaitable[Channel]]


class Agent:
    """Owner of the stream, of the updates waiting, and of the data plane's life."""

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
        self._facts = facts
        self._zone = zone
        self._data_plane = data_plane
        self._journal = journal
        self._connect = connect
        self._clock = clock
        self._log = log
        self._urls = tuple(urls)
        self._timing = timing
        self._help = help_of
        self._rescue = rescue
        self._link: QueueLink | None = None
        self._agent_queue = agent_queue
        self._without_stream = asyncio.Event()  # no stream could be had
        self._no_session = asyncio.Event()
        self._no_session.set()
        self._started_at = clock.now_us()
        self._applier = Applier(data_plane, journal, clock, log, timing)
        self._plugs = PlugReport()
        self._neighbours = Neighbours()
        self._session: Session | None = None
        self._newest_epoch = 0  # of the controllers heard by this process
        self._waiting = WaitingUpdates()
        self._heard_at_s = 0.0
        self._wake = asyncio.Event()
        self._ready = False  # the data plane answers
        self._in_force = asyncio.Event()  # and holds the state, but for what it refuses
        self._fenced_by = ""  # who writes to it instead of us, until the controller grants a newer token
        self._presentable = asyncio.Event()  # in force, or fenced: either is worth a Hello
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
                tasks.create_task(self._stay_connected(), name="agent_connect")
                tasks.create_task(self._audit_for_ever(), name="agent_audit")
                if self._agent_queue is not None:
                    link = QueueLink(self._facts.host, self._agent_queue, self._take_beside, self._clock)
                    self._link = link
                    tasks.create_task(link.pass_on(), name="agent_queue_beside")
                    tasks.create_task(self._stay_at_queue(link), name="agent_queue")
        finally:
            if self._retry_timer is not None:
                self._retry_timer.cancel()
            if self._help is not None:
                await self._help.close()
            await self._data_plane.close()
            self._journal.close()

    # What the data plane tells (contracts.data_plane.DataPlaneEvents).

    def plugged(self, port_id: PortId) -> None:
        self._note_plug(port_id, is_plugged=True)

    def unplugged(self, port_id: PortId) -> None:
        self._note_plug(port_id, is_plugged=False)

    def unknown(self, vni: Vni, ip: bytes) -> bool:
        if self._session is None or not self._session.introduced:
            return False
        is_first = not self._neighbours.has_questions
        is_worth_waiting = self._neighbours.want(vni, ip, self._clock.monotonic_s())
        if is_first and self._neighbours.has_questions:
            asyncio.get_running_loop().call_soon(self._ask)
        return is_worth_waiting

    def announced(self, port_id: PortId, ip: bytes) -> None:
        if self._session is not None and self._session.introduced:
            self._session.send(Announce(port_id, ip))

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
        self._log.warning("fenced", host=self._facts.host, writer=writer)
        self._fenced_by = writer
        self._applier.forget()
        if self._link is not None:
            self._link.supersede()
        self._presentable.set()
        self._wake.set()

    @property
    def heard_at_s(self) -> float:
        """When the controller served us last, by the loop's clock; 0 before it ever did."""
        if self._session is not None:
            self._heard_at_s = max(self._heard_at_s, self._session.heard_at_s)
        return self._heard_at_s

    # Connecting and reading.

    async def _stay_connected(self) -> None:
        attempt = dialled = 0
        if not self._urls:
            self._without_stream.set()
        while self._urls:
            await self._presentable.wait()
            url = self._urls[
                dialled % len(self._urls)
            ]  # each in its turn: one that welcomes may be the wrong one
            dialled += 1
            try:
                channel = await self._connect(url)
            except errors.Unavailable as error:
                self._log.debug("controller_away", host=self._facts.host, url=url, reason=error.message)
                attempt += 1
            else:
                self._without_stream.clear()
                await self._leave_queue()
                begun_s = self._clock.monotonic_s()
                is_welcomed = await self._converse(channel, url)
                # Without another path there is nothing to stay with meanwhile.
                lasted_s = self._clock.monotonic_s() - begun_s if self._link is not None else math.inf
                attempt = session.next_attempt(
                    attempt, lasted_s=lasted_s, is_welcomed=is_welcomed, timing=self._timing
                )
            self._without_stream.set()
            await asyncio.sleep(session.reconnect_delay_s(self._facts.host, attempt, self._timing))

    async def _stay_at_queue(self, link: QueueLink) -> None:
        """Speak over the queue as long as there is no stream."""
        timing = self._timing.over_queue()
        while True:
            await self._without_stream.wait()
            await self._presentable.wait()
            if link.is_up:
                await link.catch_up()
            if link.is_up and self._without_stream.is_set() and self._presentable.is_set():
                await self._converse(link.open(), "the queue", timing, is_shared=True)
            await asyncio.sleep(self._timing.queue_retry_s)

    async def _leave_queue(self) -> None:
        """End the session over the queue: there is a stream again."""
        if self._session is not None:
            self._session.close("there is a stream")
        await self._no_session.wait()

    async def _converse(
        self, channel: Channel, url: str, timing: AgentTiming | None = None, *, is_shared: bool = False
    ) -> bool:
        """Keep one stream until it ends. True when the controller had welcomed us."""
        current = Session(
            self._facts.host,
            channel,
            timing or self._timing,
            lambda: self._applier.held_mark,
            newest_epoch=self._epoch_known(),
            is_shared=is_shared,
        )
        self._session = current
        self._no_session.clear()
        self._wake.set()  # Hello is sent from the loop, between two changes of the state
        try:
            reason = await current.read(
                on_update=self._take_update,
                on_other=self._hear,
            )
        finally:
            self._heard_at_s = self.heard_at_s
            self._newest_epoch = max(self._newest_epoch, current.newest_epoch)
            self._session = None
            self._no_session.set()
            if self._link is not None:
                self._link.end()
            self._neighbours.forget()
            self._waiting.forget()  # not acknowledged: the controller finds out by our next Hello
        self._log.info("controller_left", host=self._facts.host, url=url, reason=reason)
        return current.welcomed

    def _epoch_known(self) -> int:
        """Give the newest term of a controller that is known: heard, held, or recorded in the data plane.

        The last tells an agent without a journal that an old controller is not to be served by.
        """
        held = inbox.newest(self._applier.state).epoch
        heard = self._session.newest_epoch if self._session is not None else 0
        return max(self._newest_epoch, heard, held, agent_channel.epoch_of(self._data_plane.token))

    async def _take_update(self, update: Update, frame: bytes) -> None:
        await self._waiting.add(Received(update, frame))
        self._wake.set()

    async def _take_beside(self, update: Update, frame: bytes) -> None:
        """Take what came by the queue, but nothing kept that may be older than what the data plane still does.

        What was kept for this agent since its last session is newer than all it knows. Of anything else it can
        tell only by the version that it held of that section.
        """
        assert self._link is not None, "frames beside a session come by the queue"
        if 0 < update.epoch < self._epoch_known():
            return  # of a controller that another has taken over from
        granted = agent_channel.epoch_of(self._data_plane.token)
        if 0 < granted < update.epoch:
            return  # of a newer controller, which has granted no token yet: Hello brings both
        is_newer = self._is_introduced or self._link.was_kept_since_last_session(update)
        if is_newer or self._applier.knows(section.key for section in update.sections):
            await self._take_update(update, frame)

    @property
    def _is_introduced(self) -> bool:
        return self._session is not None and self._session.introduced

    def _take_unknown(self, answer: Unknown) -> None:
        self._neighbours.heard(answer, self._clock.monotonic_s())

    def _ask(self) -> None:
        for ask in self._neighbours.take():
            if self._session is not None and self._session.introduced:
                self._session.send(ask)

    def _hear(self, message: Other) -> None:
        match message:
            case Welcome(token=token):
                if token:
                    self._data_plane.grant(token)
                if self._fenced_by and self._session is not None:
                    current = self._session
                    asyncio.get_running_loop().call_later(TAKE_OVER_S, self._give_up, current)
            case Rescue():
                if self._help is not None:
                    self._help.order(message, self._report)
                else:
                    why = "it has no certificate"
                    self._report(RescueReport(message.target, message.token, RescueOutcome.REFUSED, why))
            case RescueRenewal():
                if self._help is not None:
                    self._help.renew(message)
            case RescueEnd():
                if self._help is not None:
                    self._help.end(message)
            case Probe():
                if self._help is not None:
                    self._help.probe(message, self._report)
                else:
                    self._report(Probed(message.target, message.number, 0, "it has no certificate"))
            case Unknown():
                self._take_unknown(message)
            case Compare():
                self._held_turns.asked()
                self._wake.set()

    def _report(self, report: RescueReport | Probed) -> None:
        if self._session is not None and self._session.introduced:
            self._session.send(report)

    def _give_up(self, current: Session) -> None:
        if self._session is current and not self._in_force.is_set():
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
            if self._fenced_by and not self._is_introduced:
                self._waiting.forget()  # kept by the queue, and not named in this Hello
                self._introduce()
            return
        self._leave_older_controller()
        while self._waiting and not self._is_introduced and self._in_force.is_set():
            await self._apply_waiting()  # kept by the queue: Hello names it
        self._introduce()
        if self._waiting:
            await self._apply_waiting()
        elif self._retry_due:
            self._send([await self._applier.retry_refused()])
        self._retry_due = False
        self._tell_held()

    def _tell_held(self) -> None:
        current = self._session
        may_tell = current is not None and current.introduced and self._in_force.is_set()
        holds = self._held_turns.take(may_tell=may_tell)
        if holds is not None and current is not None:
            current.send(holds)

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
        self._log.info("data_plane_synchronised", host=self._facts.host, refused=self._applier.refused)
        self._send([news])

    def _leave_older_controller(self) -> None:
        """End a session whose controller is older than the one that the data plane was last written to for.

        That one is found out about when a lapsed record is passed: after the Hello that should have named it.
        """
        current = self._session
        if current is not None and current.introduced and current.is_open:
            recorded = agent_channel.epoch_of(self._data_plane.token)
            if recorded > current.newest_epoch:
                current.close(f"the data plane was written to for a controller of epoch {recorded}")
                self._newest_epoch = max(self._newest_epoch, recorded)
                self._waiting.forget()

    async def _apply_waiting(self) -> None:
        newest = self._epoch_known()  # what came before a newer controller was heard is not taken any more
        batch = [one for one in self._waiting.take() if not 0 < one.update.epoch < newest]
        answers = await self._applier.apply(batch)
        self._neighbours.arrived(self._applier.state, [one.update for one in batch])
        if self._in_force.is_set():
            self._send(answers)  # to the stream they came by: another one is introduced only by this loop
        await self._applier.compact()

    def _introduce(self) -> None:
        current = self._session
        if current is None or current.introduced or not current.is_open:
            return
        self._plugs.take()
        current.newest_epoch = self._epoch_known()
        is_known = self._in_force.is_set()  # if not, another writes: we claim nothing (law 1)
        current.introduce(
            Hello(
                protocol=PROTOCOL,
                host=self._facts.host,
                vtep=self._facts.vtep,
                zone=self._zone,
                data_plane=self._data_plane.name,
                agent_version=alcor.__version__,
                started_at=self._started_at,
                held=self._applier.held() if is_known else (),
                plugged=tuple(self._data_plane.plugged_ports()) if is_known else (),
                learned=reporter.learned(self._applier.state),
                rescuer=self._rescue.rescuer if self._rescue is not None else HostId(""),
                token=self._rescue.token if self._rescue is not None else 0,
                helps=self._help is not None,
                helped=self._help.helped() if self._help is not None else (),
                session=self._link.begin() if self._link is not None else 0,
                queue=self._link is not None,
                epoch=self._epoch_known(),
                warrant=self._rescue.warrant if self._rescue is not None else b"",
                anew=self._plugs.anew(self.heard_at_s) if is_known else (),
                public_key=self._help.public_key if self._help is not None else b"",
                reads_packed=True,
            )
        )

    def _send(self, answers: Sequence[Acknowledgement | None]) -> None:
        if self._session is None or not self._session.introduced:
            return
        for answer in answers:
            if answer is not None:
                self._session.send(answer)

    def _data_plane_failed(self, reason: str) -> None:
        """Nothing is known to be in force: end the stream at once."""
        self._in_force.clear()
        if not self._fenced_by:  # else a call that ends late would keep us from asking for a newer token
            self._presentable.clear()
        self._log.warning("data_plane_lost", host=self._facts.host, reason=reason)
        if self._session is not None:
            self._session.close(f"the data plane is lost: {reason}")

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
        if plugs is not None and self._session is not None and self._session.introduced:
            self._session.send(plugs)
