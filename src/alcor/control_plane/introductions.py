"""How a host becomes known: its agent's first message is judged, and its record says what the agent says."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from alcor.contracts.agent_channel import PROTOCOL, FromAgent, Hello
from alcor.contracts.store import Stale, Store, Taken, Write
from alcor.control_plane.region import Region
from alcor.model import errors, goal_state
from alcor.model.ids import ProjectId
from alcor.model.records import Host, RecordSet
from alcor.runtime.clock import Clock, new_request_id

TRIES = 5  # another controller or a deletion may come between reading and writing the record
AT_ONCE = 64  # commits of host records under way


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
    """Writes hosts' records. `know`: wait until the controller has taken a revision in; raises Unavailable."""

    def __init__(
        self, store: Store, clock: Clock, region: Region, know: Callable[[int], Awaitable[None]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._region = region
        self._know = know
        self._few = asyncio.Semaphore(AT_ONCE)

    async def introduce(self, hello: Hello) -> None:
        """Make the host's record say what its agent says, and see it here before anything is sent."""
        async with self._few:
            node = self._region.hosts.get(hello.host)
            if node is not None and _is_as_introduced(node.record, hello):
                return
            for _ in range(TRIES):
                old = (await self._store.get(Host, [hello.host])).get(hello.host)
                if _is_as_introduced(old, hello):
                    revision = await self._store.revision()
                else:
                    try:
                        revision = await self._store.commit(self._write(hello, old))
                    except (Stale, Taken):
                        continue
                await self._know(revision)
                return
            raise errors.Unavailable("the host's record is being changed by others", retry_after_s=1)

    def _write(self, hello: Hello, old: Host | None) -> Write:
        now = self._clock.now_us()
        request_id, project_id = new_request_id(), ProjectId("")
        if old is None:
            new = Host(
                id=hello.host,
                project_id=project_id,
                name=hello.host,
                created_at=now,
                updated_at=now,
                revision_number=1,
                vtep=hello.vtep,
                zone=hello.zone,
                data_plane=hello.data_plane,
            )
            return Write(request_id=request_id, project_id=project_id, inserts=RecordSet(hosts=(new,)))
        changed = msgspec.structs.replace(
            old,
            vtep=hello.vtep,
            zone=hello.zone,
            data_plane=hello.data_plane,
            updated_at=now,
            revision_number=old.revision_number + 1,
        )
        return Write(request_id=request_id, project_id=project_id, updates=RecordSet(hosts=(changed,)))


def _is_as_introduced(record: Host | None, hello: Hello) -> bool:
    if record is None:
        return False
    return (record.vtep, record.zone, record.data_plane) == (hello.vtep, hello.zone, hello.data_plane)
