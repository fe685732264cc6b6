"""Addresses of pairs that workloads say are their own: what is news becomes a commit like any other.

workload's word --> agent --Announce--> heard --> queue (bounded) --> run --commit--> every host of the network

So the last that announced an address holds it, for all hosts, after restarts, and in the order of the log.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from alcor.contracts.agent_channel import Announce
from alcor.contracts.store import Stale, Store, Unchanged, Write
from alcor.control_plane.nodes import PortRow
from alcor.control_plane.region import Region
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.model.records import Port, RecordSet
from alcor.runtime.clock import Clock, new_request_id
from alcor.runtime.event_log import EventLog

WAITING_MAX = 1_024  # what finds no room is announced again by the workload
TRIES = 5  # somebody else may change the ports between reading and writing
ANNOUNCED_MAX = 64  # addresses of one port


class Announcements:
    """Owner of what waits to be committed, one at a time."""

    def __init__(
        self,
        region: Region,
        store: Store,
        clock: Clock,
        log: EventLog,
        know: Callable[[int], Awaitable[None]],
    ) -> None:
        """`know`: waits until a revision is in the region."""
        self._region = region
        self._store = store
        self._clock = clock
        self._log = log
        self._know = know
        self._waiting: asyncio.Queue[tuple[HostId, Announce]] = asyncio.Queue(WAITING_MAX)

    def heard(self, host_id: HostId, said: Announce) -> None:
        """Take note of what a host's workload says. Never blocks."""
        if self._news(host_id, said) is None:
            return
        if self._waiting.full():
            self._log.warning("announcement_dropped", host_id=host_id, port_id=said.port_id)
            return
        self._waiting.put_nowait((host_id, said))

    async def run(self) -> None:
        """Commit for ever."""
        while True:
            host_id, said = await self._waiting.get()
            try:
                await self._commit(host_id, said)
            except errors.AlcorError as error:
                self._log.warning(
                    "announcement_not_kept", host_id=host_id, port_id=said.port_id, reason=error.message
                )

    def _news(self, host_id: HostId, said: Announce) -> PortRow | None:
        """Give the port if it is the host's, may have the address, and is not known to have it."""
        row = self._region.ports.get(said.port_id)
        if row is None or row.host != host_id or not row.port_security or said.ip in row.announced:
            return None
        network = self._region.networks[row.network_id]
        if said.ip in network.addresses or not any(pair.covers(said.ip) for pair in row.pairs):
            return None
        return row if len(row.announced) < ANNOUNCED_MAX else None

    async def _commit(self, host_id: HostId, said: Announce) -> None:
        for _ in range(TRIES):
            row = self._news(host_id, said)
            if row is None:
                return
            former = self._region.networks[row.network_id].announced.get(said.ip)
            ids = [row.id] if former is None else [row.id, former.id]
            ports = await self._store.get(Port, ids)
            port = ports.get(row.id)
            if port is None or not any(pair.covers(said.ip) for pair in port.address_pairs):
                return
            try:
                revision = await self._store.commit(self._write(port, list(ports.values()), said.ip))
            except Stale:
                await self._know(await self._store.revision())
                continue
            await self._know(revision)
            return

    def _write(self, holder: Port, ports: list[Port], ip: bytes) -> Write:
        now_us = self._clock.now_us()
        return Write(
            request_id=new_request_id(),
            project_id=holder.project_id,
            updates=RecordSet(
                ports=tuple(_saying(port, ip, now_us, holds=port.id == holder.id) for port in ports)
            ),
            guards=tuple(Unchanged("port", port.id, port.revision_number) for port in ports),
        )


def _saying(port: Port, ip: bytes, now_us: int, *, holds: bool) -> Port:
    others = [held for held in port.announced if held != ip]
    return msgspec.structs.replace(
        port,
        announced=tuple(sorted([*others, ip] if holds else others)),
        updated_at=now_us,
        revision_number=port.revision_number + 1,
    )
