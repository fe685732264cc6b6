"""The controller: from committed changes to sections on hosts, and back to the truth about them.

store --Change--> intake --> compiler --> ledger (receipt opened)
                                |-------> streams of the hosts concerned --flush--> agents
agents --acknowledgements, plugs--> ledger --> convergence (those who wait)
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from alcor.contracts import received
from alcor.contracts.agent_channel import (
    BEAT_HEAD,
    BEAT_S,
    PROTOCOL,
    WANTS_MAX,
    Acknowledgement,
    Announce,
    Ask,
    Beat,
    Channel,
    Compare,
    Farewell,
    FromAgent,
    Hello,
    Holds,
    Pace,
    Plugs,
    Probe,
    Probed,
    Release,
    Rescue,
    RescueEnd,
    RescueRenewal,
    RescueReport,
    Welcome,
)
from alcor.contracts.audit import Entry
from alcor.contracts.convergence import NetworkProgress, ResyncProgress
from alcor.contracts.queue import GoalQueue
from alcor.contracts.store import Change, Store
from alcor.control_plane import convergence, introductions
from alcor.control_plane.announcements import Announcements
from alcor.control_plane.compiler.incremental import Compiled, IncrementalCompiler
from alcor.control_plane.convergence import RegionConvergence
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.admission import Admission
from alcor.control_plane.delivery.agreement import Agreement
from alcor.control_plane.delivery.flusher import Flusher
from alcor.control_plane.delivery.full_sections import FullSections
from alcor.control_plane.delivery.ledger import Ledger
from alcor.control_plane.delivery.look_ups import LookUps
from alcor.control_plane.delivery.path_choice import Asked
from alcor.control_plane.delivery.paths import HostSession, Paths
from alcor.control_plane.delivery.queue_path import QueueChannel, QueuePath
from alcor.control_plane.delivery.resync import ResyncLimits
from alcor.control_plane.delivery.resync_view import ResyncView
from alcor.control_plane.delivery.sessions import Sessions
from alcor.control_plane.health.probes import Probes
from alcor.control_plane.health.rescue import NO_POWERS, Powers, Rescues
from alcor.control_plane.health.rescue_trail import RescueTrail
from alcor.control_plane.health.watch import Heard, Watch
from alcor.control_plane.intake import Intake
from alcor.control_plane.introductions import Introductions
from alcor.control_plane.port_watch import Nobody, PortWatcher
from alcor.control_plane.region import OnDemandBounds, Region
from alcor.control_plane.speakers import Speaker
from alcor.model import errors
from alcor.model.goal_state import HostState, SectionKey
from alcor.model.ids import HostId, NetworkId, PortId
from alcor.runtime import supervision
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

KNOWN_TIMEOUT_S = 10.0  # from a commit of what an agent says until it is seen here
BEAT_PARTS = 10  # in each beat's time, a part of the agents hears it

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[FromAgent] = msgspec.msgpack.Decoder(FromAgent)


class Controller:
    """Owner of the region in memory, the ledger and the agents' streams."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        log: EventLog,
        *,
        on_demand: OnDemandBounds = OnDemandBounds(),  # noqa: B008 - frozen
        queue: GoalQueue | None = None,
        resync: ResyncLimits = ResyncLimits(),  # noqa: B008 - frozen
        powers: Powers = NO_POWERS,
        audit: Callable[[Entry], None] | None = None,
        watcher: PortWatcher | None = None,
        failure: Failure | None = None,
    ) -> None:
        """`powers`: of all controllers of a region, and of nobody else.

        `failure`: of the process; None: one of its own.
        """
        self._store = store
        self._clock = clock
        self._log = log
        self._powers = powers
        self._audit = audit or (lambda entry: None)
        self.failed = failure or Failure()
        self._supervisor = Supervisor(log, failure=self.failed)
        self.region = Region(on_demand)
        self._watcher = watcher or Nobody()
        self._compiler = IncrementalCompiler(self.region)
        self._full = FullSections(self.region, self._compiler.interest)
        self.look_ups = LookUps(self.region, self._compiler.interest, clock, log)
        self._announcements = Announcements(self.region, store, clock, log, self._know)
        self._followers: list[Callable[[Change], None]] = []
        self._streams: dict[HostId, HostSession] = {}
        self._queue_path = (
            QueuePath(queue, self.serve_channel, log, failure=self.failed) if queue is not None else None
        )
        self._flusher = Flusher(lambda stream: self._streams.get(stream.host) is stream)
        self._paths = Paths(self._streams, self._queue_path)
        self._admission = Admission(self.region, self._compiler.interest, clock, resync)
        self._resync_view = ResyncView(self.region, self._compiler.interest, self._streams, self._admission)
        self._channels: dict[Channel, Speaker] = {}  # in the order of coming: all served, welcomed or not
        self._introductions = Introductions(store, clock, self.region, self._know)
        self.epoch = 0
        self._ledger = Ledger(epoch=0)
        self._sessions = self._new_sessions()
        self._rescues = self._new_rescues()
        self._watch = Watch(self._streams, clock, ask=self._probe, lost=self._silent, tell=self._tell_pace)
        self._agreement = Agreement(
            self._streams,
            self._compiler.interest,
            self._full,
            clock,
            log,
            ask=lambda session: session.channel.send(_encoder.encode(Compare())),
        )
        self._probes = Probes(
            self.region,
            clock,
            send=self._tell_agent,
            answered=self._watch.answered,
            is_late=self._watch.is_late,
        )
        self._convergence = self._new_convergence()
        self._intake: Intake | None = None

    async def start(self) -> None:
        """Begin a term, load everything, and follow the change log. Raises Unavailable."""
        self.epoch = await self._store.begin_epoch()
        self._watcher.begin(self.region, lambda port_id: self._convergence.heard_state(port_id))
        async with self._store.snapshot() as snapshot:
            await self.region.load(snapshot, self._watcher.loaded)
        self._compiler.load()
        self._ledger = Ledger(epoch=self.epoch)
        self._sessions = self._new_sessions()
        self._rescues = self._new_rescues()
        self._convergence = self._new_convergence()
        self._intake = Intake(self._store, self._take, self._log, after=self.region.revision)
        self._store.listen(self.offer)
        if self._queue_path is not None:
            self._queue_path.start(self.epoch)
        self._supervisor.start("intake", self._intake.run())
        self._supervisor.start("announcements", self._announcements.run())
        self._supervisor.start("flusher", self._flusher.run())
        self._supervisor.start("beat", self._beat_for_ever())
        self._supervisor.start("watch", self._watch.run())
        self._supervisor.start("rescues", self._rescues.run())
        self._supervisor.start("missed hosts", self._rescues.open_missed())
        self._log.info(
            "controller_started", epoch=self.epoch, revision=self.region.revision, ports=len(self.region.ports)
        )

    async def stop(self) -> None:
        """End all streams and tasks. Agents keep what they have (law 6)."""
        await self._supervisor.close()
        self._intake = None
        self._convergence.stop()
        farewell = _encoder.encode(Farewell("the controller stops", self.epoch))
        for channel in list(self._channels):
            channel.send(farewell)
            channel.close("the controller stops")
        if self._queue_path is not None:
            await self._queue_path.stop()

    def follow(self, on_change: Callable[[Change], None]) -> None:
        """Call back with every change of every process, in order, as it is taken in."""
        self._followers.append(on_change)

    def offer(self, change: Change) -> None:
        """Hear of a commit; any order, repeated or not."""
        if self._intake is not None:
            self._intake.offer(change)

    def told(self, revision: int) -> None:
        """Hear that another process has committed up to a revision: the log is read at once."""
        if self._intake is not None:
            self._intake.told(revision)

    # Changes

    async def _take(self, changes: list[Change]) -> None:
        if not any(map(path_choice.is_urgent, changes)):
            await self._flusher.caught_up()
        for change in changes:
            for on_change in self._followers:
                on_change(change)
            compiled = self._compiler.fold(change)
            dirty = self._hand_out(compiled)
            own = {port.host for port in change.puts.ports}  # served before those that only reach them
            self._flusher.flush(
                [stream for stream in dirty if stream.host in own],
                [stream for stream in dirty if stream.host not in own],
            )
            self._watcher.changed(change)
            for host in change.deletes.hosts:
                self._removed(host.id)

    def _removed(self, host: HostId) -> None:
        self._paths.removed(host)
        if self._queue_path is not None:
            self._queue_path.away.came(host)
        if (forgotten := self._streams.get(host)) is not None:  # it came while it was forgotten
            forgotten.channel.close("the host's record was removed")

    def _hand_out(self, compiled: Compiled) -> list[HostSession]:
        """Open the receipt, queue the sections and tell those who wait; nothing is awaited in between."""
        change = compiled.change
        self._full.forget(compiled.changed_keys)
        asked = Asked(path_choice.is_urgent(change), len(compiled.hosts))
        self._ledger.concern(
            change.revision,
            change.committed_at,
            {host_id: tuple([section.key for section in given]) for host_id, given in compiled.hosts.items()},
            {host_id: self._paths.choose(host_id, asked) for host_id in compiled.hosts},
        )
        dirty = []
        for host_id, given in compiled.hosts.items():
            stream = self._streams.get(host_id)
            if stream is not None:
                stream.offer(change.revision, given)
                dirty.append(stream)
            elif self._queue_path is not None:
                self._queue_path.away.keep(host_id, change.revision, given)
        for host_id, section in self.look_ups.came(change.puts.ports):
            stream = self._streams.get(host_id)
            if stream is not None:
                stream.learn(section)
                dirty.append(stream)
        self._convergence.ports_moved(port.id for port in (*change.puts.ports, *change.deletes.ports))
        self._convergence.revision_known(change.revision)
        return dirty

    # Agents

    async def serve_channel(
        self, channel: Channel, *, certified: str | None = None, is_local: bool = False
    ) -> None:
        """Serve one agent's stream until it ends. `certified`: whom its certificate names, if it has one.

        `is_local`: only our own user can have opened it, who has the authority's key.
        """
        stream: HostSession | None = None
        at_queue = channel.host if isinstance(channel, QueueChannel) else None
        speaker = Speaker(certified, at_queue, is_believed=is_local or self._powers is NO_POWERS)
        self._channels[channel] = speaker
        try:
            first = received.message(_decoder, await received.first(channel))
            hello = speaker.judge(introductions.hello_of(first, epoch=self.epoch))
            supervision.name_task(f"agent of {hello.host}")
            if channel.close_reason is not None:
                return  # it gave up waiting: what it said is not worth our time
            stream = await self._welcome(hello, channel)
            await self._follow(stream)
        except errors.AlcorError as error:
            self._log.warning(
                "agent_refused", host_id=stream.host if stream is not None else "", reason=error.message
            )
            channel.send(_encoder.encode(Farewell(error.message, self.epoch)))
        finally:
            self._channels.pop(channel, None)
            channel.close()
            if stream is not None:
                self._forget(stream)

    async def _welcome(self, hello: Hello, channel: Channel) -> HostSession:
        self._admit(hello, channel)
        await self._introductions.introduce(hello)
        self._admit(hello, channel)  # its own agent may have come meanwhile
        former = self._streams.get(hello.host)
        if isinstance(channel, QueueChannel) and former is not None and hello.session <= former.session:
            raise errors.Conflict(f"a newer session of host '{hello.host}' is served")
        token = self._rescues.connected(hello)
        if former is not None:
            self._forget(former, is_replaced=True)
            former.channel.send(_encoder.encode(Farewell("another stream of this host came", self.epoch)))
            former.channel.close("another stream of this host came")
        self.look_ups.restore(hello)
        stream = self._sessions.new(hello, channel)
        self._streams[hello.host] = stream
        self._paths.came(hello.host)
        if self._queue_path is not None:
            self._queue_path.away.came(hello.host)
        self._settle_what_neither_holds(hello)
        channel.send(_encoder.encode(Welcome(PROTOCOL, self.epoch, token)))
        self._probes.came(hello)
        self._watch.came(stream)
        self._admission.came(stream, hello)
        self._log.info("agent_welcomed", host_id=hello.host, held=len(hello.held), plugged=len(hello.plugged))
        self._watcher.came(hello)
        self._convergence.host_moved(hello.host)
        return stream

    def _admit(self, hello: Hello, channel: Channel) -> None:
        self._rescues.admit(hello)
        if (former := self._streams.get(hello.host)) is not None:
            self._channels[channel].require_may_replace(self._channels[former.channel])

    async def _know(self, revision: int) -> None:
        """Wait until a revision is taken in here. Raises Unavailable."""
        if not await self._convergence.wait((), revision=revision, until="in_force", timeout_s=KNOWN_TIMEOUT_S):
            raise errors.Unavailable("the change log is not followed in time", retry_after_s=1)

    def _settle_what_neither_holds(self, hello: Hello) -> None:
        """Revisions that took a section from the host are in force when it does not name that section."""
        wanted = self._compiler.interest.wanted.get(hello.host, {})
        named = {held.key for held in hello.held}
        now_us = self._clock.now_us()
        for key in list(self._ledger.account(hello.host).waiting):
            if key not in wanted and key not in named:
                settled = self._ledger.settle(hello.host, key, self.region.revision, now_us=now_us)
                self._convergence.revisions_complete(settled)

    async def _follow(self, stream: HostSession) -> None:
        while (frame := await stream.channel.receive()) is not None:
            if self._streams.get(stream.host) is not stream:
                return  # replaced: what it says counts no longer
            is_beat = frame.startswith(BEAT_HEAD)
            self._watch.heard(stream, is_beat=is_beat)
            if is_beat:  # most of all frames
                beat = received.message(_decoder, frame)
                if isinstance(beat, Beat):
                    self._agreement.told(stream, beat.held, self._ledger)
                stream.flush()
                continue
            match received.message(_decoder, frame):
                case Acknowledgement() as answer:
                    self._acknowledged(stream, answer)
                case Plugs(plugged=plugged, unplugged=unplugged):
                    stream.plugged.difference_update(unplugged)
                    stream.plugged.update(plugged)
                    self._watcher.plugs(stream.host, plugged, unplugged)
                    self._convergence.host_moved(stream.host)
                case RescueReport() as report:
                    self._rescues.reported(stream.host, report)
                case Probed() as probed:
                    self._probes.heard(stream.host, probed)
                case Holds() as holds:
                    self._agreement.heard(stream, holds, self._ledger)
                case Announce() as said:
                    self._announcements.heard(stream.host, said)
                case Ask() as ask:
                    self._answer(stream, ask)
                case Release() as message:
                    for section in self.look_ups.release(stream.host, message):
                        stream.learn(section)
                    stream.flush()
                case Hello():
                    raise errors.Invalid("a stream has one Hello")

    def _answer(self, stream: HostSession, ask: Ask) -> None:
        if len(ask.wants) > WANTS_MAX:
            raise errors.Invalid(f"an Ask has at most {WANTS_MAX} addresses, not {len(ask.wants)}")
        answer = self.look_ups.answer(stream.host, ask)
        for section in answer.sections:
            stream.learn(section)
        stream.flush()
        for unknown in answer.unknown:
            stream.channel.send(_encoder.encode(unknown))

    def _acknowledged(self, stream: HostSession, answer: Acknowledgement) -> None:
        progress = self._ledger.acknowledge(stream.host, answer, now_us=self._clock.now_us())
        for refused in progress.refused:
            self._log.warning(
                "section_refused",
                host_id=stream.host,
                key=refused.key,
                revision=refused.version.revision,
                reason=refused.reason,
            )
        if progress.send_all:
            stream.send_all(progress.send_all)
        stream.flush()
        self._admission.answered(stream)
        self._agreement.acknowledged(stream, self._ledger)
        self._convergence.revisions_complete(progress.completed)
        self._watcher.moved(stream.host)
        self._convergence.host_moved(stream.host)

    def _silent(self, stream: Heard, reason: str) -> None:
        session = self._streams[stream.host]
        self._forget(session, reason=reason)
        session.channel.close(reason)

    def _forget(self, stream: HostSession, *, is_replaced: bool = False, reason: str = "") -> None:
        """End a session. `reason` given: it was judged dead; else its channel says why it ended."""
        if self._streams.get(stream.host) is stream:
            del self._streams[stream.host]
            self._watch.left(stream.host)
            self._probes.left(stream.host)
            self._agreement.left(stream.host)
            self._admission.left(stream.host)
            if (
                self._queue_path is not None
                and stream.has_queue
                and self._convergence.is_introduced(stream.host)
            ):
                self._queue_path.away.left(self._sessions.away(stream))
            self._ledger.disconnected(stream.host)
            is_silent, reason = bool(reason), reason or stream.channel.close_reason or ""
            self._log.info("agent_left", host_id=stream.host, reason=reason)
            if not is_replaced:
                self._rescues.left(stream.host, reason, heard_at_s=stream.last_heard_s, is_silent=is_silent)

    async def _beat_for_ever(self) -> None:
        """Let agents hear us, and send what waited for room. Channels that answer beats need no more."""
        beat = _encoder.encode(Beat())
        while True:
            self._admission.turn()
            self._agreement.turn(self._ledger)
            self._watch.set_pace(helpers=self._probes.helpers)
            if self._queue_path is not None:
                self._queue_path.beat(_encoder.encode(Pace(self._watch.queue_beat_s)))
            streams = list(self._streams.values())
            for part in range(BEAT_PARTS):  # ten thousand beats at once would hold up everything else
                await asyncio.sleep(BEAT_S / BEAT_PARTS)
                for stream in streams[part::BEAT_PARTS]:
                    if self._streams.get(stream.host) is not stream:
                        continue  # it ended between two parts
                    if not stream.channel.beat_at_s:
                        stream.beat(beat)
                    elif stream.has_waiting:
                        stream.flush()

    def _probe(self, host: HostId) -> None:
        self._probes.ask(host)

    def _tell_pace(self, stream: Heard, beat_s: float) -> None:
        stream.channel.send(_encoder.encode(Pace(beat_s)))

    # What is known of the hosts

    @property
    def convergence(self) -> RegionConvergence:
        """How far the hosts are, and waiting for them. Of this term: `start` makes it anew."""
        return self._convergence

    def resync(self) -> ResyncProgress:
        return self._resync_view.summary(self.epoch)

    def resync_networks(self) -> list[NetworkProgress]:
        return self._resync_view.networks()

    @property
    def whole_sections(self) -> FullSections:
        """Sections in full, which count what was made: not more for more hosts or a larger network (law 4)."""
        return self._full

    def section_digest(self, host_id: HostId, key: SectionKey) -> bytes | None:
        """Give the digest of a section as the host must hold it; None when it must not."""
        return self._full.digest(host_id, key)

    def learned(self, host_id: HostId) -> Mapping[NetworkId, Iterable[PortId]]:
        """Name the ports that a host holds the placements of because it asked, by network."""
        return self._compiler.interest.learned.of_host(host_id)

    def held_state(self, host_id: HostId) -> HostState:
        """Give what a host must hold, in force or not. Versions are those wanted."""
        return convergence.held_state(host_id, self.epoch, self._compiler.interest, self._full)

    def _new_convergence(self) -> RegionConvergence:
        return RegionConvergence(
            self.region,
            self._compiler.interest,
            self._ledger,
            self._streams,
            self._paths,
            describe=self._rescues.described,
        )

    def _new_sessions(self) -> Sessions:
        return Sessions(
            epoch=self.epoch,
            interest=self._compiler.interest,
            full=self._full,
            ledger=self._ledger,
        )

    def _new_rescues(self) -> Rescues:
        return Rescues(
            self.region,
            self._tell_agent,
            self._clock,
            RescueTrail(self._audit, self._clock, self._log),
            epoch=self.epoch,
            powers=self._powers,
        )

    def _tell_agent(self, host_id: HostId, message: Rescue | RescueRenewal | RescueEnd | Probe) -> None:
        stream = self._streams.get(host_id)
        if stream is not None:
            stream.channel.send(_encoder.encode(message))
