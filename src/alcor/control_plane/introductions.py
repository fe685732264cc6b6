"""How a host becomes known: its agent's first message is judged, and its record says what the agent says.

Hello --hello_of--> introduce --> waiting --> run: one commit for all that wait --know--> all are introduced

Ten thousand agents come at once when a controller starts anew: they wait in line, and cost some forty commits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import TypeAlias

import msgspec

from alcor.contracts.agent_channel import PROTOCOL, FromAgent, Hello
from alcor.contracts.store import Stale, Store, Taken, Unchanged, Write
from alcor.control_plane.region import Region
from alcor.model import errors, goal_state
from alcor.model.ids import HostId, ProjectId
from alcor.model.records import Host, RecordSet
from alcor.runtime.clock import Clock, new_request_id

TOGETHER_MAX = 256  # hosts in one commit: all are welcomed in one turn of the loop, which others wait for
TRIES = 3  # at a store that is busy, and at records that others change meanwhile
_NOBODY = ProjectId("")

_Waiting: TypeAlias = tuple[asyncio.Future[None], Hello]


def hello_of(message: FromAgent, *, epoch: int) -> Hello:
    """Judge the first message of a stream. Raises Invalid, or Conflict of one that knows a newer controller."""
    if not isinstance(message, Hello):
        raise errors.Invalid("the first message must be Hello")
    if message.protocol != PROTOCOL:
        raise errors.Invalid(f"protocol {message.protocol} is not spoken here, {PROTOCOL} is")
    if not message.host or len(message.vtep) not in (4, 16):
        raise errors.Invalid("Hello must name the host and its tunnel endpoint")
    for held in message.held:
        goal_state.parse_key(held.key)  # what names no section cannot even be taken from the host
    newest = max((message.epoch, *(held.version.epoch for held in message.held)))
    if newest > epoch:
        raise errors.Conflict(
            f"host '{message.host}' knows of epoch {newest}, but this controller is of epoch "
            f"{epoch}: another controller has taken over, or the store was replaced"
        )
    return message


class Introductions:
    """Owner of the hosts that wait for their records: no more than there are streams.

    `know`: wait until the controller has taken a revision in; raises Unavailable.
    """

    def __init__(
        self, store: Store, clock: Clock, region: Region, know: Callable[[int], Awaitable[None]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._region = region
        self._know = know
        self._waiting: dict[asyncio.Future[None], Hello] = {}  # in the order of coming
        self._wake = asyncio.Event()
        self._has_ended = False

    async def introduce(self, hello: Hello) -> None:
        """Make the host's record say what its agent says, and see it here before anything is sent.

        Raises Unavailable when the store is away, and what the store refuses of this record.
        """
        if self._is_introduced(hello):
            return
        if self._has_ended:
            raise _ended()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[done] = hello
        self._wake.set()
        try:
            await done
        finally:
            self._waiting.pop(done, None)

    async def run(self) -> None:
        """Record hosts for ever, those that wait together."""
        self._has_ended = False
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._settle(list(islice(self._waiting.items(), TOGETHER_MAX)))
        finally:
            self._has_ended = True
            self._answer(list(self._waiting), _ended())

    async def _settle(self, some: Sequence[_Waiting]) -> None:
        """Have some hosts recorded: together, or in halves if that is refused, so that only the guilty fail."""
        for done, _ in some:
            if done.done():  # cancelled; who waited leaves the line himself, but not before the loop turns
                self._waiting.pop(done, None)
        some = [each for each in some if not each[0].done()]
        try:
            await self._record({hello.host: hello for _, hello in some})
        except errors.Unavailable as error:
            self._answer(
                list(self._waiting), error
            )  # it is away for all: each would only wait to hear the same
        except errors.AlcorError as error:
            if len(some) == 1:
                self._answer([some[0][0]], error)
                return
            await self._settle(some[: len(some) // 2])
            await self._settle(some[len(some) // 2 :])
        else:
            self._answer([done for done, _ in some])

    def _answer(self, some: Sequence[asyncio.Future[None]], error: errors.AlcorError | None = None) -> None:
        for done in some:
            self._waiting.pop(done, None)
            if done.done():
                continue  # who waited was cancelled
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    async def _record(self, hellos: dict[HostId, Hello]) -> None:
        """Record hosts together. Of two Hellos of one host the later counts, as if it had come by itself."""
        for tries_left in reversed(range(TRIES)):
            write = self._write([hello for hello in hellos.values() if not self._is_introduced(hello)])
            if write is None:
                return
            try:
                await self._commit(write)
                return
            except (Stale, Taken):
                if not tries_left:
                    raise
            except errors.Unavailable as error:
                if not tries_left:
                    raise
                await asyncio.sleep(error.retry_after_s)

    async def _commit(self, write: Write) -> None:
        """Commit and see it here. After Stale and Taken what was in the way is seen here, too."""
        try:
            revision = await self._store.commit(write)
        except (Stale, Taken):
            await self._know(await self._store.revision())
            raise
        await self._know(revision)

    def _write(self, hellos: Sequence[Hello]) -> Write | None:
        """Decide from what is known here: whatever is not known yet makes the commit fail."""
        if not hellos:
            return None
        now_us = self._clock.now_us()
        known = {hello.host: self._record_of(hello.host) for hello in hellos}
        records = [_introduced(known[hello.host], hello, now_us) for hello in hellos]
        return Write(
            request_id=new_request_id(),
            project_id=_NOBODY,
            inserts=RecordSet(hosts=tuple(host for host in records if known[host.id] is None)),
            updates=RecordSet(hosts=tuple(host for host in records if known[host.id] is not None)),
            guards=tuple(Unchanged("host", old.id, old.revision_number) for old in known.values() if old),
        )

    def _record_of(self, host_id: HostId) -> Host | None:
        node = self._region.hosts.get(host_id)
        return node.record if node is not None else None

    def _is_introduced(self, hello: Hello) -> bool:
        """Does the host's record, as it is known here, say what its agent says?"""
        record = self._record_of(hello.host)
        if record is None:
            return False
        return (record.vtep, record.zone, record.data_plane) == (hello.vtep, hello.zone, hello.data_plane)


def _introduced(record: Host | None, hello: Hello, now_us: int) -> Host:
    """Let a host's record, or a new one, say what its agent says."""
    old = record or Host(
        id=hello.host,
        project_id=_NOBODY,
        name=hello.host,
        created_at=now_us,
        revision_number=0,
        vtep=hello.vtep,
    )
    return msgspec.structs.replace(
        old,
        vtep=hello.vtep,
        zone=hello.zone,
        data_plane=hello.data_plane,
        updated_at=now_us,
        revision_number=old.revision_number + 1,
    )


def _ended() -> errors.Unavailable:
    return errors.Unavailable("the controller stops", retry_after_s=1)
