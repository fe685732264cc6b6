"""Queries and guards as SQL. Pure: text and arguments only."""

from collections.abc import Mapping, Sequence

import msgspec

from alcor.adapters.postgres.rows import TABLES, UUID
from alcor.contracts import columns
from alcor.contracts.store import Exists, Guard, NoneWhere, NotBorrowed, Query, Unchanged, Value
from alcor.model.records import EVERYBODY, KINDS, AnyRecord, Port, Record, Subnet

NIL = "00000000-0000-0000-0000-000000000000"  # sorts before every id, as "none" does in the contract
# What a record holds where the column is NULL.
_NONE = {
    "port_group_id": "",
    "remote_group_id": None,
    "subnetpool_id": None,
    "address_scope_id": None,
    "default_version": None,
    "remote_address_group_id": None,
}
_INT8 = 2**63
_LOWEST, _HIGHEST = "\x01", "\U0010ffff"  # no project's name holds these
# Columns with several values in a record: table, its column of the record's id, that of the value, its type.
_SETS = {
    "fixed_ips.subnet_id": ("addresses", "port_id", "subnet_id", "uuid"),
    "fixed_ips.ip": ("addresses", "port_id", "ip", "bytea"),
    "security_groups": ("group_members", "port_id", "group_id", "uuid"),
    "network_owner": ("loans", "borrower_id", "owner", "text"),
    "borrowed": ("loans", "borrower_id", "object_id", "uuid"),
}
_ADDRESS = "fixed_ips."  # columns of one table: together they are about one address
# Columns whose index leaves out what most records have: nothing.
_PARTIAL: dict[type[Record], frozenset[str]] = {
    Port: frozenset({"host", "device_id", "name"}),
    Subnet: frozenset({"ra_mode", "address_mode"}),
}
# Columns whose index gives the records of one value in the order of ids.
_IN_ORDER: dict[type[Record], frozenset[str]] = {
    Port: _PARTIAL[Port] | {"network_id"},
    Subnet: _PARTIAL[Subnet],
}
# Columns that an index finds few records by. Ports have more of them, see `_PARTIAL`.
_NARROW = frozenset(
    {
        "id",
        "network_id",
        "mac",
        "port_group_id",
        "security_group_id",
        "remote_group_id",
        "object_id",
        "borrowed",
        "security_groups",
        "fixed_ips.subnet_id",
        "fixed_ips.ip",
    }
)


class Statement(msgspec.Struct, frozen=True):
    """One statement and its arguments."""

    text: str
    arguments: tuple[object, ...]


def select(kind: type[Record], query: Query) -> Statement:
    """Build the statement that reads the bodies a query asks for. Raises Broken on an unknown column."""
    arguments: list[object] = [columns.PAGE_MAX + 1 if query.limit is None else query.limit]
    order = columns.total_order(kind, query)
    texts = []
    for number, alternative in enumerate(query.any_of or ({},)):
        parts = [part for part in (query.where, alternative) if part]
        narrow = [
            column
            for part in parts
            for column, values in part.items()
            if column in _NARROW or (column in _PARTIAL.get(kind, ()) and "" not in values)
        ]
        is_narrow = bool(narrow)
        conditions = [_conditions(kind, part, arguments, is_narrow=is_narrow) for part in parts]
        conditions += [
            f"({_conditions(kind, earlier, arguments, is_narrow=False)}) IS NOT TRUE"
            for earlier in query.any_of[:number]
        ]
        if query.after is not None:
            conditions.append(_after(kind, query.after, order, arguments))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        by = ", ".join(f"{_ordered(kind, column)}{_direction(ascending)}" for column, ascending in order)
        source = f"{TABLES[kind].name}{where}"
        if narrow and not any(_is_in_order(kind, column, part) for part in parts for column in narrow):
            # Found first, then sorted: else the planner may prefer to walk all records in the order asked for.
            source = f"(SELECT * FROM {source} OFFSET 0) AS found"
        texts.append(f"FROM {source} ORDER BY {by} LIMIT $1")
    if len(texts) == 1:
        return Statement(f"SELECT body {texts[0]}", tuple(arguments))
    # Each alternative by the index that serves it, in order; what they give is merged.
    keys = ", ".join(f"{_ordered(kind, column)} AS key_{number}" for number, (column, _) in enumerate(order))
    united = " UNION ALL ".join(f"(SELECT {keys}, body {text})" for text in texts)
    by = ", ".join(f"key_{number}{_direction(ascending)}" for number, (_, ascending) in enumerate(order))
    return Statement(f"SELECT body FROM ({united}) AS found ORDER BY {by} LIMIT $1", tuple(arguments))


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
        kind_name = "" if isinstance(guard, NotBorrowed) else guard.kind
        column = guard.column if isinstance(guard, NoneWhere) else ""
        grouped.setdefault((type(guard), kind_name, column), []).append(guard)
    arguments: list[object] = []
    arrays, groups = [], []
    for (_, kind_name, _), members in grouped.items():
        if kind_name:
            kind = KINDS[kind_name]
            failing = _failing(kind, members, own.get(kind, []), arguments)
        else:
            failing = _failing_borrowed([it for it in members if isinstance(it, NotBorrowed)], arguments)
        arrays.append(f"ARRAY({failing})")
        groups.append(GuardGroup(tuple(members)))
    return Statement(f"SELECT {', '.join(arrays)}", tuple(arguments)), groups


def type_of(kind: type[Record], column: str) -> str:
    """Give the SQL type of a column. Raises Broken when the kind has no such column."""
    columns.extract_of(kind, column)
    if column in _SETS:
        return _SETS[column][3]
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


def _is_in_order(kind: type[Record], column: str, where: Mapping[str, Sequence[Value]]) -> bool:
    """Does an index give the records of the column's values in the order of ids? Sets become ids."""
    is_one = column in _IN_ORDER.get(kind, ()) and len(where.get(column, ())) == 1
    return is_one or (column in where and (column in _SETS or column == "id"))


def _conditions(
    kind: type[Record], where: Mapping[str, Sequence[Value]], arguments: list[object], *, is_narrow: bool
) -> str:
    """Join the conditions on all columns. `is_narrow`: an index finds few records by some column."""
    address = [column for column in where if column.startswith(_ADDRESS)]
    conditions = [
        _condition(kind, column, values, arguments, is_narrow=is_narrow)
        for column, values in where.items()
        if column not in address
    ]
    if address:
        conditions.append(_set_condition(kind, address, where, arguments))
    return " AND ".join(conditions)


def _condition(
    kind: type[Record], column: str, values: Sequence[Value], arguments: list[object], *, is_narrow: bool
) -> str:
    if column == columns.SHARED_WITH and kind in columns.SHARED_BY:
        targets = _equals("target", "text", storable("text", values), arguments)
        objects = f"ARRAY(SELECT object_id FROM rbac_policies WHERE {targets})"
        return f"{columns.SHARED_BY[kind]} = ANY({objects})"
    sql_type = type_of(kind, column)
    stored = storable(sql_type, values)
    if column in _SETS:
        return _set_condition(kind, [column], {column: values}, arguments)
    condition = _equals(column, sql_type, stored, arguments)
    if column == "project_id" and is_narrow:
        # Compared, not looked up: of a new table the planner knows no better than to walk all of a project.
        return f"({condition}) IS TRUE"
    if column in _PARTIAL.get(kind, ()) and "" not in values:
        return f"{condition} AND {column} <> ''"
    if column in _NONE and _NONE[column] in values:
        return f"({condition} OR {column} IS NULL)"
    return condition


def _set_condition(
    kind: type[Record], names: Sequence[str], where: Mapping[str, Sequence[Value]], arguments: list[object]
) -> str:
    """Look for records by columns with several values, all of one table and of one row of it."""
    table, id_name, _, _ = _SETS[names[0]]
    equal = []
    for column in names:
        sql_type = type_of(kind, column)
        equal.append(_equals(_SETS[column][2], sql_type, storable(sql_type, where[column]), arguments))
    # An array: with a join the planner may prefer to walk all records in the order that is asked for.
    return f"id = ANY(ARRAY(SELECT {id_name} FROM {table} WHERE {' AND '.join(equal)}))"


def _equals(name: str, sql_type: str, values: Sequence[Value], arguments: list[object]) -> str:
    # One value as such, not as an array: the planner can then use the index for the order too.
    if len(values) == 1:
        arguments.append(values[0])
        return f"{name} = ${len(arguments)}::{sql_type}"
    arguments.append(values)
    return f"{name} = ANY(${len(arguments)}::{sql_type}[])"


def _direction(ascending: bool) -> str:
    return "" if ascending else " DESC"


def _ordered(kind: type[Record], column: str) -> str:
    return f"COALESCE({column}, '{NIL}'::{type_of(kind, column)})" if column in _NONE else column


def _after(
    kind: type[Record], record: AnyRecord, order: Sequence[tuple[str, bool]], arguments: list[object]
) -> str:
    names, places = [], []
    for column, _ in order:
        value = columns.values(record, column)[0]
        arguments.append((value or NIL) if column in _NONE else value)
        names.append(_ordered(kind, column))
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
        case NotBorrowed():
            raise AssertionError("concerns no kind")


def _failing_borrowed(guards: Sequence[NotBorrowed], arguments: list[object]) -> str:
    """Build the sub-select of the positions of guards that do not hold. O(projects named), by index."""
    spans = [(guard.object_id, *span, n) for n, guard in enumerate(guards, 1) for span in _spans(guard)]
    arguments += [list(values) for values in zip(*spans, strict=True)]
    places = ", ".join(
        f"${len(arguments) - 3 + number}::{sql_type}[]"
        for number, sql_type in enumerate(("uuid", "text", "text", "int8"))
    )
    used_by = [("loans", "object_id"), *((TABLES[kind].name, column) for kind, column in columns.USERS.items())]
    uses = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} t"
        f" WHERE t.{column} = g.object_id AND t.project_id >= g.low AND t.project_id < g.high)"
        for table, column in used_by
    )
    return f"SELECT g.n FROM unnest({places}) AS g(object_id, low, high, n) WHERE {uses}"


def _spans(guard: NotBorrowed) -> list[tuple[str, str]]:
    """Give where the projects that may not use the object are, by name: from the first to before the second."""
    if guard.project_id != EVERYBODY:
        return [(guard.project_id, guard.project_id + _LOWEST)]
    allowed = sorted(set(guard.others))
    return list(zip(["", *(name + _LOWEST for name in allowed)], [*allowed, _HIGHEST], strict=True))


def _failing_none_where(
    kind: type[Record],
    column: str,
    guards: Sequence[NoneWhere],
    own: Sequence[str],
    arguments: list[object],
) -> str:
    sql_type = type_of(kind, column)
    if column in _SETS:
        table, id_name, name, _ = _SETS[column]
    else:
        table, name, id_name = TABLES[kind].name, column, "id"
    # A value that cannot be stored becomes NULL, which nothing equals: position and count stay as they are.
    arguments.append([(storable(sql_type, [guard.value]) or [None])[0] for guard in guards])
    values = len(arguments)
    arguments.append([*own, *(id_ for guard in guards for id_ in guard.but)])
    none = f" OR (g.v IS NULL AND t.{name} IS NULL)" if column in _NONE else ""
    return (
        f"SELECT g.n FROM unnest(${values}::{sql_type}[]) WITH ORDINALITY AS g(v, n)"
        f" WHERE EXISTS (SELECT 1 FROM {table} t WHERE (t.{name} = g.v{none})"
        f" AND t.{id_name} <> ALL(${len(arguments)}::{TABLES[kind].types[0]}[]))"
    )
