"""Says to the compute service what it is owed, one request at a time, for as long as it takes.

While a request is under way others' words gather, so a service that is slow gets fewer and larger requests.
Nothing here is awaited by whoever provisions.
"""

import asyncio
from collections.abc import Iterable, Sequence

from alcor.contracts.agent_channel import Hello
from alcor.contracts.server_events import ServerEvents, Told, ToldMarks
from alcor.contracts.store import Change, Store
from alcor.control_plane.port_watch import StateOf
from alcor.control_plane.region import Region
from alcor.control_plane.server_events.ports import ServerPorts
from alcor.control_plane.server_events.words import Word
from alcor.model import errors
from alcor.model.ids import HostId, PortId
from alcor.model.records import Port
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog, Fields
from alcor.runtime.supervision import Failure, Supervisor

BATCH_MAX = 200  # events in a request
PAUSE_MIN_S = 0.25  # after a request that failed; doubled each time
PAUSE_MAX_S = 10.0  # a server that boots waits five minutes
KEEP_S = 10.0  # how much of the log may be looked at again after a restart without events
LOG_PAGE = 20  # changes read at once: one may hold ten thousand ports
_TAKEN = 200


class Teller:
    """Implements `PortWatcher`. Owner of the words to be said; make it with `open`."""

    def __init__(
        self,
        events: ServerEvents,
        marks: ToldMarks,
        store: Store,
        clock: Clock,
        log: EventLog,
        told: Told | None,
        *,
        failure: Failure | None = None,
    ) -> None:
        self._events = events
        self._marks = marks
        self._store = store
        self._clock = clock
        self._log = log
        self._told = told
        self._kept: int | None = told.revision if told is not None else None
        self._kept_at_s = clock.monotonic_s()
        self._ports: ServerPorts | None = None
        self._wake = asyncio.Event()
        self._supervisor = Supervisor(log, failure=failure)
        self._batch_max = BATCH_MAX

    @classmethod
    async def open(
        cls,
        events: ServerEvents,
        marks: ToldMarks,
        store: Store,
        clock: Clock,
        log: EventLog,
        *,
        failure: Failure | None = None,
    ) -> "Teller":
        """Read how far the compute service was told. Raises Unavailable."""
        return cls(events, marks, store, clock, log, await marks.load(), failure=failure)

    def start(self) -> None:
        """Begin to say things; the controller has started."""
        self._supervisor.start("server events", self._run())

    async def close(self) -> None:
        """End, and keep how far it was told."""
        await self._supervisor.close()
        await self._keep()

    # What the controller tells

    def begin(self, region: Region, state_of: StateOf) -> None:
        self._ports = ServerPorts(region, state_of, self._told)

    def loaded(self, ports: Sequence[Port]) -> None:
        self._owed.loaded(ports)

    def changed(self, change: Change) -> None:
        self._owed.changed(change)
        self._look()

    def came(self, hello: Hello) -> None:
        self._owed.came(hello.host, hello.plugged, hello.anew)
        self._look()

    def plugs(self, host: HostId, plugged: Iterable[PortId], unplugged: Iterable[PortId]) -> None:
        self._owed.plugs(host, plugged, unplugged)
        self._look()

    def moved(self, host: HostId) -> None:
        self._owed.moved(host)
        self._look()

    @property
    def _owed(self) -> ServerPorts:
        assert self._ports is not None, "the controller begins before it tells"
        return self._ports

    def _look(self) -> None:
        if self._owed.words or self._owed.missed_after is not None:
            self._wake.set()

    # What is said

    async def _run(self) -> None:
        if self._kept is None:
            await self._keep()  # from here on removals are told, whatever happens
        pause_s = PAUSE_MIN_S
        while True:
            await self._read_missed()
            words = self._owed.words.batch(self._batch_max)
            if not words:
                await self._rest()
            elif await self._say(words):
                pause_s = PAUSE_MIN_S
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _rest(self) -> None:
        """Wait for something to say, and keep now and then that there was nothing."""
        if self._clock.monotonic_s() - self._kept_at_s >= KEEP_S:
            await self._keep()
        try:
            async with asyncio.timeout(KEEP_S):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _say(self, words: list[Word]) -> bool:
        """Say words in one request; False: they are to be said again, after a pause."""
        for word in words:
            word.attempted = True
        await self._keep_doubts()
        try:
            codes = await self._events.tell([word.event for word in words])
        except errors.Unavailable as error:
            self._log.warning("server_events_wait", reason=error.message, waiting=len(self._owed.words))
            return False
        except errors.Invalid as error:
            if len(words) > 1:
                self._batch_max = max(1, len(words) // 2)  # one of them is to blame: the others go without it
                return True
            self._log.about(**_named(words[0])).error("server_event_refused", reason=error.message)
            codes = [0]
        self._batch_max = min(BATCH_MAX, 2 * self._batch_max)
        for word, code in zip(words, codes, strict=True):
            log = self._log.about(**_named(word))
            if code == _TAKEN:
                log.info("server_event", code=code)
            elif code:
                log.warning("server_event", code=code)
        self._owed.said(words)
        await self._keep()
        return True

    async def _keep_doubts(self) -> None:
        """Keep of which hosts something waits: if we end before it is said, all of them is told again."""
        doubts = self._owed.doubts()
        if doubts is None:
            return
        try:
            await self._marks.keep(doubts)
            self._kept = doubts.revision
        except errors.Unavailable as error:  # servers wait: better told once too little after a crash than late
            self._log.warning("server_events_unkept", reason=error.message)

    async def _read_missed(self) -> None:
        """Read from the log what happened while we were away, or while too much waited."""
        while (after := self._owed.missed_after) is not None:
            try:
                changes = await self._store.changes(after=after, limit=LOG_PAGE)
            except errors.Missing as error:
                self._log.error("server_events_missed", reason=error.message)
                self._owed.skip()
                return
            except errors.Unavailable as error:
                self._log.warning("server_events_unread", reason=error.message)
                return
            if not changes:
                return
            self._owed.read(changes)

    async def _keep(self) -> None:
        """Keep how far it was told. If that fails, more is told twice after a restart: no harm."""
        self._kept_at_s = self._clock.monotonic_s()
        told = self._owed.progress()
        if not told.marks and told.revision == self._kept:
            return
        try:
            await self._marks.keep(told)
            self._kept = told.revision
        except errors.Unavailable as error:
            self._owed.unkept(told)
            self._log.warning("server_events_unkept", reason=error.message)


def _named(word: Word) -> Fields:
    event = word.event
    return Fields(name=event.name, server_id=event.server_uuid, port_id=event.tag, status=event.status)
