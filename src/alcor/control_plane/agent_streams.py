"""The agents' streams: who is welcomed, what each of them says, when it is heard and how long it is served.

agent --Hello--> admitted, introduced --Welcome--> its session: acknowledgements, plugs, questions, reports
                                                   until it ends, is silent, or another stream of its host comes

What is said is passed on to whose it is: the term's ledger and convergence, rescues, look-ups, announcements.
"""

import asyncio

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
from alcor.control_plane import introductions
from alcor.control_plane.announcements import Announcements
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.delivery.admission import Admission
from alcor.control_plane.delivery.look_ups import LookUps
from alcor.control_plane.delivery.paths import HostSession, Paths
from alcor.control_plane.delivery.queue_path import QueueChannel, QueuePath
from alcor.control_plane.health import watch
from alcor.control_plane.health.probes import Probes
from alcor.control_plane.health.watch import Heard, Watch
from alcor.control_plane.introductions import Introductions
from alcor.control_plane.port_watch import PortWatcher
from alcor.control_plane.region import Region
from alcor.control_plane.speakers import Speaker
from alcor.control_plane.term import Term
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.runtime import supervision
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor

BEAT_PARTS = 10  # in each beat's time, a part of the agents hears it

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[FromAgent] = msgspec.msgpack.Decoder(FromAgent)


class AgentStreams:
    """Owner of the agents' `sessions`, by host, of their rhythm, and of what neighbours are asked."""

    def __init__(
        self,
        sessions: dict[HostId, HostSession],
        region: Region,
        interest: Interest,
        clock: Clock,
        log: EventLog,
        *,
        introductions: Introductions,
        look_ups: LookUps,
        announcements: Announcements,
        admission: Admission,
        paths: Paths,
        queue_path: QueuePath | None,
        watcher: PortWatcher,
        believes_all: bool,
    ) -> None:
        """`believes_all`: nobody is to prove who he is."""
        self._streams = sessions
        self._region = region
        self._interest = interest
        self._clock = clock
        self._log = log
        self._introductions = introductions
        self._look_ups = look_ups
        self._announcements = announcements
        self._admission = admission
        self._paths = paths
        self._queue_path = queue_path
        self._watcher = watcher
        self._believes_all = believes_all
        self._channels: dict[Channel, Speaker] = {}  # in the order of coming: all served, welcomed or not
        self._watch = Watch(
            clock, ask=lambda host: self._probes.ask(host), lost=self._silent, tell=self._tell_pace
        )
        self._probes = Probes(
            region, clock, send=self.tell, answered=self._watch.answered, is_late=self._watch.is_late
        )
        self._term: Term

    def begin(self, term: Term, supervisor: Supervisor) -> None:
        """Serve agents in this term from now on."""
        self._term = term
        supervisor.start("beat", self._beat_for_ever())
        supervisor.start("watch", self._watch.run())

    def close(self, reason: str) -> None:
        """Send all agents away."""
        for channel in list(self._channels):
            channel.send(_encoder.encode(Farewell(reason, self._term.epoch)))
            channel.close(reason)

    async def serve(self, channel: Channel, *, certified: str | None = None, is_local: bool = False) -> None:
        """Serve one agent's stream until it ends. `certified`: whom its certificate names, if it has one.

        `is_local`: only our own user can have opened it, who has the authority's key.
        """
        stream: HostSession | None = None
        at_queue = channel.host if isinstance(channel, QueueChannel) else None
        speaker = Speaker(certified, at_queue, is_believed=is_local or self._believes_all)
        self._channels[channel] = speaker
        try:
            first = received.message(_decoder, await received.first(channel))
            hello = speaker.judge(introductions.hello_of(first, epoch=self._term.epoch))
            supervision.name_task(f"agent of {hello.host}")
            if channel.close_reason is not None:
                return  # it gave up waiting: what it said is not worth our time
            stream = await self._welcome(hello, channel)
            if stream is not None:
                await self._follow(stream)
        except errors.AlcorError as error:
            self._log.warning(
                "agent_refused", host_id=stream.host if stream is not None else "", reason=error.message
            )
            channel.send(_encoder.encode(Farewell(error.message, self._term.epoch)))
        finally:
            self._channels.pop(channel, None)
            channel.close()
            if stream is not None:
                self._forget(stream)

    def tell(self, host_id: HostId, message: Rescue | RescueRenewal | RescueEnd | Probe) -> None:
        """Say something to the agent of a host, if it is heard."""
        stream = self._streams.get(host_id)
        if stream is not None:
            stream.channel.send(_encoder.encode(message))

    def compare(self, session: HostSession) -> None:
        """Have an agent say what it holds."""
        session.channel.send(_encoder.encode(Compare()))

    async def _welcome(self, hello: Hello, channel: Channel) -> HostSession | None:
        """Begin a session; None: the agent gave up waiting."""
        self._admit(hello, channel)
        await self._introductions.introduce(hello)
        if channel.close_reason is not None:
            return None  # it may have come again: this must not take the other's place
        self._admit(hello, channel)  # its own agent may have come meanwhile
        former = self._streams.get(hello.host)
        if isinstance(channel, QueueChannel) and former is not None and hello.session <= former.session:
            raise errors.Conflict(f"a newer session of host '{hello.host}' is served")
        token = self._term.rescues.connected(hello)
        if former is not None:
            self._forget(former, is_replaced=True)
            former.channel.send(_encoder.encode(Farewell("another stream of this host came", self._term.epoch)))
            former.channel.close("another stream of this host came")
        self._look_ups.restore(hello)
        stream = self._term.sessions.new(hello, channel)
        self._streams[hello.host] = stream
        self._paths.came(hello.host)
        if self._queue_path is not None:
            self._queue_path.away.came(hello.host)
        channel.send(_encoder.encode(Welcome(PROTOCOL, self._term.epoch, token, channel.new_beat_key())))
        self._probes.came(hello)
        self._watch.came(stream)
        self._admission.came(stream, hello)
        self._log.info(
            "agent_welcomed", host_id=hello.host, sections=len(hello.held), plugged=len(hello.plugged)
        )
        self._watcher.came(hello)
        self._term.convergence.host_moved(hello.host)
        return stream

    def _admit(self, hello: Hello, channel: Channel) -> None:
        self._term.rescues.admit(hello)
        if (former := self._streams.get(hello.host)) is not None:
            self._channels[channel].require_may_replace(self._channels[former.channel])

    async def _follow(self, stream: HostSession) -> None:
        while (frame := await stream.channel.receive()) is not None:
            if self._streams.get(stream.host) is not stream:
                return  # replaced: what it says counts no longer
            is_beat = frame.startswith(BEAT_HEAD)
            self._watch.heard(stream, is_beat=is_beat)
            if is_beat:  # most of all frames
                beat = received.message(_decoder, frame)
                if isinstance(beat, Beat):
                    self._term.agreement.told(stream, beat.held)
                stream.flush()
                continue
            match received.message(_decoder, frame):
                case Acknowledgement() as answer:
                    self._acknowledged(stream, answer)
                case Plugs(plugged=plugged, unplugged=unplugged):
                    stream.plugged.difference_update(unplugged)
                    stream.plugged.update(plugged)
                    self._watcher.plugs(stream.host, plugged, unplugged)
                    self._term.convergence.host_moved(stream.host)
                case RescueReport() as report:
                    self._term.rescues.reported(stream.host, report)
                case Probed() as probed:
                    self._probes.heard(stream.host, probed)
                case Holds() as holds:
                    if in_force := self._term.agreement.heard(stream, holds):
                        self._acknowledged(stream, Acknowledgement(0, in_force))
                case Announce() as said:
                    self._announcements.heard(stream.host, said)
                case Ask() as ask:
                    self._answer(stream, ask)
                case Release() as message:
                    for section in self._look_ups.release(stream.host, message):
                        stream.learn(section)
                    stream.flush()
                case Hello():
                    raise errors.Invalid("a stream has one Hello")

    def _answer(self, stream: HostSession, ask: Ask) -> None:
        if len(ask.wants) > WANTS_MAX:
            raise errors.Invalid(f"an Ask has at most {WANTS_MAX} addresses, not {len(ask.wants)}")
        answer = self._look_ups.answer(stream.host, ask)
        for section in answer.sections:
            stream.learn(section)
        stream.flush()
        for unknown in answer.unknown:
            stream.channel.send(_encoder.encode(unknown))

    def _acknowledged(self, stream: HostSession, answer: Acknowledgement) -> None:
        progress = self._term.ledger.acknowledge(stream.host, answer, now_us=self._clock.now_us())
        for refused in progress.refused:
            self._log.warning(
                "section_refused",
                host_id=stream.host,
                section=refused.key,
                revision=refused.version.revision,
                reason=refused.reason,
            )
        if progress.send_all:
            stream.send_all(progress.send_all)
        stream.flush()
        if self._admission.answered(stream):
            self._settle_what_neither_holds(stream.host)
        self._term.agreement.acknowledged(stream)
        self._term.convergence.revisions_complete(progress.completed)
        self._watcher.moved(stream.host)
        self._term.convergence.host_moved(stream.host)

    def _settle_what_neither_holds(self, host_id: HostId) -> None:
        """Revisions that took a section from a host are in force when its agent knows all, and was not sent it.

        Not before, by its Hello: an agent that does not name a section may have lost its journal, and the data
        plane still hold it.
        """
        wanted = self._interest.wanted.get(host_id, {})
        account = self._term.ledger.account(host_id)
        now_us = self._clock.now_us()
        for key in list(account.waiting):
            if key not in wanted and key not in account.sent:
                settled = self._term.ledger.settle(host_id, key, self._region.revision, now_us=now_us)
                self._term.convergence.revisions_complete(settled)

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
            self._term.agreement.left(stream.host)
            self._admission.left(stream.host)
            if (
                self._queue_path is not None
                and stream.has_queue
                and self._term.convergence.is_introduced(stream.host)
            ):
                self._queue_path.away.left(self._term.sessions.away(stream))
            self._term.ledger.disconnected(stream.host)
            is_silent, reason = bool(reason), reason or stream.channel.close_reason or ""
            self._log.info("agent_left", host_id=stream.host, reason=reason)
            if not is_replaced:
                self._term.rescues.left(
                    stream.host, reason, heard_at_s=watch.heard_s(stream), is_silent=is_silent
                )

    async def _beat_for_ever(self) -> None:
        """Let agents hear us, and send what waited for room. Channels that answer beats need no more."""
        beat = _encoder.encode(Beat())
        while True:
            self._admission.turn()
            self._term.agreement.turn()
            self._watch.set_pace(helpers=self._probes.helpers)
            if self._queue_path is not None:
                self._queue_path.beat(_encoder.encode(Pace(self._watch.queue_beat_s)))
            streams = list(self._streams.values())
            for part in range(BEAT_PARTS):  # ten thousand beats at once would hold up everything else
                await asyncio.sleep(BEAT_S / BEAT_PARTS)
                for stream in streams[part::BEAT_PARTS]:
                    is_unanswered = not stream.channel.beat_at_s
                    if not is_unanswered and not stream.has_waiting:
                        continue
                    if self._streams.get(stream.host) is not stream:
                        continue  # it ended between two parts
                    if is_unanswered:
                        stream.beat(beat)
                    else:
                        stream.flush()

    def _tell_pace(self, stream: Heard, beat_s: float) -> None:
        stream.channel.send(_encoder.encode(Pace(beat_s)))
