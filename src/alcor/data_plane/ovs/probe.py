"""Asks whether a host's switch answers, without changing anything."""

import asyncio

from alcor.data_plane.ovs.dialogue import CONNECT_S
from alcor.data_plane.ovs.endpoint import SwitchEndpoints
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.ovs.ovsdb import OvsdbConnection
from alcor.model.errors import Unavailable


async def probe(endpoints: SwitchEndpoints) -> None:
    """Have a word with database and bridge. Raises Unavailable when either does not answer."""
    database = await OvsdbConnection.open(endpoints.database, on_update=lambda _: None, on_lost=lambda _: None)
    try:
        await database.transact([])
        switch = await OpenFlowConnection.open(
            endpoints.bridge, on_packet=lambda _: None, on_lost=lambda _: None
        )
        switch.close()
    finally:
        database.close()


async def greet(endpoints: SwitchEndpoints) -> None:
    """Have database and bridge prove who they are, which takes both at work. Raises Unavailable.

    Without a certificate that they would let in: whoever is only asked about a host is not to write there.
    """
    for place in endpoints:
        try:
            async with asyncio.timeout(CONNECT_S):
                await place.connect(_Greeting)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"there is no answer at {place}", retry_after_s=0.2) from error


class _Greeting(asyncio.Protocol):
    """A connection that ends when the peer has proved who it is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.abort()  # type: ignore[attr-defined]  # a stream's transport
