"""How far the hosts are: states of ports and hosts, receipts, and waiting for them without polling (law 1)."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from alcor.contracts.convergence import HostStatus, PortState, PortStatus, Receipt, Until
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.delivery.ledger import HostLedger, Ledger
from alcor.control_plane.delivery.paths import HostSession, Paths
from alcor.control_plane.health import watch
from alcor.control_plane.nodes import NO_ROUTER, HostNode, PortRow
from alcor.control_plane.region import Region
from alcor.model import errors
from alcor.model.ids import HostId, PortId
from alcor.model.records import Host, Port


class _PortWaiter:
    """One caller that waits for ports. `missing`: port -> the hosts it is to be on."""

    __slots__ = ("done", "missing", "on_host", "until")

    def __init__(self, until: Until, done: asyncio.Future[None]) -> None:
        self.until: Until = until
        self.done = done
        self.missing: dict[PortId, tuple[HostId, ...]] = {}
        self.on_host: dict[HostId, set[PortId]] = {}


class RegionConvergence:
    """What the controller knows of its hosts, from its memory. Owner of those who wait.

    `answers` gives it to the API, as `contracts.convergence` asks.
    The controller calls `host_moved`, `ports_moved`, `revision_known` and `revisions_complete`.
    """

    def __init__(
        self,
        region: Region,
        interest: Interest,
        ledger: Ledger,
        streams: Mapping[HostId, HostSession],
        paths: Paths,
        *,
        describe: Callable[[HostStatus], HostStatus],
    ) -> None:
        """`describe` adds to a host's status what is known of a host without its own agent."""
        self._region = region
        self._interest = interest
        self._ledger = ledger
        self._streams = streams
        self._paths = paths
        self._describe = describe
        self._waiters_of_host: dict[HostId, dict[_PortWaiter, None]] = {}
        self._waiters_of_port: dict[PortId, dict[_PortWaiter, None]] = {}
        self._revision_known: dict[int, list[asyncio.Future[None]]] = {}
        self._revision_complete: dict[int, list[asyncio.Future[None]]] = {}

    # States

    def port_states(self, ports: Sequence[Port]) -> list[PortState]:
        """Give the state of each port, in order. O(1) each; for router interfaces O(hosts of the router)."""
        return [
            state if not self.is_alive(port.host) else msgspec.structs.replace(state, host_is_alive=True)
            for port, state in zip(ports, map(self._port_state, ports), strict=True)
        ]

    def _port_state(self, port: Port) -> PortState:
        row = self._region.ports.get(port.id)
        if row is None:
            return _down("the controller has not heard of it yet")
        state = self._interface_state(row) if row.router != NO_ROUTER else self._row_state(row)
        return state if not state.in_force or row.describes(port) else _unheard(state)

    def heard_state(self, port_id: PortId) -> PortState | None:
        """Give the state of a workload's port as its host tells it; None while the host is not heard. O(1)."""
        row = self._region.ports.get(port_id)
        if row is None or row.router != NO_ROUTER or row.host not in self._streams:
            return None
        return self._row_state(row)

    def _row_state(self, row: PortRow) -> PortState:
        if not row.is_local:
            return _down("it is bound to no host")
        stream = self._streams.get(row.host)
        if stream is None:
            known = self._region.hosts[row.host].record is not None
            return _down(
                f"the agent of host '{row.host}' is not connected"
                if known
                else f"no agent has introduced host '{row.host}'"
            )
        account = self._ledger.account(row.host)
        plugged = row.id in stream.plugged
        applied = account.acknowledged.get(self._region.networks[row.network_id].key)
        refusal = self._refusal(row, account)
        if refusal:
            return PortState("ERROR", False, plugged, applied, refusal)
        if applied is None or applied < row.goal:
            return PortState("BUILD", False, plugged, applied, "its host has not acknowledged it yet")
        status, reason = _status_in_force(row, plugged=plugged)
        return PortState(status, True, plugged, applied, reason)

    def _refusal(self, row: PortRow, account: HostLedger) -> str:
        if not account.refused:
            return ""
        keys = [self._region.networks[row.network_id].key]
        if row.port_security:
            keys += [self._region.groups[group_id].key for group_id in row.groups]
        for key in keys:
            if key in account.refused:
                return f"host '{row.host}' refused {key}: {account.refused[key][1]}"
        return ""

    def _interface_state(self, row: PortRow) -> PortState:
        """A router's interface is in force when every host that wants the router has it; nothing is plugged."""
        key = self._region.routers[row.router].key
        oldest: int | None = None
        for host_id in self._interest.router_holders(row.router):
            if host_id not in self._streams:
                return _down(f"the agent of host '{host_id}', which routes for it, is not connected")
            account = self._ledger.account(host_id)
            applied = account.acknowledged.get(key)
            if key in account.refused:
                return PortState("ERROR", False, False, None, f"host '{host_id}' refused it")
            if applied is None or applied < row.goal:
                return PortState("BUILD", False, False, applied, f"host '{host_id}' has not acknowledged it")
            oldest = applied if oldest is None else min(oldest, applied)
        if not row.admin_state_up:
            return PortState("DOWN", True, False, oldest, "it is administratively down")
        return PortState("ACTIVE", True, False, oldest, "every host that routes for it has it")

    def is_in_force(self, row: PortRow) -> bool:
        """Has the port's host acknowledged all it must hold for it? O(1)."""
        if row.router != NO_ROUTER:
            return self._interface_state(row).in_force
        if row.host not in self._streams:
            return False
        account = self._ledger.account(row.host)
        applied = account.acknowledged.get(self._region.networks[row.network_id].key)
        return applied is not None and applied >= row.goal and not self._refusal(row, account)

    def receipt(self, revision: int) -> Receipt | None:
        return self._ledger.receipt(revision)

    def hosts(self) -> list[HostStatus]:
        """Give all hosts that an agent introduced, by name. O(their ports)."""
        found = sorted(self._region.hosts.items())
        return [self._host_status(node) for _, node in found if node.record is not None]

    def host(self, host_id: HostId) -> HostStatus | None:
        """Give one host; None when no agent has introduced it. O(its ports)."""
        node = self._region.hosts.get(host_id)
        return None if node is None or node.record is None else self._host_status(node)

    def host_records(self) -> list[Host]:
        """Give the records of all introduced hosts, by name. O(hosts)."""
        return [node.record for _, node in sorted(self._region.hosts.items()) if node.record is not None]

    def is_alive(self, host_id: HostId) -> bool:
        """Has the host an agent that is connected? False for an unknown host. O(1)."""
        return host_id in self._streams and self.is_introduced(host_id)

    def is_introduced(self, host_id: HostId) -> bool:
        """Is the host's record known? O(1)."""
        node = self._region.hosts.get(host_id)
        return node is not None and node.record is not None

    def live_hosts(self) -> list[HostId]:
        """Name the introduced hosts that have an agent that is connected, in order. O(hosts)."""
        return [host_id for host_id in sorted(self._region.hosts) if self.is_alive(host_id)]

    def _host_status(self, node: HostNode) -> HostStatus:
        assert node.record is not None, "only introduced hosts have a status"
        stream = self._streams.get(node.id)
        account = self._ledger.account(node.id) if stream is not None else HostLedger()
        rows = [row for own in node.networks.values() for row in own.values()]
        wanted = self._interest.wanted.get(node.id, {})
        pending = sum(account.acknowledged.get(key, -1) < revision for key, revision in wanted.items())
        status = HostStatus(
            record=node.record,
            alive=stream is not None,
            started_at=stream.started_at if stream is not None else None,
            last_heard_at=watch.heard_at(stream) if stream is not None else None,
            ports=len(rows),
            ports_in_force=sum(self.is_in_force(row) for row in rows) if stream is not None else 0,
            ports_plugged=sum(row.id in stream.plugged for row in rows) if stream is not None else 0,
            sections=len(wanted),
            sections_pending=pending,
            reason=_host_reason(stream, account, pending),
            path=(choice := self._paths.choice(node.id)).path,
            path_reason=choice.reason,
            paths=self._paths.words(node.id),
            agent_version=stream.agent_version if stream is not None else "",
        )
        return self._describe(status)

    # Waiting

    async def wait(self, port_ids: Sequence[PortId], *, revision: int, until: Until, timeout_s: float) -> bool:
        """Wait until the revision is known here and each port is so, or deleted. False on timeout."""
        loop = asyncio.get_running_loop()
        waiter = _PortWaiter(until, loop.create_future())
        try:
            async with asyncio.timeout(timeout_s):
                await self._know(revision)
                for port_id in port_ids:
                    self._expect(waiter, port_id)
                if waiter.missing:
                    await waiter.done
        except TimeoutError:
            return False
        finally:
            for port_id in list(waiter.missing):
                self._release(waiter, port_id)
        return True

    async def wait_revision(self, revision: int, *, timeout_s: float) -> bool:
        """Wait until a revision is in force on every host concerned.

        False on timeout, and at once when its receipt is known no longer: unknown is never ready (law 1).
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._know(revision)
                complete = self._ledger.is_complete(revision)
                if complete is False:
                    self._revision_complete.setdefault(revision, []).append(future)
                    self._ledger.await_completion(revision, begins=True)
                    try:
                        await future
                    finally:
                        self._ledger.await_completion(revision, begins=False)
                    complete = True
        except TimeoutError:
            return False
        finally:
            _remove(self._revision_complete, revision, future)
        return bool(complete)

    def host_moved(self, host_id: HostId) -> None:
        """Something about a host's ports changed: see who waited for it."""
        for waiter in list(self._waiters_of_host.get(host_id, ())):
            for port_id in list(waiter.on_host.get(host_id, ())):
                row = self._region.ports.get(port_id)
                if row is None or self._is_so(row, waiter.until):
                    self._release(waiter, port_id)
            self._finish(waiter)

    def ports_moved(self, port_ids: Iterable[PortId]) -> None:
        """Records of ports changed or went: those who wait follow them. O(ports somebody waits for)."""
        if not self._waiters_of_port:
            return
        for port_id in port_ids:
            for waiter in list(self._waiters_of_port.get(port_id, ())):
                self._release(waiter, port_id)
                self._expect(waiter, port_id)
                self._finish(waiter)

    def revision_known(self, revision: int) -> None:
        """The region holds a revision now."""
        for known in [known for known in self._revision_known if known <= revision]:
            _resolve(self._revision_known.pop(known))

    def revisions_complete(self, revisions: Iterable[int]) -> None:
        """Every host concerned has these revisions now."""
        for revision in revisions:
            _resolve(self._revision_complete.pop(revision, ()))

    def stop(self) -> None:
        """End all waiting with Unavailable: nothing more will be heard here."""
        waiting = [future for futures in self._revision_known.values() for future in futures]
        waiting += [future for futures in self._revision_complete.values() for future in futures]
        waiting += [waiter.done for waiters in self._waiters_of_port.values() for waiter in waiters]
        for future in waiting:
            if not future.done():
                future.set_exception(errors.Unavailable("the controller stops", retry_after_s=1))

    async def _know(self, revision: int) -> None:
        if self._region.revision >= revision:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._revision_known.setdefault(revision, []).append(future)
        try:
            await future
        finally:
            _remove(self._revision_known, revision, future)

    def _expect(self, waiter: _PortWaiter, port_id: PortId) -> None:
        row = self._region.ports.get(port_id)
        if row is None or self._is_so(row, waiter.until):
            return
        hosts = (row.host,) if row.router == NO_ROUTER else tuple(self._interest.router_holders(row.router))
        waiter.missing[port_id] = hosts
        for host_id in hosts:
            waiter.on_host.setdefault(host_id, set()).add(port_id)
            self._waiters_of_host.setdefault(host_id, {})[waiter] = None
        self._waiters_of_port.setdefault(port_id, {})[waiter] = None

    def _release(self, waiter: _PortWaiter, port_id: PortId) -> None:
        hosts = waiter.missing.pop(port_id, None)
        if hosts is None:
            return
        waiters = self._waiters_of_port[port_id]
        del waiters[waiter]
        if not waiters:
            del self._waiters_of_port[port_id]
        for host_id in hosts:
            on_this_host = waiter.on_host[host_id]
            on_this_host.discard(port_id)
            if not on_this_host:
                del waiter.on_host[host_id]
                others = self._waiters_of_host[host_id]
                del others[waiter]
                if not others:
                    del self._waiters_of_host[host_id]

    def _finish(self, waiter: _PortWaiter) -> None:
        if not waiter.missing and not waiter.done.done():
            waiter.done.set_result(None)

    def _is_so(self, row: PortRow, until: Until) -> bool:
        if not self.is_in_force(row):
            return False
        if until == "in_force" or row.router != NO_ROUTER:
            return True
        stream = self._streams.get(row.host)
        return row.admin_state_up and stream is not None and row.id in stream.plugged


def _down(reason: str) -> PortState:
    return PortState("DOWN", False, False, None, reason)


def _unheard(state: PortState) -> PortState:
    """What is in force is not what the record says: a commit that is still on its way here."""
    return PortState(
        "BUILD", False, state.plugged, state.applied_revision, "the controller has not heard of its last change"
    )


def _status_in_force(row: PortRow, *, plugged: bool) -> tuple[PortStatus, str]:
    if not row.admin_state_up:
        return "DOWN", "it is administratively down"
    if not plugged:
        return "DOWN", "its workload is not plugged"
    return "ACTIVE", "in force and plugged"


def _host_reason(stream: HostSession | None, account: HostLedger, pending: int) -> str:
    if stream is None:
        return "its agent is not connected"
    if account.refused:
        key, (_, reason) = next(iter(account.refused.items()))
        return f"it refused {len(account.refused)} sections, {key} first: {reason}"
    if pending:
        return f"{pending} sections are under way"
    return "it holds all that it must"


def _resolve(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _remove(
    waiting: dict[int, list[asyncio.Future[None]]], revision: int, future: asyncio.Future[None]
) -> None:
    futures = waiting.get(revision)
    if futures is not None and future in futures:
        futures.remove(future)
        if not futures:
            del waiting[revision]
