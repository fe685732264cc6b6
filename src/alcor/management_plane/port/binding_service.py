"""Bindings of ports: read the port, decide, commit."""

from collections.abc import Callable

from alcor.contracts.store import Store
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.port import bindings
from alcor.management_plane.port.bindings import BindingFields
from alcor.management_plane.trunk import followers
from alcor.model.records import Port, RecordSet
from alcor.runtime.clock import Clock


class BindingService:
    """Makes, changes, activates and removes the bindings of ports."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, caller: Caller, port_id: str, fields: BindingFields) -> tuple[int, Port]:
        """Prepare a port for one host more."""
        return await self._change(caller, port_id, lambda port, now: bindings.added(port, fields, now))

    async def update(self, caller: Caller, port_id: str, host: str, fields: BindingFields) -> tuple[int, Port]:
        """Change a binding."""
        return await self._change(caller, port_id, lambda port, now: bindings.updated(port, host, fields, now))

    async def activate(self, caller: Caller, port_id: str, host: str) -> tuple[int, Port]:
        """Bind a port to a host that it is prepared for."""
        return await self._change(caller, port_id, lambda port, now: bindings.activated(port, host, now))

    async def delete(self, caller: Caller, port_id: str, host: str) -> tuple[int, Port]:
        """Take a binding away."""
        return await self._change(caller, port_id, lambda port, now: bindings.removed(port, host, now))

    async def _change(
        self, caller: Caller, port_id: str, decide: Callable[[Port, int], Port]
    ) -> tuple[int, Port]:
        async def attempt() -> tuple[int, Port]:
            before = await access.fetch_one(self._store, caller, Port, port_id)
            now_us = self._clock.now_us()
            after = decide(before, now_us)
            moved, as_read = await followers.moved(self._store, before, after, now_us)
            write = writes.changing(
                caller,
                before,
                updates=RecordSet(ports=(after, *moved)),
                guards=as_read,
                once=caller.once,
            )
            return await self._store.commit(write), after

        return await settlement.settle(attempt)
