"""One working time of a switch: both connections, what is plugged, and the flows it holds."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from alcor.data_plane.ovs import attachments, setup
from alcor.data_plane.ovs.attachments import AttachmentView
from alcor.data_plane.ovs.flow_table import FlowTable
from alcor.data_plane.ovs.messages import PacketIn
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.ovs.ovsdb import OvsdbConnection, TableUpdates
from alcor.model.errors import Unavailable
from alcor.model.ids import PortId

READY_S = 10.0
POLL_S = 0.01


class Session:
    """Owner of both connections. Ends as a whole: half a switch is not worth having."""

    def __init__(
        self,
        bridge: str,
        *,
        on_packet: Callable[[PacketIn], None],
        on_attachments: Callable[[set[PortId]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._bridge = bridge
        self._on_packet = on_packet
        self._on_attachments = on_attachments
        self._on_lost = on_lost
        self._database: OvsdbConnection | None = None
        self._switch: OpenFlowConnection | None = None
        self._changed = asyncio.Event()
        self._ended = False
        self.view = AttachmentView(bridge)
        self.tunnel_port = 0
        self.table: FlowTable

    async def open(self, run_dir: Path) -> None:
        """Connect, and see to bridge and tunnel. Raises Unavailable, Broken."""
        try:
            async with asyncio.timeout(READY_S):
                await self._open(run_dir)
        except TimeoutError as error:
            raise Unavailable(f"the switch did not make {setup.TUNNEL}", retry_after_s=0.2) from error

    @property
    def switch(self) -> OpenFlowConnection:
        assert self._switch is not None, "open first"
        return self._switch

    async def record_keys(self, keys: dict[str, int]) -> None:
        """Write port keys on interfaces, in one transaction. Raises Unavailable, Broken."""
        assert self._database is not None
        await self._database.transact(attachments.record_keys(keys))

    def close(self) -> None:
        """Let go of both connections; `on_lost` is not called."""
        self._ended = True
        for connection in (self._database, self._switch):
            if connection is not None:
                connection.close()

    async def _open(self, run_dir: Path) -> None:
        self._database = await OvsdbConnection.open(
            str(run_dir / "db.sock"), on_update=self._update, on_lost=self._lose
        )
        await setup.ensure(self._database, self._bridge)
        self._update(await self._database.monitor(attachments.WATCHED))
        self._switch = await self._connect(str(run_dir / f"{self._bridge}.mgmt"))
        self.tunnel_port = await self._wait_tunnel()
        self.table = FlowTable(self._switch)

    async def _connect(self, path: str) -> OpenFlowConnection:
        while True:  # until the deadline of `open`: the switch makes the socket with the bridge
            try:
                return await OpenFlowConnection.open(path, on_packet=self._on_packet, on_lost=self._lose)
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
