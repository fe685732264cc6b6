"""Trunks: read, decide, commit."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from alcor.contracts.store import Guard, Store
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.trunk import decisions
from alcor.management_plane.trunk.decisions import Decided, Surroundings, TrunkFields
from alcor.model.records import Network, Port, RecordSet, SubPort, Trunk
from alcor.runtime.clock import Clock, new_ids

_NO_PORTS: Mapping[str, Port] = MappingProxyType({})


class TrunkService:
    """Makes, changes and removes trunks; the ports of one change in the same write."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, caller: Caller, asks: Sequence[TrunkFields]) -> tuple[int, list[Trunk]]:
        """Make trunks, all or none; give the revision and the records in order."""
        ids = new_ids(len(asks))

        async def attempt() -> tuple[int, list[Trunk]]:
            around = await self._around(
                caller, [port for fields in asks for port in decisions.named_ports(fields)]
            )
            now_us, ports, trunks = self._clock.now_us(), dict(around.ports), []
            for fields, trunk_id in zip(asks, ids, strict=True):
                # A port that one trunk of the request takes is in use for the next.
                so_far = Surroundings(ports, around.networks)
                decided = decisions.create(fields, so_far, trunk_id=trunk_id, caller=caller, now_us=now_us)
                ports |= {port.id: port for port in decided.ports}
                trunks.append(decided.trunk)
            write = writes.making(
                caller,
                inserts=RecordSet(trunks=tuple(trunks)),
                updates=RecordSet(ports=tuple(ports.values())),
                guards=_as_read(around),
                within=("trunk",),
            )
            return await self._store.commit(write), trunks

        return await settlement.settle(attempt)

    async def update(
        self, caller: Caller, trunk_id: str, fields: TrunkFields, *, expected: int | None
    ) -> tuple[int, Trunk]:
        """Change what is only said of a trunk."""

        async def attempt() -> tuple[int, Trunk]:
            before = await self._fetch(caller, trunk_id, expected)
            after = decisions.update(before, fields, now_us=self._clock.now_us())
            write = writes.changing(caller, before, updates=RecordSet(trunks=(after,)))
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, trunk_id: str, *, expected: int | None) -> int:
        """Remove a trunk; its ports stay, the sub-ports without host."""

        async def attempt() -> int:
            trunk = await self._fetch(caller, trunk_id, expected)
            ports = await self._store.get(Port, [trunk.port_id, *(sub.port_id for sub in trunk.sub_ports)])
            after = decisions.dissolve(trunk, ports, now_us=self._clock.now_us())
            write = writes.removing(
                caller,
                trunk,
                updates=RecordSet(ports=after),
                deletes=RecordSet(trunks=(trunk,)),
                guards=writes.unchanged(ports.values()),
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def add(
        self, caller: Caller, trunk_id: str, more: Sequence[SubPort], *, expected: int | None
    ) -> tuple[int, Trunk]:
        """Give a trunk more sub-ports."""

        async def decide(trunk: Trunk) -> tuple[Decided, tuple[Guard, ...]]:
            parent = await self._store.get(Port, [trunk.port_id])
            around = await self._around(caller, [sub.port_id for sub in more], parent)
            return decisions.add(trunk, more, around, now_us=self._clock.now_us()), _as_read(around)

        return await self._change(caller, trunk_id, decide, expected=expected)

    async def remove(
        self, caller: Caller, trunk_id: str, gone: Sequence[str], *, expected: int | None
    ) -> tuple[int, Trunk]:
        """Take sub-ports away from a trunk."""

        async def decide(trunk: Trunk) -> tuple[Decided, tuple[Guard, ...]]:
            ports = await self._store.get(Port, gone)
            decided = decisions.remove(trunk, gone, ports, now_us=self._clock.now_us())
            return decided, writes.unchanged(ports.values())

        return await self._change(caller, trunk_id, decide, expected=expected)

    async def _change(
        self,
        caller: Caller,
        trunk_id: str,
        decide: Callable[[Trunk], Awaitable[tuple[Decided, tuple[Guard, ...]]]],
        *,
        expected: int | None,
    ) -> tuple[int, Trunk]:
        async def attempt() -> tuple[int, Trunk]:
            before = await self._fetch(caller, trunk_id, expected)
            decided, guards = await decide(before)
            updates = RecordSet(trunks=(decided.trunk,), ports=decided.ports)
            write = writes.changing(caller, before, updates=updates, guards=guards)
            return await self._store.commit(write), decided.trunk

        return await settlement.settle(attempt)

    async def _fetch(self, caller: Caller, trunk_id: str, expected: int | None) -> Trunk:
        trunk = await access.fetch_one(self._store, caller, Trunk, trunk_id)
        settlement.check_expected(trunk, expected)
        return trunk

    async def _around(
        self, caller: Caller, port_ids: Iterable[str], known: Mapping[str, Port] = _NO_PORTS
    ) -> Surroundings:
        """Read ports of the caller's, and the networks of these and of those that are known."""
        wanted = sorted(set(port_ids) - known.keys())
        own = await access.fetch_all_own(self._store, caller, Port, wanted, "update_port")
        ports = {**known, **own}
        network_ids = sorted({port.network_id for port in ports.values()})
        return Surroundings(ports, await self._store.get(Network, network_ids))


def _as_read(around: Surroundings) -> tuple[Guard, ...]:
    return writes.unchanged(around.ports.values())
