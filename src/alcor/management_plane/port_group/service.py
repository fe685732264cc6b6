"""Port groups: many ports from one template, made and removed in one write."""

from collections import defaultdict
from collections.abc import Sequence

from alcor.contracts.store import NoneWhere, Query, Store
from alcor.management_plane import access, portions, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.port import decisions as port_decisions
from alcor.management_plane.port.service import PortService
from alcor.management_plane.port_group import decisions
from alcor.management_plane.port_group.decisions import PortGroupFields
from alcor.model.records import Port, PortGroup, RecordSet
from alcor.runtime.clock import Clock, new_ids


class PortGroupService:
    """Makes, changes and removes port groups."""

    def __init__(self, store: Store, ports: PortService, clock: Clock) -> None:
        self._store = store
        self._ports = ports
        self._clock = clock

    async def create(
        self, caller: Caller, fields: PortGroupFields, *, live_hosts: Sequence[str]
    ) -> tuple[int, PortGroup, list[Port]]:
        """Make a group and its ports, all or none; give the revision and the records."""
        group_id = new_ids(1)[0]
        # The id's last digits are random, so that small groups do not all begin at the first host.
        hosts = decisions.placement(fields, live_hosts, offset=int(group_id[-6:], 16))
        group = decisions.create(
            fields, group_id=group_id, size=len(hosts), caller=caller, now_us=self._clock.now_us()
        )
        revision, ports = await self._ports.create(caller, decisions.ports(fields, hosts), port_group=group)
        return revision, group, ports

    async def update(
        self, caller: Caller, group_id: str, fields: PortGroupFields, *, expected: int | None
    ) -> tuple[int, PortGroup]:
        """Change a group's name or description."""

        async def attempt() -> tuple[int, PortGroup]:
            before = await access.fetch_one(self._store, caller, PortGroup, group_id)
            settlement.check_expected(before, expected)
            after = decisions.update(before, fields, now_us=self._clock.now_us())
            write = writes.changing(caller, before, updates=RecordSet(port_groups=(after,)))
            return await self._store.commit(write), after

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, group_id: str, *, expected: int | None) -> int:
        """Remove a group and its ports in one write."""

        async def attempt() -> int:
            group = await access.fetch_one(self._store, caller, PortGroup, group_id)
            settlement.check_expected(group, expected)
            ports = (await self.ports_of([group]))[group.id]
            for port in ports:
                port_decisions.check_deletable(port)
            write = writes.removing(
                caller,
                group,
                deletes=RecordSet(port_groups=(group,), ports=tuple(ports)),
                guards=(NoneWhere("port", "port_group_id", group.id),),  # but for these ports
            )
            revision = await self._store.commit(write)
            self._ports.release(ports)
            return revision

        return await settlement.settle(attempt)

    async def ports_of(self, groups: Sequence[PortGroup]) -> dict[str, list[Port]]:
        """Give the ports of each group, by id."""
        by_group: dict[str, list[Port]] = defaultdict(list)
        for chunk in portions.of(groups):
            where = {"port_group_id": tuple(group.id for group in chunk)}
            for port in await self._store.select(Port, Query(where=where)):
                by_group[port.port_group_id].append(port)
        return by_group
