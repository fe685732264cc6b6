"""Plugs one workload at a time over an open database connection, as a hypervisor does: no process is forked."""

from alcor.data_plane.ovs.attachments import PORT_ID
from alcor.data_plane.ovs.endpoint import Endpoint
from alcor.data_plane.ovs.ovsdb import Operation, OvsdbConnection
from alcor.lab.host import EmulatedHost
from alcor.lab.workload import BRIDGE, Workload


class Plugger:
    """Owner of one database connection for each host that it plugged on."""

    def __init__(self) -> None:
        self._connections: dict[str, OvsdbConnection] = {}

    async def plug(self, workload: Workload) -> None:
        """Put the workload's device on the integration bridge; returns when the database has it."""
        connection = await self._connection(workload.host)
        await connection.transact(_operations(workload))

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    async def _connection(self, host: EmulatedHost) -> OvsdbConnection:
        if host.namespace not in self._connections:
            self._connections[host.namespace] = await OvsdbConnection.open(
                Endpoint(path=str(host.run_dir / "db.sock")), on_update=lambda _: None, on_lost=lambda _: None
            )
        return self._connections[host.namespace]


def _operations(workload: Workload) -> list[Operation]:
    interface: Operation = {
        "op": "insert",
        "table": "Interface",
        "uuid-name": "new_interface",
        "row": {"name": workload.device, "external_ids": ["map", [[PORT_ID, workload.port_id]]]},
    }
    port: Operation = {
        "op": "insert",
        "table": "Port",
        "uuid-name": "new_port",
        "row": {"name": workload.device, "interfaces": ["named-uuid", "new_interface"]},
    }
    onto_bridge: Operation = {
        "op": "mutate",
        "table": "Bridge",
        "where": [["name", "==", BRIDGE]],
        "mutations": [["ports", "insert", ["set", [["named-uuid", "new_port"]]]]],
    }
    return [interface, port, onto_bridge]
