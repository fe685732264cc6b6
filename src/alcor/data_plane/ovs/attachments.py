"""What is plugged into the integration bridge, as the database's updates tell it. Pure.

An interface counts when it is on the bridge, carries `external_ids:iface-id` and has an OpenFlow port: that is
how libvirt, Nova and OVN name the port that a workload's interface belongs to.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from alcor.data_plane.ovs.ovsdb import Json, Operation, TableUpdates
from alcor.model.ids import PortId

PORT_ID = "iface-id"
PORT_KEY = "alcor-port-key"
SUB_PORT_KEY = "alcor-port-key:"  # then the id of a sub-port, on its parent's interface
PORT_KEY_MAX = 0xFFFF

WATCHED = {
    "Bridge": ("name", "ports"),
    "Port": ("interfaces",),
    "Interface": ("name", "ofport", "external_ids"),
}


class Attachment(NamedTuple):
    """A workload's interface on the bridge. `key` None: no port key is recorded on it yet."""

    interface: str  # row id
    ofport: int
    key: int | None


class AttachmentView:
    """Rows that matter, and what they mean. Owner of its tables."""

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge
        self._ports: set[str] = set()  # rows of Port on our bridge
        self._port_of: dict[str, str] = {}  # row of Interface -> row of Port
        self._bridge_row: str | None = None
        self._ofports: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._external_ids: dict[str, dict[str, str]] = {}
        self._sub_port_rows: dict[PortId, str] = {}  # row of Interface on which a sub-port's key is
        self._interfaces_of: dict[PortId, set[str]] = {}
        self._interfaces_in: dict[str, set[str]] = {}  # row of Port -> rows of Interface

    def update(self, tables: TableUpdates) -> set[PortId]:
        """Take an update in and name the ports whose attachment may be another now. O(update)."""
        touched: set[str] = set()
        for row, change in _rows(tables, "Bridge"):
            touched |= self._update_bridge(row, change)
        for row, change in _rows(tables, "Port"):
            touched |= self._update_port(row, change)
        concerned: set[PortId] = set()
        for row, change in _rows(tables, "Interface"):
            concerned |= self._port_ids((row,))
            self._update_interface(row, change)
            touched.add(row)
        return concerned | self._port_ids(touched)

    def attachment(self, port_id: PortId) -> Attachment | None:
        """Where a port is attached; of several interfaces the one that was plugged last. None: nowhere."""
        best = None
        for row in self._interfaces_of.get(port_id, ()):
            ofport = self._ofports.get(row, -1)
            if ofport > 0 and self._port_of.get(row) in self._ports and (best is None or ofport > best.ofport):
                best = Attachment(row, ofport, _key(self._external_ids[row].get(PORT_KEY)))
        return best

    def attachments(self) -> dict[PortId, Attachment]:
        """Give all of them, by port."""
        found = {}
        for port_id in sorted(self._interfaces_of):
            attachment = self.attachment(port_id)
            if attachment is not None:
                found[port_id] = attachment
        return found

    def sub_port_keys(self) -> dict[PortId, int]:
        """Give the keys that are recorded for sub-ports."""
        found = {port_id: self.sub_port_key(port_id) for port_id in sorted(self._sub_port_rows)}
        return {port_id: key for port_id, (_, key) in found.items() if key is not None}

    def sub_port_key(self, port_id: PortId) -> tuple[str, int | None]:
        """Give the row of the interface with a sub-port's key, and the key; none: ('', None)."""
        row = self._sub_port_rows.get(port_id, "")
        return row, _key(self._external_ids.get(row, {}).get(SUB_PORT_KEY + port_id))

    def ofport_named(self, name: str) -> int | None:
        """Give the OpenFlow port of an interface of our bridge by its name; None while it has none."""
        for row, held in self._names.items():
            if held == name and self._port_of.get(row) in self._ports:
                ofport = self._ofports.get(row, -1)
                return ofport if ofport > 0 else None
        return None

    def _update_bridge(self, row: str, change: "RowChange") -> set[str]:
        name = change.values.get("name")
        if name == self._bridge and change.kind in ("initial", "insert"):
            self._bridge_row = row
        if row != self._bridge_row:
            return set()
        changed: set[str] = set()
        if change.kind == "delete":
            self._bridge_row = None
            changed, self._ports = self._ports, set()
        elif "ports" in change.values:
            changed = _references(change.values["ports"])
            self._ports ^= changed
        return {row for port in changed for row in self._interfaces_in.get(port, ())}

    def _update_port(self, row: str, change: "RowChange") -> set[str]:
        held = self._interfaces_in.setdefault(row, set())
        before = set(held)
        if change.kind == "delete":
            del self._interfaces_in[row]
            held = set()
        elif "interfaces" in change.values:
            held ^= _references(change.values["interfaces"])
        for interface in before - held:
            self._port_of.pop(interface, None)
        for interface in held - before:
            self._port_of[interface] = row
        return before ^ held

    def _update_interface(self, row: str, change: "RowChange") -> None:
        for port_id in self._port_ids((row,)):
            self._interfaces_of[port_id].discard(row)
            if not self._interfaces_of[port_id]:
                del self._interfaces_of[port_id]
        if change.kind == "delete":
            for name in self._external_ids.get(row, ()):
                self._sub_port_rows.pop(PortId(name.removeprefix(SUB_PORT_KEY)), None)
            for table in (self._ofports, self._names, self._external_ids):
                table.pop(row, None)
            return
        self._take_values(row, change.values)
        for port_id in self._port_ids((row,)):
            self._interfaces_of.setdefault(port_id, set()).add(row)

    def _take_values(self, row: str, values: dict[str, Json]) -> None:
        if isinstance(name := values.get("name"), str):
            self._names[row] = name
        if "ofport" in values:
            numbers = _set_of(values["ofport"])
            self._ofports[row] = numbers[0] if numbers and isinstance(numbers[0], int) else -1
        held = self._external_ids.setdefault(row, {})
        for key, value in map_of(values.get("external_ids")):
            if held.get(key) == value:
                del held[key]  # a difference that repeats what is held takes it away
                self._sub_port_rows.pop(PortId(key.removeprefix(SUB_PORT_KEY)), None)
            else:
                held[key] = value
                if key.startswith(SUB_PORT_KEY):
                    self._sub_port_rows[PortId(key.removeprefix(SUB_PORT_KEY))] = row

    def _port_ids(self, rows: Iterable[str]) -> set[PortId]:
        ids = (self._external_ids.get(row, {}).get(PORT_ID) for row in rows)
        return {PortId(port_id) for port_id in ids if port_id}


class RowChange(NamedTuple):
    """One row's part in an update. `values`: columns, as differences when the kind is `modify`."""

    kind: str  # initial | insert | modify | delete
    values: dict[str, Json]


class KeyPlace(NamedTuple):
    """Where a port's key is recorded: the row of the interface, and under which name."""

    row: str
    name: str = PORT_KEY

    @classmethod
    def of_sub_port(cls, row: str, port_id: PortId) -> "KeyPlace":
        return cls(row, SUB_PORT_KEY + port_id)


def record_keys(keys: Mapping[KeyPlace, int | None]) -> list[Operation]:
    """Give the operations that write port keys on interfaces. None: take the key away."""
    operations: list[Operation] = []
    for (row, name), key in sorted(keys.items()):
        where: Json = [["_uuid", "==", ["uuid", row]]]
        replaced: list[Json] = [["external_ids", "delete", ["set", [name]]]]
        if key is not None:
            replaced.append(["external_ids", "insert", ["map", [[name, str(key)]]]])
        operations.append({"op": "mutate", "table": "Interface", "where": where, "mutations": replaced})
    return operations


def _rows(tables: TableUpdates, table: str) -> list[tuple[str, RowChange]]:
    rows = tables.get(table)
    if not isinstance(rows, dict):
        return []
    found = []
    for row, change in rows.items():
        if isinstance(change, dict):
            for kind, values in change.items():
                found.append((row, RowChange(kind, values if isinstance(values, dict) else {})))
    return found


def _set_of(value: Json) -> list[int | str]:
    """Give the atoms of a column that holds a set, or one atom; row references by their id."""
    if isinstance(value, list) and len(value) == 2 and value[0] == "set" and isinstance(value[1], list):
        return [atom for item in value[1] for atom in _set_of(item)]
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], str):
        return [value[1]]
    return [value] if isinstance(value, (int, str)) else []


def _references(value: Json) -> set[str]:
    return {atom for atom in _set_of(value) if isinstance(atom, str)}


def map_of(value: Json) -> list[tuple[str, str]]:
    """Give the pairs of a column that holds a map."""
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], list)):
        return []
    pairs = []
    for pair in value[1]:
        if isinstance(pair, list) and len(pair) == 2:
            pairs.append((str(pair[0]), str(pair[1])))
    return pairs


def _key(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and 0 < int(text) <= PORT_KEY_MAX else None
