"""A control plane in memory that keeps the contract of `Convergence`: in force is only what was said to be."""

import asyncio
from collections.abc import Sequence
from typing import Literal

from alcor.contracts.convergence import (
    HostReceipt,
    HostStatus,
    NetworkProgress,
    Omitted,
    PortState,
    Receipt,
    ResyncProgress,
    Until,
)
from alcor.contracts.store import Change, Store
from alcor.model.ids import HostId, NetworkId, PortId
from alcor.model.records import Host, Port


class ConvergenceDouble:
    """Hears of commits from the store. Owner of what hosts are said to have acknowledged and plugged."""

    def __init__(self, store: Store) -> None:
        self._revision = 0
        self._ports: dict[str, tuple[Port, int]] = {}
        self._applied: dict[str, int] = {}
        self._plugged: set[str] = set()
        self._hosts: dict[str, tuple[Host, bool]] = {}
        self._receipts: dict[int, Receipt] = {}
        self._moved = asyncio.Event()
        self.acknowledges_at_once = False
        store.listen(self._heard)

    def add_host(self, name: str, *, is_alive: bool = True, zone: str = "") -> Host:
        """Introduce a host, or change whether its agent lives; give its record."""
        number = len(self._hosts) + 1
        record = Host(
            id=HostId(name), project_id="", vtep=bytes((192, 0, 2, number)), zone=zone, data_plane="double"
        )
        self._hosts[name] = (record, is_alive)
        return record

    def acknowledge(self, port_id: str) -> None:
        """The port's host has it in force, as it is now."""
        self._applied[port_id] = self._ports[port_id][1]
        self._wake()

    def plug(self, port_id: str) -> None:
        """The port's workload is there."""
        self._plugged.add(port_id)
        self._wake()

    async def port_states(self, ports: Sequence[Port]) -> list[PortState]:
        return [self._state(port) for port in ports]

    async def wait(
        self,
        port_ids: Sequence[PortId],
        *,
        revision: int,
        until: Until,
        timeout_s: float,
    ) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_so(port_ids, revision, until):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def wait_revision(self, revision: int, *, timeout_s: float) -> bool:
        receipt = self._receipts.get(revision)
        return receipt is not None and receipt.in_force

    async def receipt(self, revision: int) -> Receipt | None:
        return self._receipts.get(revision)

    async def hosts(self) -> list[HostStatus]:
        return [
            HostStatus(
                record=record,
                alive=is_alive,
                started_at=1_767_225_600_000_000,
                last_heard_at=1_767_225_600_000_000,
                ports=sum(port.host == name for port, _ in self._ports.values()),
                ports_in_force=0,
                ports_plugged=0,
                sections=0,
                sections_pending=0,
                reason="the agent answers" if is_alive else "the agent is silent",
                agent_version="0.9" if is_alive else "",
            )
            for name, (record, is_alive) in sorted(self._hosts.items())
        ]

    async def host(self, host_id: HostId) -> HostStatus | None:
        return next((status for status in await self.hosts() if status.record.id == host_id), None)

    async def host_records(self) -> list[Host]:
        return [record for _, (record, _) in sorted(self._hosts.items())]

    async def live_hosts(self) -> list[HostId]:
        return [HostId(name) for name, (_, is_alive) in sorted(self._hosts.items()) if is_alive]

    async def resync(self) -> ResyncProgress:
        alive = sum(is_alive for _, is_alive in self._hosts.values())
        hosts = len(self._hosts)
        return ResyncProgress(3, hosts, hosts - alive, 1, 0, alive - 1, 2, 1, 4096)

    async def resync_networks(self) -> list[NetworkProgress]:
        return [NetworkProgress(NetworkId("net-1"), 3, 3), NetworkProgress(NetworkId("net-2"), 2, 1)]

    def _heard(self, change: Change) -> None:
        self._revision = max(self._revision, change.revision)
        for port in change.puts.ports:
            self._ports[port.id] = (port, change.revision)
            if self.acknowledges_at_once and port.host in self._hosts:
                self._applied[port.id] = change.revision
        for host in change.puts.hosts:
            self._hosts[host.id] = (host, self._hosts.get(host.id, (host, False))[1])
        for host in change.deletes.hosts:
            self._hosts.pop(host.id, None)
        for port in change.deletes.ports:
            self._ports.pop(port.id, None)
            self._applied.pop(port.id, None)
        hosts = sorted({port.host for port in change.puts.ports if port.host in self._hosts})
        receipts = tuple(HostReceipt(host, "pending", None) for host in hosts)
        omitted = Omitted(3, 2, 1, {"fast": 2, "queue": 1}) if hosts else None  # as of one that was cut
        self._receipts[change.revision] = Receipt(
            change.revision, change.committed_at, not hosts, receipts, omitted
        )
        self._wake()

    def _state(self, port: Port) -> PortState:
        applied = self._applied.get(port.id)
        held = self._ports.get(port.id)
        is_in_force = applied is not None and held is not None and applied >= held[1]
        is_plugged = port.id in self._plugged
        is_alive = self._hosts.get(port.host, (None, False))[1]
        if is_in_force and is_plugged:
            return PortState("ACTIVE", True, True, applied, "", is_alive)
        status: Literal["DOWN", "BUILD"] = "DOWN" if is_in_force or not is_alive else "BUILD"
        reason = "" if is_in_force else "not acknowledged"
        return PortState(status, is_in_force, is_plugged, applied, reason, is_alive)

    def _is_so(self, port_ids: Sequence[PortId], revision: int, until: str) -> bool:
        if self._revision < revision:
            return False
        states = [self._state(self._ports[port_id][0]) for port_id in port_ids if port_id in self._ports]
        return all(state.in_force and (until == "in_force" or state.plugged) for state in states)

    def _wake(self) -> None:
        self._moved.set()
