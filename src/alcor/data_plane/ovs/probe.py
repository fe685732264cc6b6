"""Asks whether a host's switch answers, without changing anything."""

from alcor.data_plane.ovs.endpoint import SwitchEndpoints
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.ovs.ovsdb import OvsdbConnection


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
