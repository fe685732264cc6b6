"""Makes the integration bridge and its tunnel be there, with the options that the pipeline rests on."""

from typing import NamedTuple

from alcor.contracts.data_plane import RESCUE_DATABASE_PORT, RESCUE_OPENFLOW_PORT
from alcor.data_plane.ovs import attachments
from alcor.data_plane.ovs.ovsdb import Json, Operation, OvsdbConnection

TUNNEL = "alcor-vxlan"
TUNNEL_OFPORT = 1
VXLAN_UDP_PORT = "4789"


class Exposure(NamedTuple):
    """How the switch answers neighbours that rescue it: by TLS on the tunnel address. Paths: PEM files."""

    address: str
    private_key: str
    certificate: str
    authority: str


async def external_ids(database: OvsdbConnection, bridge: str) -> dict[str, str] | None:
    """Read a bridge's external ids; None when there is no such bridge. Raises Unavailable, Broken."""
    where: Json = [["name", "==", bridge]]
    select: Operation = {"op": "select", "table": "Bridge", "where": where, "columns": ["external_ids"]}
    (found,) = await database.transact([select])
    rows = found["rows"]
    assert isinstance(rows, list)
    if not rows:
        return None
    assert isinstance(rows[0], dict)
    return dict(attachments.map_of(rows[0]["external_ids"]))


async def create(database: OvsdbConnection, bridge: str) -> None:
    """Make the bridge. Raises Unavailable, Broken."""
    (found,) = await database.transact([_select("Open_vSwitch", [])])
    root = _row_ids(found)
    await database.transact(
        [*_insert_bridge(root[0] if root else None, bridge), *_counted(has_root=bool(root))]
    )


async def amendments(database: OvsdbConnection, bridge: str, exposure: Exposure | None) -> list[Operation]:
    """Give what sets bridge, tunnel and listeners right. Raises Unavailable, Broken."""
    found = await database.transact(
        [
            _select("Bridge", [["name", "==", bridge]]),
            _select("Port", [["name", "==", TUNNEL]]),
            *_exposure_questions(exposure),
        ]
    )
    bridges, tunnels, *exposed = (_row_ids(result) for result in found)
    operations: list[Operation] = [_update("Bridge", bridge, _bridge_row())]
    if tunnels:
        operations.append(_update("Interface", TUNNEL, _tunnel_row()))
    else:
        operations += _insert_port("tunnel", TUNNEL, _tunnel_row())
        target: Json = ["uuid", bridges[0]]
        operations.append(_add("Bridge", "ports", ["named-uuid", "tunnel"], _where(target)))
    if exposure is not None:
        operations += _exposure_operations(bridge, exposure, *exposed)
    return [*operations, *_counted(has_root=True)]


def _exposure_questions(exposure: Exposure | None) -> list[Operation]:
    if exposure is None:
        return []
    manager, controller = _targets(exposure)
    return [
        _select("SSL", []),
        _select("Manager", [["target", "==", manager]]),
        _select("Controller", [["target", "==", controller]]),
    ]


def _exposure_operations(
    bridge: str, exposure: Exposure, keys: list[str], managers: list[str], controllers: list[str]
) -> list[Operation]:
    manager, controller = _targets(exposure)
    key: dict[str, Json] = {
        "private_key": exposure.private_key,
        "certificate": exposure.certificate,
        "ca_cert": exposure.authority,
        "bootstrap_ca_cert": False,
    }
    operations: list[Operation] = []
    if keys:
        operations.append({"op": "update", "table": "SSL", "where": [], "row": key})
    else:
        operations.append({"op": "insert", "table": "SSL", "row": key, "uuid-name": "ssl"})
        root: dict[str, Json] = {"ssl": ["named-uuid", "ssl"]}
        operations.append({"op": "update", "table": "Open_vSwitch", "where": [], "row": root})
    if not managers:
        row: dict[str, Json] = {"target": manager}
        operations.append({"op": "insert", "table": "Manager", "row": row, "uuid-name": "manager"})
        operations.append(_add("Open_vSwitch", "manager_options", ["named-uuid", "manager"], []))
    if not controllers:
        row = {"target": controller, "connection_mode": "out-of-band"}
        operations.append({"op": "insert", "table": "Controller", "row": row, "uuid-name": "listener"})
        operations.append(_add("Bridge", "controller", ["named-uuid", "listener"], [["name", "==", bridge]]))
    return operations


def _targets(exposure: Exposure) -> tuple[str, str]:
    return (
        f"pssl:{RESCUE_DATABASE_PORT}:{exposure.address}",
        f"pssl:{RESCUE_OPENFLOW_PORT}:{exposure.address}",
    )


def _counted(*, has_root: bool) -> list[Operation]:
    """Count the change for whoever waits on it, as ovs-vsctl does."""
    counted: Operation = {
        "op": "mutate",
        "table": "Open_vSwitch",
        "where": [],
        "mutations": [["next_cfg", "+=", 1]],
    }
    return [counted] if has_root else []


def _bridge_row() -> dict[str, Json]:
    return {
        "datapath_type": "netdev",
        "fail_mode": "secure",
        "protocols": ["set", ["OpenFlow13", "OpenFlow14", "OpenFlow15"]],
    }


def _tunnel_row() -> dict[str, Json]:
    options: Json = [["remote_ip", "flow"], ["key", "flow"], ["dst_port", VXLAN_UDP_PORT]]
    return {"type": "vxlan", "options": ["map", options], "ofport_request": TUNNEL_OFPORT}


def _insert_bridge(root: str | None, bridge: str) -> list[Operation]:
    row: dict[str, Json] = {**_bridge_row(), "name": bridge, "ports": ["named-uuid", "local"]}
    added: Json = ["named-uuid", "bridge"]
    return [
        *_insert_port("local", bridge, {"type": "internal"}),
        {"op": "insert", "table": "Bridge", "row": row, "uuid-name": "bridge"},
        {"op": "insert", "table": "Open_vSwitch", "row": {"bridges": added}}
        if root is None
        else _add("Open_vSwitch", "bridges", added, []),
    ]


def _insert_port(name: str, device: str, interface: dict[str, Json]) -> list[Operation]:
    port: dict[str, Json] = {"name": device, "interfaces": ["named-uuid", f"{name}_interface"]}
    return [
        {
            "op": "insert",
            "table": "Interface",
            "row": {"name": device, **interface},
            "uuid-name": f"{name}_interface",
        },
        {"op": "insert", "table": "Port", "row": port, "uuid-name": name},
    ]


def _select(table: str, where: Json) -> Operation:
    return {"op": "select", "table": table, "where": where, "columns": ["_uuid"]}


def _update(table: str, name: str, row: dict[str, Json]) -> Operation:
    return {"op": "update", "table": table, "where": [["name", "==", name]], "row": row}


def _add(table: str, column: str, value: Json, where: Json) -> Operation:
    return {
        "op": "mutate",
        "table": table,
        "where": where,
        "mutations": [[column, "insert", ["set", [value]]]],
    }


def _where(row: Json) -> Json:
    return [["_uuid", "==", row]]


def _row_ids(result: dict[str, Json]) -> list[str]:
    rows = result.get("rows")
    assert isinstance(rows, list)
    ids = []
    for row in rows:
        assert isinstance(row, dict)
        row_id = row["_uuid"]
        assert isinstance(row_id, list)
        ids.append(str(row_id[1]))
    return ids
