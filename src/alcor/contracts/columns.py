"""The columns that `Query` and `NoneWhere` may name, and their values in a record: one table for all stores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from alcor.contracts.store import Query, R, Value
from alcor.model import errors
from alcor.model.records import (
    KINDS,
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

# Values of a column in a record; `Any` because the record's own type is the key of the table below.
Extract = Callable[[Any], tuple[Value, ...]]


def _one(name: str) -> Extract:
    return lambda record: (getattr(record, name),)


_ALL: dict[str, Extract] = {name: _one(name) for name in ("id", "name", "project_id")}


def _columns(*names: str) -> dict[str, Extract]:
    return _ALL | {name: _one(name) for name in names}


COLUMNS: Mapping[type[Record], Mapping[str, Extract]] = {
    Network: _columns("vni"),
    Subnet: _columns("network_id", "subnetpool_id", "ip_version", "ra_mode", "address_mode"),
    Port: _columns("network_id", "host", "mac", "device_id", "device_owner", "port_group_id")
    | {
        "fixed_ips.subnet_id": lambda port: tuple(fixed.subnet_id for fixed in port.fixed_ips),
        "fixed_ips.ip": lambda port: tuple(fixed.ip for fixed in port.fixed_ips),
        "security_groups": lambda port: port.security_groups,
        "network_owner": lambda port: (port.network_owner,) if port.network_owner else (),
        "borrowed": lambda port: port.borrowed,
    },
    SecurityGroup: _columns("is_default"),
    SecurityGroupRule: _columns("security_group_id", "remote_group_id", "remote_address_group_id"),
    Router: _columns(),
    PortGroup: _columns("network_id"),
    Host: _columns(),
    Project: _columns(),
    RbacPolicy: _columns("object_type", "object_id", "target"),
    AddressScope: _columns(),
    SubnetPool: _columns("address_scope_id", "default_version"),
    AddressGroup: _columns(),
    AddressGroupEntry: _columns("address_group_id"),
    DefaultRule: _columns("remote_group_id", "remote_address_group_id"),
    Trunk: _columns("port_id"),
}
# What RBAC policies share, and which column names their object: a subnet is shared with its network.
SHARED_BY: Mapping[type[Record], str] = {
    Network: "id",
    Subnet: "network_id",
    SecurityGroup: "id",
    AddressScope: "id",
    SubnetPool: "id",
    AddressGroup: "id",
}
SHARED_WITH = "shared_with"  # as if it were their column: the targets of the policies on the object
BORROWERS = (Port,)  # kinds whose records may use other projects' objects
# Kinds that use an object by a column of theirs, whosever it is.
USERS: Mapping[type[Record], str] = {
    Subnet: "subnetpool_id",
    SubnetPool: "address_scope_id",
    SecurityGroupRule: "remote_address_group_id",
}
# Several values in one record, or none.
SETS = frozenset(
    {"fixed_ips.subnet_id", "fixed_ips.ip", "security_groups", "network_owner", "borrowed", SHARED_WITH}
)
PAGE_MAX = 100_000  # records that a query without a limit may answer


def values(record: AnyRecord, column: str) -> tuple[Value, ...]:
    """Give the values of a column in a record. Raises Broken when the kind has no such column."""
    return extract_of(type(record), column)(record)


def extract_of(kind: type[Record], column: str) -> Extract:
    """Give the function that reads a column. Raises Broken when the kind has no such column."""
    extract = COLUMNS[kind].get(column)
    if extract is None:
        raise errors.Broken(f"{kind.__name__} has no column '{column}'")
    return extract


def total_order(kind: type[Record], query: Query) -> tuple[tuple[str, bool], ...]:
    """Give the query's order with `id` appended, cut after the first `id`. Raises Broken."""
    order: list[tuple[str, bool]] = []
    for column, ascending in (*query.order, ("id", True)):
        extract_of(kind, column)
        if column in SETS:
            raise errors.Broken(f"records cannot be ordered by '{column}': it has several values")
        order.append((column, ascending))
        if column == "id":
            break
    return tuple(order)


def groups(records: RecordSet) -> Sequence[tuple[AnyRecord, ...]]:
    """Give the records of a set by kind, in the order of `KINDS`."""
    return msgspec.structs.astuple(records)


def of_kind(records: RecordSet, kind: type[R]) -> tuple[R, ...]:
    """Give the records of one kind."""
    found: tuple[R, ...] = groups(records)[tuple(KINDS.values()).index(kind)]  # type: ignore[assignment]  # in their order
    return found


def merged(inserts: RecordSet, updates: RecordSet) -> RecordSet:
    """Give the records of both sets, the inserted ones of each kind first."""
    if updates == RecordSet():
        return inserts
    return RecordSet(
        *((*new, *changed) for new, changed in zip(groups(inserts), groups(updates), strict=True))  # type: ignore[arg-type]  # in the order of the fields
    )
