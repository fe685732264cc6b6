"""Hosts: agents introduce them; administrators describe them, and forget those that are gone."""

from alcor.contracts.store import Store
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.model.records import Host, RecordSet
from alcor.runtime.clock import Clock


class HostService:
    """Changes and removes the records of hosts."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def describe(self, caller: Caller, host_id: str, description: str) -> tuple[int, Host]:
        """Keep what is said of a host for people."""

        async def attempt() -> tuple[int, Host]:
            before = await access.fetch_one(self._store, caller, Host, host_id)
            after = settlement.revised(before, self._clock.now_us(), description=description)
            write = writes.changing(caller, before, updates=RecordSet(hosts=(after,)))
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def forget(self, caller: Caller, host_id: str) -> int:
        """Remove a host whose agent does not come back; if it does, it introduces the host anew."""

        async def attempt() -> int:
            host = await access.fetch_one(self._store, caller, Host, host_id)
            return await self._store.commit(writes.removing(caller, host, deletes=RecordSet(hosts=(host,))))

        return await settlement.settle(attempt)
