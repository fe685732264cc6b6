"""The controller: from committed changes to sections on hosts, and back to the truth about them.

store --Change--> intake --> compiler --> ledger (receipt opened)
                                |-------> streams of the hosts concerned --flush--> agents
agents --acknowledgements, plugs--> ledger --> convergence (those who wait)
"""

from collections.abc import Callable, Iterable, Mapping

from alcor.contracts.agent_channel import Channel
from alcor.contracts.audit import Entry
from alcor.contracts.convergence import NetworkProgress, ResyncProgress
from alcor.contracts.queue import GoalQueue
from alcor.contracts.store import Change, Store
from alcor.control_plane.agent_streams import AgentStreams
from alcor.control_plane.announcements import Announcements
from alcor.control_plane.compiler.incremental import Compiled, IncrementalCompiler
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.admission import Admission
from alcor.control_plane.delivery.away_hosts import AwayPace
from alcor.control_plane.delivery.flusher import Flusher
from alcor.control_plane.delivery.full_sections import FullSections
from alcor.control_plane.delivery.look_ups import LookUps
from alcor.control_plane.delivery.path_choice import Asked
from alcor.control_plane.delivery.paths import HostSession, Paths
from alcor.control_plane.delivery.queue_path import QueuePath
from alcor.control_plane.delivery.resync import ResyncLimits
from alcor.control_plane.delivery.resync_view import ResyncView
from alcor.control_plane.health.rescue import NO_POWERS, Powers
from alcor.control_plane.intake import Intake
from alcor.control_plane.introductions import Introductions
from alcor.control_plane.port_watch import Nobody, PortWatcher
from alcor.control_plane.region import OnDemandBounds, Region
from alcor.control_plane.region_convergence import RegionConvergence
from alcor.control_plane.term import Term
from alcor.model import errors, goal_state
from alcor.model.goal_state import HostState, SectionKey
from alcor.model.ids import HostId, NetworkId, PortId
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor

KNOWN_TIMEOUT_S = 10.0  # from a commit of what an agent says until it is seen here


class Controller:
    """Owner of the region in memory, of the way of a change, and of the term."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        log: EventLog,
        *,
        on_demand: OnDemandBounds = OnDemandBounds(),  # noqa: B008 - frozen
        queue: GoalQueue | None = None,
        resync: ResyncLimits = ResyncLimits(),  # noqa: B008 - frozen
        away: AwayPace = AwayPace(),  # noqa: B008 - frozen
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
        self._introductions = Introductions(store, clock, self.region, self._know)
        self._followers: list[Callable[[Change], None]] = []
        self._streams: dict[HostId, HostSession] = {}
        self._queue_path = (
            QueuePath(queue, self.serve_channel, log, away=away, failure=self.failed)
            if queue is not None
            else None
        )
        self._flusher = Flusher(lambda stream: self._streams.get(stream.host) is stream)
        self._paths = Paths(self._streams, self._queue_path)
        self._admission = Admission(self.region, self._compiler.interest, clock, resync)
        self._resync_view = ResyncView(self.region, self._compiler.interest, self._streams, self._admission)
        self._term: Term | None = None
        self._agents = AgentStreams(
            self._streams,
            self.region,
            self._compiler.interest,
            clock,
            log,
            introductions=self._introductions,
            look_ups=self.look_ups,
            announcements=self._announcements,
            admission=self._admission,
            paths=self._paths,
            queue_path=self._queue_path,
            watcher=self._watcher,
            believes_all=powers is NO_POWERS,
        )
        self._intake: Intake | None = None

    async def start(self) -> None:
        """Begin a term, load everything, and follow the change log. Raises Unavailable."""
        term = self._term = self._new_term(await self._store.begin_epoch())
        self._watcher.begin(self.region, term.convergence.heard_state)
        async with self._store.snapshot() as snapshot:
            await self.region.load(snapshot, self._watcher.loaded)
        self._compiler.load()
        self._intake = Intake(self._store, self._take, self._log, after=self.region.revision)
        self._store.listen(self.offer)
        if self._queue_path is not None:
            self._queue_path.start(term.epoch)
        self._supervisor.start("intake", self._intake.run())
        self._supervisor.start("announcements", self._announcements.run())
        self._supervisor.start("introductions", self._introductions.run())
        self._supervisor.start("flusher", self._flusher.run())
        self._agents.begin(term, self._supervisor)
        self._supervisor.start("rescues", term.rescues.run())
        self._supervisor.start("missed hosts", term.rescues.open_missed())
        self._log.info(
            "controller_started", epoch=self.epoch, revision=self.region.revision, ports=len(self.region.ports)
        )

    async def stop(self) -> None:
        """End all streams and tasks. Agents keep what they have (law 6)."""
        await self._supervisor.close()
        self._intake = None
        if self._term is not None:
            self._term.convergence.stop()
            self._agents.close("the controller stops")
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
        self.term.ledger.concern(
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
        self.convergence.ports_moved(port.id for port in (*change.puts.ports, *change.deletes.ports))
        self.convergence.revision_known(change.revision)
        return dirty

    # Agents

    async def serve_channel(
        self, channel: Channel, *, certified: str | None = None, is_local: bool = False
    ) -> None:
        """Serve one agent's stream until it ends, see `AgentStreams.serve`."""
        await self._agents.serve(channel, certified=certified, is_local=is_local)

    async def _know(self, revision: int) -> None:
        """Wait until a revision is taken in here. Raises Unavailable."""
        if not await self.convergence.wait((), revision=revision, until="in_force", timeout_s=KNOWN_TIMEOUT_S):
            raise errors.Unavailable("the change log is not followed in time", retry_after_s=1)

    # What is known of the hosts

    @property
    def term(self) -> Term:
        """What is known since `start`."""
        assert self._term is not None, "start first"
        return self._term

    @property
    def epoch(self) -> int:
        """Number the term; 0 before it begins."""
        return self._term.epoch if self._term is not None else 0

    @property
    def convergence(self) -> RegionConvergence:
        """How far the hosts are, and waiting for them. Of this term: `start` makes it anew."""
        return self.term.convergence

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
        interest, state = self._compiler.interest, HostState()
        for key in interest.wanted.get(host_id, {}):
            given = self._full.section(host_id, key)
            change = given.change() if given is not None else None
            assert change is not None, "what is wanted has content"
            state.sections[key] = goal_state.empty_section_for(change)
            goal_state.apply_change(state.sections[key], change)
            state.versions[key] = interest.wanted_version(host_id, key, epoch=self.epoch)
        return state

    def _new_term(self, epoch: int) -> Term:
        return Term(
            epoch,
            self.region,
            self._compiler.interest,
            self._full,
            self._streams,
            self._paths,
            self._clock,
            self._log,
            send=self._agents.tell,
            ask=self._agents.compare,
            audit=self._audit,
            powers=self._powers,
        )
