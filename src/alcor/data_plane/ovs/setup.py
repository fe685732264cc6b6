"""Makes the integration bridge and its tunnel be there, with the options that the pipeline rests on."""

from alcor.data_plane.ovs.ovsdb import Json, Operation, OvsdbConnection

TUNNEL = "alcor-vxlan"
TUNNEL_OFPORT = 1
VXLAN_UDP_PORT = "4789"


async def ensure(database: OvsdbConnection, bridge: str) -> None:
    """Make bridge and tunnel, or set right what differs. Raises Unavailable, Broken."""
    found = await database.transact(
        [
            _select("Open_vSwitch", []),
            _select("Bridge", [["name", "==", bridge]]),
            _select("Port", [["name", "==", TUNNEL]]),
        ]
    )
    root, bridges, tunnels = (_row_ids(result) for result in found)
    operations: list[Operation] = []
    if bridges:
        operations.append(_update("Bridge", bridge, _bridge_row()))
        target: Json = ["uuid", bridges[0]]
    else:
        operations += _insert_bridge(root[0] if root else None, bridge)
        target = ["named-uuid", "bridge"]
    if tunnels:
        operations.append(_update("Interface", TUNNEL, _tunnel_row()))
    else:
        operations += _insert_port("tunnel", TUNNEL, _tunnel_row())
        operations.append(_add("Bridge", "ports", ["named-uuid", "tunnel"], _where(target)))
    if root:
        # Counts the change for whoever waits on it, as ovs-vsctl does.
        operations.append(
            {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}
        )
    await database.transact(operations)


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
