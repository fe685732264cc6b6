"""One process's session with the store: slow, sometimes away, ended by a crash at either end.

A call that fails may have been carried out or not, as with a real connection. Of its own commits a process
hears if they are answered; of all others late, twice or never.
"""

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from alcor.contracts.store import Change, Done, Query, R, Snapshot, Write
from alcor.model import errors
from alcor.simulation import virtual_time
from alcor.simulation.store_server import StoreServer

T = TypeVar("T")
_AWAY = 0.004  # chance of a call that fails
_UNHEARD, _REPEATED, _DELAYED = 0.05, 0.05, 0.2  # chances of a commit's callback
_SLOW_S = 0.01


class StoreSession:
    """Implements `Store` over the server's. Owner of its listeners, until it is closed."""

    def __init__(self, server: StoreServer, chance: random.Random, *, commits_here: bool) -> None:
        """`commits_here`: listeners are told its own commits; else they are told those of all."""
        self.faulty = True
        self.is_cut = False
        self._commits_here = commits_here
        self._server = server
        self._store = server.store
        self._chance = chance
        self._is_open = True
        self._own_listeners: list[Callable[[Change], None]] = []

    @property
    def limits(self) -> Mapping[str, int]:
        return self._store.limits

    def close(self) -> None:
        """End the session: its process is gone, and nothing more of it reaches the store."""
        self._is_open = False

    async def get(self, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
        return await self._answer(self._store.get(kind, ids))

    async def select(self, kind: type[R], query: Query) -> list[R]:
        return await self._answer(self._store.select(kind, query))

    async def commit(self, write: Write) -> int:
        revision = await self.carry_out(lambda: self._store.commit(write))
        if self._own_listeners:
            (change,) = await self._store.changes(after=revision - 1, limit=1)
            for on_commit in self._own_listeners:
                on_commit(change)
        return revision

    async def usage(self, project_id: str) -> dict[str, int]:
        return await self._answer(self._store.usage(project_id))

    async def holders(self, addresses: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], str]:
        return await self._answer(self._store.holders(addresses))

    async def held_addresses(self, subnet_ids: Sequence[str]) -> dict[str, int]:
        return await self._answer(self._store.held_addresses(subnet_ids))

    async def done(self, project_id: str, key: str) -> Done | None:
        return await self._answer(self._store.done(project_id, key))

    async def forget_done(self, *, limit: int) -> int:
        return await self.carry_out(lambda: self._store.forget_done(limit=limit))

    async def revision(self) -> int:
        return await self._answer(self._store.revision())

    async def changes(self, *, after: int, limit: int = 1000) -> list[Change]:
        return await self._answer(self._store.changes(after=after, limit=limit))

    async def begin_epoch(self) -> int:
        return await self.carry_out(self._store.begin_epoch)

    def snapshot(self) -> Snapshot:
        if self._is_away:
            raise _unavailable()
        return _SlowSnapshot(self._store.snapshot(), self._server)

    def listen(self, on_commit: Callable[[Change], None]) -> None:
        if self._commits_here:
            self._own_listeners.append(on_commit)
            return
        loop = virtual_time.running()
        listener = contextvars.copy_context()

        def tell(change: Change) -> None:
            if self._is_open and not self.is_cut:
                loop.deliveries += 1
                loop.call_soon(on_commit, change, context=listener.copy())

        def hear(change: Change) -> None:
            if not self._is_open or self.is_cut:
                return
            draw = self._chance.random() if self.faulty else 1.0
            if draw < _UNHEARD:
                return
            if draw < _UNHEARD + _DELAYED:
                loop.deliver_at(loop.now_s + draw, tell, change)
            else:
                tell(change)
                if draw < _UNHEARD + _DELAYED + _REPEATED:
                    loop.deliver_at(loop.now_s + draw, tell, change)

        self._store.listen(hear)

    async def carry_out(self, work: Callable[[], Awaitable[T]]) -> T:
        """Change something there; a failure may come before it is done or after."""
        await self._reach()
        answer = await work()
        await self._reach()
        return answer

    async def _answer(self, call: Awaitable[T]) -> T:
        answer = await call
        await self._reach()
        return answer

    async def _reach(self) -> None:
        crashes = self._server.crashes
        if self.faulty:
            draw = self._chance.random()
            await asyncio.sleep(draw * _SLOW_S)
            if draw < _AWAY:
                raise _unavailable()
        if self._is_away or self._server.crashes != crashes:
            raise _unavailable()

    @property
    def _is_away(self) -> bool:
        return self.is_cut or not self._is_open or not self._server.is_up


class _SlowSnapshot:
    """A snapshot that takes its time, so that commits come while it is read, and crashes too."""

    def __init__(self, snapshot: Snapshot, server: StoreServer) -> None:
        self._snapshot = snapshot
        self._server = server
        self._crashes = server.crashes
        self.revision = snapshot.revision

    async def records(self, kind: type[R]) -> AsyncIterator[Sequence[R]]:
        async for chunk in self._snapshot.records(kind):
            await asyncio.sleep(_SLOW_S)
            if self._server.crashes != self._crashes:
                raise _unavailable()
            yield chunk

    async def __aenter__(self) -> Snapshot:
        await self._snapshot.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._snapshot.__aexit__(*exc)


def _unavailable() -> errors.Unavailable:
    return errors.Unavailable("the store does not answer", retry_after_s=0.1)
