"""Records to rows and back: the columns of each kind, the encoded body, and the log's payload."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from alcor.adapters.postgres import audit
from alcor.contracts import columns, quota_use
from alcor.contracts.quota_use import Use
from alcor.contracts.store import Change, R, Write
from alcor.model import quota
from alcor.model.ids import ProjectId, RequestId
from alcor.model.records import (
    KIND_OF,
    AddressGroup,
    AddressGroupEntry,
    AddressScope,
    AnyRecord,
    DefaultRule,
    Host,
    Network,
    Port,
    PortGroup,
    Project,
    RbacPolicy,
    Record,
    RecordSet,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
    Trunk,
)

Row = tuple[object, ...]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NAMED: tuple[type[Record], ...] = (Host, Project)  # their ids are names, all others UUIDs
_encoder = msgspec.msgpack.Encoder()


class Table(msgspec.Struct, frozen=True):
    """Where records of a kind are kept. `row` gives the values of `columns` for a record and its body."""

    kind: type[Record]
    kind_name: str
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    row: Callable[[Any, bytes], Row]


def _table(
    kind: type[AnyRecord],
    name: str,
    own: Mapping[str, str] = MappingProxyType({}),
    row: Callable[[Any, bytes], Row] | None = None,
) -> Table:
    """Describe a table. `own`: columns beside those of all, and their types. `row` None: as the attributes."""
    all_columns = {
        "id": "text" if kind in NAMED else "uuid",
        "project_id": "text",
        "name": "text",
        "revision_number": "int8",
        **own,
    }
    return Table(
        kind,
        KIND_OF[kind],
        name,
        (*all_columns, "body"),
        (*all_columns.values(), "bytea"),
        row or _row_of(tuple(all_columns)),
    )


def _row_of(names: tuple[str, ...]) -> Callable[[Any, bytes], Row]:
    values = operator.attrgetter(*names)
    return lambda record, body: (*values(record), body)


def _port(it: Port, body: bytes) -> Row:
    return (
        it.id,
        it.project_id,
        it.name,
        it.revision_number,
        it.network_id,
        it.mac,
        it.host,
        it.device_id,
        it.device_owner,
        it.port_group_id or None,
        body,
    )


_PORT_COLUMNS = {
    "network_id": "uuid",
    "mac": "int8",
    "host": "text",
    "device_id": "text",
    "device_owner": "text",
    "port_group_id": "uuid",
}
_SUBNET_COLUMNS = {
    "network_id": "uuid",
    "subnetpool_id": "uuid",
    "ip_version": "int8",
    "ra_mode": "text",
    "address_mode": "text",
}
_RULE_COLUMNS = {"security_group_id": "uuid", "remote_group_id": "uuid", "remote_address_group_id": "uuid"}
_POLICY_COLUMNS = {"object_type": "text", "object_id": "uuid", "action": "text", "target": "text"}
TABLES: Mapping[type[Record], Table] = {
    table.kind: table
    for table in (
        _table(Network, "networks", {"vni": "int8"}),
        _table(Subnet, "subnets", _SUBNET_COLUMNS),
        _table(Port, "ports", _PORT_COLUMNS, _port),
        _table(SecurityGroup, "security_groups", {"is_default": "bool"}),
        _table(SecurityGroupRule, "security_group_rules", _RULE_COLUMNS),
        _table(Router, "routers"),
        _table(PortGroup, "port_groups", {"network_id": "uuid"}),
        _table(Host, "hosts"),
        _table(Project, "projects"),
        _table(RbacPolicy, "rbac_policies", _POLICY_COLUMNS),
        _table(AddressScope, "address_scopes"),
        _table(SubnetPool, "subnetpools", {"address_scope_id": "uuid", "default_version": "int8"}),
        _table(AddressGroup, "address_groups"),
        _table(AddressGroupEntry, "address_group_entries", {"address_group_id": "uuid"}),
        _table(DefaultRule, "default_rules", {"remote_group_id": "text", "remote_address_group_id": "uuid"}),
        _table(Trunk, "trunks", {"port_id": "uuid"}),
    )
}
_decoders: Mapping[type[Record], msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(kind) for kind in KIND_OF
}
_payload_decoder = msgspec.msgpack.Decoder(tuple[RecordSet, RecordSet])


class Encoded(msgspec.Struct, frozen=True):
    """A write with every record encoded once: the bytes serve as the row's body and in the log.

    `inserts`, `updates`, `deletes`: records by kind, only kinds with any. `bodies`: in the same order, for
    inserts and updates.
    """

    write: Write
    inserts: Mapping[type[Record], tuple[Sequence[AnyRecord], Sequence[bytes]]]
    updates: Mapping[type[Record], tuple[Sequence[AnyRecord], Sequence[bytes]]]
    deletes: Mapping[type[Record], Sequence[AnyRecord]]
    payload: bytes
    size: int  # records touched
    uses: tuple[Use, ...]  # of the projects' quotas
    audit: bytes | None  # who asked, and what for in short


def encode(write: Write, limits: Mapping[str, int] = quota.DEFAULT_LIMITS) -> Encoded:
    """Encode the records of a write and its log payload. O(records). `limits`: the default ones, by kind."""
    inserts: dict[type[Record], tuple[Sequence[AnyRecord], Sequence[bytes]]] = {}
    updates: dict[type[Record], tuple[Sequence[AnyRecord], Sequence[bytes]]] = {}
    deletes: dict[type[Record], Sequence[AnyRecord]] = {}
    puts = []
    size = 0
    inserted = columns.groups(write.inserts)
    updated = columns.groups(write.updates)
    deleted = columns.groups(write.deletes)
    for kind, ins, upd, gone in zip(TABLES, inserted, updated, deleted, strict=True):
        raws: list[msgspec.Raw] = []
        for records, by_kind in ((ins, inserts), (upd, updates)):
            if records:
                bodies = [_encoder.encode(record) for record in records]
                by_kind[kind] = (records, bodies)
                raws += map(msgspec.Raw, bodies)
        if gone:
            deletes[kind] = gone
        puts.append(raws)
        size += len(ins) + len(upd) + len(gone)
    payload = _encoder.encode((puts, write.deletes))
    return Encoded(
        write,
        inserts,
        updates,
        deletes,
        payload,
        size,
        quota_use.of_write(write, limits),
        audit.of_write(write),
    )


def decode(kind: type[R], body: bytes) -> R:
    """Read a record from its body."""
    record: R = _decoders[kind].decode(body)
    return record


def decode_all(kind: type[R], bodies: Sequence[tuple[bytes]]) -> list[R]:
    """Read the records of rows that hold nothing but the body."""
    read = _decoders[kind].decode
    return [read(body) for (body,) in bodies]


def decode_change(row: Mapping[str, Any]) -> Change:
    """Read an entry of the log. Shape: the columns of `changes`."""
    puts, deletes = _payload_decoder.decode(row["payload"])
    return Change(
        row["revision"],
        row["committed_at"],
        RequestId(row["request_id"]),
        ProjectId(row["project_id"]),
        puts,
        deletes,
    )
