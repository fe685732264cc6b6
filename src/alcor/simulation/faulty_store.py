"""One process's session with the store: slow, sometimes away; a controller does not always hear of commits."""

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from alcor.contracts.store import Change, Done, Query, R, Snapshot, Store, Write
from alcor.model import errors
from alcor.simulation import virtual_time

T = TypeVar("T")
_AWAY = 0.004  # chance of a call that fails
_UNHEARD, _REPEATED, _DELAYED = 0.05, 0.05, 0.2  # chances of a commit's callback
_SLOW_S = 0.01


class StoreSession:
    """Implements `Store` over another store. Owner of its listeners, until it is closed."""

    def __init__(self, store: Store, chance: random.Random, *, commits_here: bool) -> None:
        """`commits_here`: its own commits are those that its listeners are told, so that none is missed."""
        self.faulty = True
        self.is_cut = False
        self._commits_here = commits_here
        self._store = store
        self._chance = chance
        self._is_open = True

    @property
    def limits(self) -> Mapping[str, int]:
        return self._store.limits

    def close(self) -> None:
        """End the session: its process is gone."""
        self._is_open = False

    async def get(self, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
        return await self._answer(self._store.get(kind, ids))

    async def select(self, kind: type[R], query: Query) -> list[R]:
        return await self._answer(self._store.select(kind, query))

    async def commit(self, write: Write) -> int:
        """Commit; a failure may come before it or after it, as with a real connection."""
        await self._reach()
        revision = await self._store.commit(write)
        await self._reach()
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
        return await self._answer(self._store.forget_done(limit=limit))

    async def revision(self) -> int:
        return await self._answer(self._store.revision())

    async def changes(self, *, after: int, limit: int = 1000) -> list[Change]:
        return await self._answer(self._store.changes(after=after, limit=limit))

    async def begin_epoch(self) -> int:
        await self._reach()
        return await self._store.begin_epoch()

    def snapshot(self) -> Snapshot:
        if self.is_cut:
            raise errors.Unavailable("the store does not answer", retry_after_s=0.1)
        return _SlowSnapshot(self._store.snapshot())

    def listen(self, on_commit: Callable[[Change], None]) -> None:
        loop = virtual_time.running()
        listener = contextvars.copy_context()

        def tell(change: Change) -> None:
            if self._is_open and not self.is_cut:
                loop.deliveries += 1
                loop.call_soon(on_commit, change, context=listener.copy())

        def hear(change: Change) -> None:
            if not self._is_open or self.is_cut:
                return
            draw = self._chance.random() if self.faulty and not self._commits_here else 1.0
            if draw < _UNHEARD:
                return
            if draw < _UNHEARD + _DELAYED:
                loop.deliver_at(loop.now_s + draw, tell, change)
            else:
                tell(change)
                if draw < _UNHEARD + _DELAYED + _REPEATED:
                    loop.deliver_at(loop.now_s + draw, tell, change)

        self._store.listen(hear)

    async def _answer(self, call: Awaitable[T]) -> T:
        answer = await call
        await self._reach()
        return answer

    async def _reach(self) -> None:
        if not self.faulty:
            return
        draw = self._chance.random()
        await asyncio.sleep(draw * _SLOW_S)
        if draw < _AWAY or self.is_cut:
            raise errors.Unavailable("the store does not answer", retry_after_s=0.1)


class _SlowSnapshot:
    """A snapshot that takes its time, so that commits come while it is read."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.revision = snapshot.revision

    async def records(self, kind: type[R]) -> AsyncIterator[Sequence[R]]:
        async for chunk in self._snapshot.records(kind):
            await asyncio.sleep(_SLOW_S)
            yield chunk

    async def __aenter__(self) -> Snapshot:
        await self._snapshot.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._snapshot.__aexit__(*exc)
