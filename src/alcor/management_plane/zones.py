"""Availability zones: where hosts are. What a network or router asks for is had in each of them.

Every host answers DHCP and routes for its own ports, so there is nothing to schedule: a hint is a zone in which
the services must be there to be had, and they are in every zone that has hosts. What can be wrong with a hint
is that there is no such zone.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable

from alcor.contracts.store import Change, Query, Store
from alcor.model import errors
from alcor.model.records import Host

_PAGE = 10_000


class ZoneBook:
    """Owner of what is known of hosts' zones: read once, then followed by the changes of all processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._zone_of: dict[str, str] = {}
        self._hosts_in: Counter[str] = Counter()
        self._heard: set[str] = set()  # hosts that changed while all were read
        self._is_read = False
        self._reading = asyncio.Lock()
        self._names: tuple[str, ...] = ()
        store.listen(self.on_change)

    async def names(self) -> tuple[str, ...]:
        """Name the zones that have hosts, ascending. O(hosts) the first time, then O(1)."""
        if not self._is_read:
            async with self._reading:
                if not self._is_read:
                    await self._read()
        return self._names

    async def require(self, hints: Iterable[str]) -> None:
        """Raise Missing AvailabilityZoneNotFound for the first zone that no host is in."""
        for hint in hints:
            if hint not in await self.names():
                raise errors.Missing(
                    f"AvailabilityZone {hint} could not be found.", reason="AvailabilityZoneNotFound"
                )

    def on_change(self, change: Change) -> None:
        """Hear of a commit of any process. O(hosts in it)."""
        for host in change.puts.hosts:
            self._put(host.id, host.zone)
        for host in change.deletes.hosts:
            self._put(host.id, "")

    async def _read(self) -> None:
        self._heard.clear()
        page: list[Host] = []
        while True:
            query = Query(order=(("id", True),), after=page[-1] if page else None, limit=_PAGE)
            page = await self._store.select(Host, query)
            for host in page:
                if host.id not in self._heard:
                    self._put(host.id, host.zone)
            if len(page) < _PAGE:
                break
        self._is_read = True
        self._heard.clear()

    def _put(self, host_id: str, zone: str) -> None:
        if not self._is_read:
            self._heard.add(host_id)
        former = self._zone_of.pop(host_id, "")
        if zone:
            self._zone_of[host_id] = zone
        if former != zone:
            self._hosts_in[former] -= 1
            self._hosts_in[zone] += 1
            self._names = tuple(sorted(name for name, count in self._hosts_in.items() if name and count > 0))
