"""Queries and guards as SQL. Pure: text and arguments only."""

from collections.abc import Sequence

import msgspec

from alcor.adapters.postgres.rows import TABLES, UUID
from alcor.contracts import columns
from alcor.contracts.store import Exists, Guard, NoneWhere, Query, Unchanged, Value
from alcor.model.records import KINDS, AnyRecord, Record

NIL = "00000000-0000-0000-0000-000000000000"  # sorts before every id, as "none" does in the contract
_NONE = {"port_group_id": "", "remote_group_id": None}  # what a record holds where the column is NULL
_INT8 = 2**63
# Columns with several values in a record: table, column of the value, its type.
_SETS = {
    "fixed_ips.subnet_id": ("addresses", "subnet_id", "uuid"),
    "fixed_ips.ip": ("addresses", "ip", "bytea"),
    "security_groups": ("group_members", "group_id", "uuid"),
}


class Statement(msgspec.Struct, frozen=True):
    """One statement and its arguments."""

    text: str
    arguments: tuple[object, ...]


def select(kind: type[Record], query: Query) -> Statement:
    """Build the statement that reads the bodies a query asks for. Raises Broken on an unknown column."""
    arguments: list[object] = []
    conditions = [_condition(kind, column, values, arguments) for column, values in query.where.items()]
    order = columns.total_order(kind, query)
    if query.after is not None:
        conditions.append(_after(kind, query.after, order, arguments))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    by = ", ".join(f"{_ordered(column)}{'' if ascending else ' DESC'}" for column, ascending in order)
    arguments.append(columns.PAGE_MAX + 1 if query.limit is None else query.limit)
    text = f"SELECT body FROM {TABLES[kind].name}{where} ORDER BY {by} LIMIT ${len(arguments)}"
    return Statement(text, tuple(arguments))


class GuardGroup(msgspec.Struct, frozen=True):
    """Guards of one shape, checked by one array of the guard statement."""

    guards: tuple[Guard, ...]


def check_guards(
    guards: Sequence[Guard], own: dict[type[Record], list[str]]
) -> tuple[Statement, list[GuardGroup]]:
    """Build the statement that names the guards that do not hold.

    `own`: ids that the write itself touches, left out by NoneWhere. The statement answers one row: for each
    group an array of the positions, from 1, of the guards in it that fail.
    """
    grouped: dict[tuple[type[Guard], str, str], list[Guard]] = {}
    for guard in guards:
        column = guard.column if isinstance(guard, NoneWhere) else ""
        grouped.setdefault((type(guard), guard.kind, column), []).append(guard)
    arguments: list[object] = []
    arrays, groups = [], []
    for (_, kind_name, _), members in grouped.items():
        kind = KINDS[kind_name]
        failing = _failing(kind, members, own.get(kind, []), arguments)
        arrays.append(f"ARRAY({failing})")
        groups.append(GuardGroup(tuple(members)))
    return Statement(f"SELECT {', '.join(arrays)}", tuple(arguments)), groups


def type_of(kind: type[Record], column: str) -> str:
    """Give the SQL type of a column. Raises Broken when the kind has no such column."""
    columns.extract_of(kind, column)
    if column in _SETS:
        return _SETS[column][2]
    table = TABLES[kind]
    return table.types[table.columns.index(column)]


def storable(sql_type: str, values: Sequence[Value]) -> list[Value]:
    """Leave out the values that no stored column of the type can have."""
    match sql_type:
        case "uuid":
            return [value for value in values if isinstance(value, str) and UUID.fullmatch(value)]
        case "int8":
            return [value for value in values if isinstance(value, int) and -_INT8 <= value < _INT8]
        case "bool":
            return [value for value in values if isinstance(value, bool)]
        case "bytea":
            return [value for value in values if isinstance(value, bytes)]
        case _:
            return [value for value in values if isinstance(value, str) and "\0" not in value]


def _condition(kind: type[Record], column: str, values: Sequence[Value], arguments: list[object]) -> str:
    sql_type = type_of(kind, column)
    stored = storable(sql_type, values)
    if column in _SETS:
        table, name, _ = _SETS[column]
        return f"id IN (SELECT port_id FROM {table} WHERE {_equals(name, sql_type, stored, arguments)})"
    condition = _equals(column, sql_type, stored, arguments)
    if column in _NONE and _NONE[column] in values:
        return f"({condition} OR {column} IS NULL)"
    return condition


def _equals(name: str, sql_type: str, values: Sequence[Value], arguments: list[object]) -> str:
    # One value as such, not as an array: the planner can then use the index for the order too.
    if len(values) == 1:
        arguments.append(values[0])
        return f"{name} = ${len(arguments)}::{sql_type}"
    arguments.append(values)
    return f"{name} = ANY(${len(arguments)}::{sql_type}[])"


def _ordered(column: str) -> str:
    return f"COALESCE({column}, '{NIL}'::uuid)" if column in _NONE else column


def _after(
    kind: type[Record], record: AnyRecord, order: Sequence[tuple[str, bool]], arguments: list[object]
) -> str:
    names, places = [], []
    for column, _ in order:
        value = columns.values(record, column)[0]
        arguments.append((value or NIL) if column in _NONE else value)
        names.append(_ordered(column))
        places.append(f"${len(arguments)}::{type_of(kind, column)}")
    directions = [ascending for _, ascending in order]
    if len(set(directions)) == 1:
        sign = ">" if directions[0] else "<"
        return f"({', '.join(names)}) {sign} ({', '.join(places)})"
    condition = "false"
    for name, place, ascending in reversed(list(zip(names, places, directions, strict=True))):
        sign = ">" if ascending else "<"
        condition = f"({name} {sign} {place} OR ({name} = {place} AND {condition}))"
    return condition


def _failing(kind: type[Record], guards: Sequence[Guard], own: Sequence[str], arguments: list[object]) -> str:
    """Build the sub-select of the positions of guards that do not hold; all are of one shape."""
    table = TABLES[kind]
    id_type = table.types[0]
    match guards[0]:
        case Exists():
            arguments.append([guard.id for guard in guards if isinstance(guard, Exists)])
            return (
                f"SELECT g.n FROM unnest(${len(arguments)}::{id_type}[]) WITH ORDINALITY AS g(id, n)"
                f" WHERE NOT EXISTS (SELECT 1 FROM {table.name} t WHERE t.id = g.id)"
            )
        case Unchanged():
            expected = [guard for guard in guards if isinstance(guard, Unchanged)]
            arguments.append([guard.id for guard in expected])
            arguments.append([guard.revision_number for guard in expected])
            place = len(arguments)
            return (
                f"SELECT g.n FROM unnest(${place - 1}::{id_type}[], ${place}::int8[])"
                f" WITH ORDINALITY AS g(id, revision_number, n) WHERE NOT EXISTS (SELECT 1 FROM {table.name} t"
                " WHERE t.id = g.id AND t.revision_number = g.revision_number)"
            )
        case NoneWhere(column=column):
            return _failing_none_where(
                kind, column, [guard for guard in guards if isinstance(guard, NoneWhere)], own, arguments
            )


def _failing_none_where(
    kind: type[Record],
    column: str,
    guards: Sequence[NoneWhere],
    own: Sequence[str],
    arguments: list[object],
) -> str:
    sql_type = type_of(kind, column)
    if column in _SETS:
        table, name, _ = _SETS[column]
        id_name = "port_id"
    else:
        table, name, id_name = TABLES[kind].name, column, "id"
    # A value that cannot be stored becomes NULL, which nothing equals: position and count stay as they are.
    arguments.append([(storable(sql_type, [guard.value]) or [None])[0] for guard in guards])
    values = len(arguments)
    arguments.append(list(own))
    none = f" OR (g.v IS NULL AND t.{name} IS NULL)" if column in _NONE else ""
    return (
        f"SELECT g.n FROM unnest(${values}::{sql_type}[]) WITH ORDINALITY AS g(v, n)"
        f" WHERE EXISTS (SELECT 1 FROM {table} t WHERE (t.{name} = g.v{none})"
        f" AND t.{id_name} <> ALL(${len(arguments)}::{TABLES[kind].types[0]}[]))"
    )
