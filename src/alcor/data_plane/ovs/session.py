"""One working time of a switch: both connections, what is plugged, and the flows it holds."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from alcor.data_plane.ovs import attachments, fence, setup
from alcor.data_plane.ovs.attachments import AttachmentView, KeyPlace
from alcor.data_plane.ovs.endpoint import Endpoint, SwitchEndpoints
from alcor.data_plane.ovs.fence import Bid, Fenced, Recorded
from alcor.data_plane.ovs.flow_table import FlowTable
from alcor.data_plane.ovs.messages import PacketIn
from alcor.data_plane.ovs.openflow import OpenFlowConnection, Stale
from alcor.data_plane.ovs.ovsdb import Operation, OvsdbConnection, TableUpdates, WaitFailed
from alcor.data_plane.ovs.setup import Exposure
from alcor.model.errors import Unavailable
from alcor.model.ids import PortId

READY_S = 10.0
POLL_S = 0.01


class Session:
    """Owner of both connections and of the claim to write. Ends as a whole: half a switch is of no use."""

    def __init__(
        self,
        bridge: str,
        bid: Bid,
        *,
        exposure: Exposure | None = None,
        on_packet: Callable[[PacketIn], None],
        on_attachments: Callable[[set[PortId]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._bridge = bridge
        self._bid = bid
        self._exposure = exposure
        self._on_packet = on_packet
        self._on_attachments = on_attachments
        self._on_lost = on_lost
        self._database: OvsdbConnection | None = None
        self._switch: OpenFlowConnection | None = None
        self._changed = asyncio.Event()
        self._ended = False
        self._lapsed: Recorded | None = None
        self._renewal = 0
        self.taken_from = ""  # who wrote before, if that was another
        self.view = AttachmentView(bridge)
        self.tunnel_port = 0
        self.table: FlowTable

    async def open(self, endpoints: SwitchEndpoints, *, lapsed: Recorded | None = None) -> None:
        """Connect, claim the switch, see to bridge and tunnel. Raises Fenced, Unavailable, Broken.

        `lapsed`: another's record that was not renewed, see `fence`.
        """
        self._lapsed = lapsed
        try:
            async with asyncio.timeout(READY_S):
                await self._open(endpoints)
        except TimeoutError as error:
            raise Unavailable(f"the switch did not make {setup.TUNNEL}", retry_after_s=0.2) from error

    @property
    def switch(self) -> OpenFlowConnection:
        assert self._switch is not None, "open first"
        return self._switch

    @property
    def token(self) -> int:
        """The token under which this session writes."""
        return self._bid.token

    async def record_keys(self, keys: Mapping[KeyPlace, int | None]) -> None:
        """Write port keys on interfaces, in one transaction. Raises Fenced, Unavailable, Broken."""
        await self._guarded(attachments.record_keys(keys))

    async def claim(self, bid: Bid) -> None:
        """Write under a token from now on, in the database first. Raises Fenced, Unavailable, Broken.

        Fenced, too, when another wrote since this session was opened, whatever its token: what is held here may
        be older than what that one wrote.
        """
        await self._record(bid, is_first=False)
        try:
            await self.switch.become_master(self._bid.token)
        except Stale as error:
            raise fence.overtaken(self._bid.token) from error

    async def renew(self) -> None:
        """Renew the lease of our record. Raises Fenced, Unavailable, Broken."""
        self._renewal += 1
        await self._guarded([fence.renew(self._bridge, self._renewal)])

    async def external_ids(self) -> Mapping[str, str]:
        """Read the bridge's external ids, for `fence.record`."""
        assert self._database is not None, "open first"
        return await setup.external_ids(self._database, self._bridge) or {}

    async def transact(self, operations: Sequence[Operation]) -> object:
        """Do all of it or nothing, for `fence.record`."""
        assert self._database is not None, "open first"
        return await self._database.transact(operations)

    def close(self) -> None:
        """Let go of both connections; `on_lost` is not called."""
        self._ended = True
        for connection in (self._database, self._switch):
            if connection is not None:
                connection.close()

    async def _open(self, endpoints: SwitchEndpoints) -> None:
        self._database = await OvsdbConnection.open(
            endpoints.database, on_update=self._update, on_lost=self._lose
        )
        if await setup.external_ids(self._database, self._bridge) is None:
            if endpoints.is_remote:
                raise Unavailable(f"there is no {self._bridge} on that host", retry_after_s=1.0)
            await setup.create(self._database, self._bridge)
        await self._record(self._bid, is_first=True)
        await self._guarded(await setup.amendments(self._database, self._bridge, self._exposure))
        self._update(await self._database.monitor(attachments.WATCHED))
        self._switch = await self._connect(endpoints.bridge)
        await self.claim(self._bid)
        self.tunnel_port = await self._wait_tunnel()
        self.table = FlowTable(self._switch)

    async def _record(self, bid: Bid, *, is_first: bool) -> None:
        claim = await fence.record(self, self._bridge, bid, lapsed=self._lapsed, is_first=is_first)
        self._bid, self._renewal = claim.bid, claim.renewal
        self.taken_from = claim.taken_from or self.taken_from

    async def _guarded(self, operations: Sequence[Operation]) -> None:
        if not operations:
            return
        try:
            await self.transact([fence.guard(self._bridge, self._bid.token, self._bid.writer), *operations])
        except WaitFailed as error:
            recorded = fence.read(await self.external_ids())
            self._lose(f"'{recorded.writer}' took the switch over")
            raise Fenced(recorded) from error

    async def _connect(self, endpoint: Endpoint) -> OpenFlowConnection:
        while True:  # until the deadline of `open`: the switch makes the socket with the bridge
            try:
                return await OpenFlowConnection.open(endpoint, on_packet=self._on_packet, on_lost=self._lose)
            except Unavailable:
                await asyncio.sleep(POLL_S)

    async def _wait_tunnel(self) -> int:
        while (ofport := self.view.ofport_named(setup.TUNNEL)) is None:
            self._changed.clear()
            await self._changed.wait()
        return ofport

    def _update(self, tables: TableUpdates) -> None:
        concerned = self.view.update(tables)
        self._changed.set()
        if concerned:
            self._on_attachments(concerned)

    def _lose(self, reason: str) -> None:
        if not self._ended:
            self.close()
            self._on_lost(reason)
