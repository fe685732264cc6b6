"""One transaction of the write path: rows, claims, log and revision, guards, commit.

    BEGIN
    keys of requests            whoever repeats a request under way waits for it here
    deletes, updates, inserts   row locks and unique claims; in this order, so that freed claims can be taken
    revision + n, n log rows    one statement; from here on this partition's writers wait for us
    quotas                      counters of records by project and kind
    guards, reopened blocks     statements of their own: they see everything committed before us
    COMMIT

READ COMMITTED is enough: each statement sees what was committed before it began, and after the revision's row
is locked nobody else can commit.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import asyncpg
import msgspec

from alcor.adapters.postgres import queries, quotas, request_keys, rows
from alcor.adapters.postgres.rows import TABLES, Encoded, Table
from alcor.contracts import columns
from alcor.contracts.store import Change, Exists, Guard, NoneWhere, NotBorrowed, Stale, Taken, Unchanged
from alcor.model.records import AnyRecord, Port, Record, Subnet

Loan: TypeAlias = tuple[str, str, str, str | None]  # a row of `loans`
COPY_FROM = 100  # records; measured: below, one INSERT with the claims costs fewer round trips than COPY
COPY_CHUNK = 1000
_DETAIL = re.compile(r"Key \((?P<columns>[^)]*)\)=\((?P<values>.*)\) already exists", re.DOTALL)
_CONSTRAINTS = {
    "addresses_pkey": "address",
    "ports_mac": "mac",
    "networks_vni": "vni",
    "rbac_policies_one": "policy",
}
# Writes the log's entries of a batch, up to the revision that `moved` has; its arguments: `log_arguments`.
LOG = """
INSERT INTO changes (revision, committed_at, request_id, project_id, payload, audit)
SELECT moved.revision - $1::int8 + entry.n, $2::int8, entry.request_id, entry.project_id,
    entry.payload, entry.audit
FROM moved, unnest($3::text[], $4::text[], $5::bytea[], $6::bytea[])
    WITH ORDINALITY AS entry(request_id, project_id, payload, audit, n)
"""
_MOVE_AND_LOG = f"""
WITH moved AS (UPDATE partition SET revision = revision + $1::int8 WHERE id = 1 RETURNING revision)
{LOG} RETURNING revision
"""
_REOPEN = """
UPDATE address_blocks SET exhausted = false WHERE exhausted AND (subnet_id, first_ip) IN (
    SELECT f.subnet_id, b.first_ip FROM unnest($1::uuid[], $2::bytea[]) AS f(subnet_id, ip)
    CROSS JOIN LATERAL (
        SELECT a.first_ip FROM address_blocks a WHERE a.subnet_id = f.subnet_id AND a.first_ip <= f.ip
        ORDER BY a.first_ip DESC LIMIT 1
    ) AS b
)
"""


class NotTogether(Exception):
    """These writes cannot share a transaction without their order being seen; each must run alone."""


class Repeated(Exception):
    """An earlier attempt at the same write, thought lost, was committed after all."""


async def run(
    session: asyncpg.Connection, batch: Sequence[Encoded], *, now_us: int, is_repeat: bool
) -> list[Change]:
    """Commit writes together, in order. On an error nothing is done.

    Raises Stale, OverQuota, KeyTaken, NotTogether or library errors.

    `is_repeat`: an earlier attempt's outcome is unknown and it may still be under way; raises Repeated when
    it turns out to be committed.
    """
    await session.execute("BEGIN")
    try:
        revision = await _write(session, batch, now_us)
        if is_repeat:
            await _refuse_repeat(session, batch, revision - len(batch))
        await session.execute("COMMIT")
    except BaseException:
        if not session.is_closed():
            await session.execute("ROLLBACK")
        raise
    return changes_of(batch, revision=revision, now_us=now_us)


def log_arguments(batch: Sequence[Encoded], now_us: int) -> list[object]:
    """Give the first six arguments of a statement with `LOG`."""
    return [
        len(batch),
        now_us,
        [one.write.request_id for one in batch],
        [one.write.project_id for one in batch],
        [one.payload for one in batch],
        [one.audit for one in batch],
    ]


def changes_of(batch: Sequence[Encoded], *, revision: int, now_us: int) -> list[Change]:
    """Give the log's entries of writes that were committed together. `revision`: of the last one."""
    first = revision - len(batch) + 1
    return [
        Change(
            first + index,
            now_us,
            one.write.request_id,
            one.write.project_id,
            columns.merged(one.write.inserts, one.write.updates),
            one.write.deletes,
        )
        for index, one in enumerate(batch)
    ]


async def find(session: asyncpg.Connection, one: Encoded, *, through: int = 2**62) -> Change | None:
    """Look a write up in the log: was it committed before the connection was lost?"""
    row = await session.fetchrow(
        "SELECT revision, committed_at, request_id, project_id, payload FROM changes"
        " WHERE request_id = $1 AND payload = $2 AND revision <= $3",
        one.write.request_id,
        one.payload,
        through,
    )
    return rows.decode_change(row) if row is not None else None


async def _refuse_repeat(session: asyncpg.Connection, batch: Sequence[Encoded], through: int) -> None:
    for one in batch:
        if await find(session, one, through=through) is not None:
            raise Repeated


def taken(error: asyncpg.UniqueViolationError) -> Taken:
    """Read from the server's message which claim was refused."""
    match = _DETAIL.search(error.detail or "")
    constraint = _CONSTRAINTS.get(error.constraint_name or "", "id")
    values = match["values"].split(", ") if match else [""]
    match constraint:
        case "address":
            return Taken(constraint, (values[0], bytes.fromhex(values[1].removeprefix("\\x"))))
        case "mac":
            return Taken(constraint, (values[1], int(values[0])))
        case "vni":
            return Taken(constraint, int(values[0]))
        case "policy":
            return Taken(constraint, (values[0], values[1], ", ".join(values[2:])))
        case _:
            return Taken(constraint, values[0])


async def _write(session: asyncpg.Connection, batch: Sequence[Encoded], now_us: int) -> int:
    freed: list[tuple[str, bytes]] = []
    await request_keys.claim(session, batch, now_us)
    if sum(one.size for one in batch) >= COPY_FROM:
        await quotas.refuse_early(session, batch)
    for kind in TABLES:
        if deletes := [record for one in batch for record in one.deletes.get(kind, ())]:
            await _delete(session, TABLES[kind], deletes, freed)
    for kind in TABLES:
        if any(kind in one.updates for one in batch):
            await _update(session, TABLES[kind], batch, freed)
    for kind in TABLES:
        records, bodies = _joined(one.inserts.get(kind) for one in batch)
        if records:
            await _insert(session, TABLES[kind], records, bodies)
    revisions = await session.fetch(_MOVE_AND_LOG, *log_arguments(batch, now_us))
    revision = max(int(row[0]) for row in revisions)
    await request_keys.record(session, batch, revision)
    await _check_guards(session, batch)
    await quotas.follow_projects(session, batch)
    await quotas.count(session, batch)
    if freed:
        await session.execute(_REOPEN, [subnet for subnet, _ in freed], [ip for _, ip in freed])
    await _follow_subnets(session, batch)
    return revision


async def _follow_subnets(session: asyncpg.Connection, batch: Sequence[Encoded]) -> None:
    """Keep the blocks of changed subnets true: other pools, other seats; a subnet that is gone has none."""
    if gone := [record.id for one in batch for record in one.deletes.get(Subnet, ())]:
        await session.execute("DELETE FROM address_blocks WHERE subnet_id = ANY($1::uuid[])", gone)
    if changed := [record.id for one in batch for record in one.updates.get(Subnet, ((), ()))[0]]:
        await session.execute(
            "UPDATE address_blocks SET exhausted = false WHERE exhausted AND subnet_id = ANY($1::uuid[])",
            changed,
        )


def _joined(
    parts: Iterable[tuple[Sequence[AnyRecord], Sequence[bytes]] | None],
) -> tuple[list[AnyRecord], list[bytes]]:
    records: list[AnyRecord] = []
    bodies: list[bytes] = []
    for part in parts:
        if part is not None:
            records += part[0]
            bodies += part[1]
    return records, bodies


async def _delete(
    session: asyncpg.Connection, table: Table, records: list[AnyRecord], freed: list[tuple[str, bytes]]
) -> None:
    status = await session.execute(
        f"DELETE FROM {table.name} t USING unnest($1::{table.types[0]}[], $2::int8[]) AS d(id, revision_number)"
        " WHERE t.id = d.id AND t.revision_number = d.revision_number",
        [record.id for record in records],
        [record.revision_number for record in records],
    )
    if _count(status) != len(records):
        await _raise_stale(session, table, {record.id: record.revision_number for record in records})
    ports = [record for record in records if isinstance(record, Port)]
    addresses = [(fixed.subnet_id, fixed.ip) for port in ports for fixed in port.fixed_ips]
    await _release(session, addresses, [(group, port.id) for port in ports for group in port.security_groups])
    await _return(session, [row for record in records for row in _loans(record)])
    freed += addresses


async def _release(
    session: asyncpg.Connection, addresses: Sequence[tuple[str, bytes]], members: Sequence[tuple[str, str]]
) -> None:
    if addresses:
        await session.execute(
            "DELETE FROM addresses a USING unnest($1::uuid[], $2::bytea[]) AS d(subnet_id, ip)"
            " WHERE a.subnet_id = d.subnet_id AND a.ip = d.ip",
            [subnet for subnet, _ in addresses],
            [ip for _, ip in addresses],
        )
    if members:
        await session.execute(
            "DELETE FROM group_members m USING unnest($1::uuid[], $2::uuid[]) AS d(group_id, port_id)"
            " WHERE m.group_id = d.group_id AND m.port_id = d.port_id",
            [group for group, _ in members],
            [port for _, port in members],
        )


async def _return(session: asyncpg.Connection, loans: Sequence[Loan]) -> None:
    if loans:
        await session.execute(
            "DELETE FROM loans l"
            " USING unnest($1::uuid[], $2::text[], $3::uuid[]) AS d(object_id, project, borrower)"
            " WHERE l.object_id = d.object_id AND l.project_id = d.project AND l.borrower_id = d.borrower",
            *(list(values) for values in list(zip(*loans, strict=True))[:3]),
        )


async def _update(
    session: asyncpg.Connection, table: Table, batch: Sequence[Encoded], freed: list[tuple[str, bytes]]
) -> None:
    records, bodies = _joined(one.updates.get(table.kind) for one in batch)
    expected = {
        guard.id: guard.revision_number
        for one in batch
        for guard in one.write.guards
        if isinstance(guard, Unchanged) and guard.kind == table.kind_name
    }
    if table.kind is Port:
        ports = [it for it in records if isinstance(it, Port)]
        await _move_claims(session, ports, expected, freed, alone=len(batch) == 1)
    values = list(zip(*map(table.row, records, bodies), strict=True))
    places = ", ".join(f"${number}::{sql_type}[]" for number, sql_type in enumerate(table.types, 1))
    assigned = ", ".join(f"{column} = u.{column}" for column in table.columns[1:])
    status = await session.execute(
        f"UPDATE {table.name} t SET {assigned}"
        f" FROM unnest({places}, ${len(values) + 1}::int8[]) AS u({', '.join(table.columns)}, expected)"
        " WHERE t.id = u.id AND (u.expected IS NULL OR t.revision_number = u.expected)",
        *values,
        [expected.get(record.id) for record in records],
    )
    if _count(status) != len(records):
        await _raise_stale(session, table, {record.id: expected.get(record.id) for record in records})


async def _move_claims(
    session: asyncpg.Connection,
    ports: Sequence[Port],
    expected: Mapping[str, int],
    freed: list[tuple[str, bytes]],
    *,
    alone: bool,
) -> None:
    """Release and claim what differs from the stored ports, which are locked from here on. Raises Stale.

    `expected`: revision numbers. A port that is not as it was may have let go of what somebody else claims now.
    """
    stored_rows = await session.fetch(
        "SELECT body FROM ports WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", [port.id for port in ports]
    )
    stored = {port.id: port for port in rows.decode_all(Port, stored_rows)}
    as_stored = {id_: port.revision_number for id_, port in stored.items()}
    if any(it.id not in stored or expected.get(it.id, as_stored[it.id]) != as_stored[it.id] for it in ports):
        await _raise_stale(session, TABLES[Port], {port.id: expected.get(port.id) for port in ports})
    before_ips: set[tuple[str, bytes, str]] = set()
    after_ips: set[tuple[str, bytes, str]] = set()
    before_members: set[tuple[str, str]] = set()
    after_members: set[tuple[str, str]] = set()
    before_loans: set[Loan] = set()
    after_loans: set[Loan] = set()
    for port in ports:
        if (old := stored.get(port.id)) is not None:
            before_ips.update((fixed.subnet_id, fixed.ip, port.id) for fixed in old.fixed_ips)
            before_members.update((group, port.id) for group in old.security_groups)
            before_loans.update(_loans(old))
        after_ips.update((fixed.subnet_id, fixed.ip, port.id) for fixed in port.fixed_ips)
        after_members.update((group, port.id) for group in port.security_groups)
        after_loans.update(_loans(port))
    released = [(subnet, ip) for subnet, ip, _ in sorted(before_ips - after_ips)]
    if released and not alone:
        raise NotTogether  # another write of the batch may claim it, before this one in the log
    await _release(session, released, sorted(before_members - after_members))
    freed += released
    await _insert_rows(session, "addresses", _ADDRESSES, sorted(after_ips - before_ips))
    await _insert_rows(session, "group_members", _MEMBERS, sorted(after_members - before_members))
    await _return(session, sorted(before_loans - after_loans))
    await _insert_rows(session, "loans", _LOANS, sorted(after_loans - before_loans))


_ADDRESSES = {"subnet_id": "uuid", "ip": "bytea", "port_id": "uuid"}
_MEMBERS = {"group_id": "uuid", "port_id": "uuid"}
_LOANS = {"object_id": "uuid", "project_id": "text", "borrower_id": "uuid", "owner": "text"}


def _loans(record: AnyRecord) -> list[Loan]:
    """Give what a record borrows of other projects. `owner`: of the network, who may see its guests."""
    if not isinstance(record, columns.BORROWERS) or not record.borrowed:
        return []
    host_network, owner = (record.network_id, record.network_owner) if isinstance(record, Port) else ("", None)
    return [
        (object_id, record.project_id, record.id, owner if object_id == host_network else None)
        for object_id in record.borrowed
    ]


def claims(ports: Sequence[Port]) -> list[tuple[str, dict[str, str], list[rows.Row]]]:
    """Give what ports claim: table, its columns with their types, rows."""
    addresses: list[rows.Row] = [
        (fixed.subnet_id, fixed.ip, port.id) for port in ports for fixed in port.fixed_ips
    ]
    members: list[rows.Row] = [(group, port.id) for port in ports for group in port.security_groups]
    found = [("addresses", _ADDRESSES, addresses), ("group_members", _MEMBERS, members)]
    loans: list[rows.Row] = [row for port in ports for row in _loans(port)]
    # Few borrow: the statement that creates ports has no part for it but for those who do.
    return [*found, ("loans", _LOANS, loans)] if loans else found


async def _insert(
    session: asyncpg.Connection, table: Table, records: Sequence[AnyRecord], bodies: Sequence[bytes]
) -> None:
    values = list(map(table.row, records, bodies))
    own = dict(zip(table.columns, table.types, strict=True))
    ports = [record for record in records if isinstance(record, Port)]
    parts = [(table.name, own, values), *claims(ports)]
    filled = [part for part in parts if part[2]]
    if len(records) < COPY_FROM:
        await _insert_together(session, filled)
        return
    for name, typed, part_values in filled:
        await _insert_rows(session, name, typed, part_values)


async def _insert_together(
    session: asyncpg.Connection, parts: Sequence[tuple[str, dict[str, str], Sequence[rows.Row]]]
) -> None:
    """Insert into several tables in one statement: one round trip."""
    texts, arguments = [], list[object]()
    for name, typed, values in parts:
        start = len(arguments) + 1
        places = ", ".join(f"${number}::{sql_type}[]" for number, sql_type in enumerate(typed.values(), start))
        texts.append(f"INSERT INTO {name} ({', '.join(typed)}) SELECT * FROM unnest({places})")
        arguments += zip(*values, strict=True)
    *first, last = texts
    with_first = ", ".join(f"part_{index} AS ({text})" for index, text in enumerate(first))
    await session.execute(f"WITH {with_first} {last}" if first else last, *arguments)


async def _insert_rows(
    session: asyncpg.Connection, name: str, typed: dict[str, str], values: Sequence[rows.Row]
) -> None:
    if not values:
        return
    if len(values) < COPY_FROM:
        await _insert_together(session, [(name, typed, values)])
        return
    for start in range(0, len(values), COPY_CHUNK):
        chunk = values[start : start + COPY_CHUNK]
        await session.copy_records_to_table(name, records=chunk, columns=list(typed))


async def _check_guards(session: asyncpg.Connection, batch: Sequence[Encoded]) -> None:
    guards = [guard for one in batch for guard in _guards_left(one)]
    if not guards:
        return
    own: dict[type[Record], list[str]] = {}
    if any(isinstance(guard, NoneWhere) for guard in guards):
        for one in batch:
            for kind in TABLES:
                touched = itertools.chain(
                    one.inserts.get(kind, ((), ()))[0],
                    one.updates.get(kind, ((), ()))[0],
                    one.deletes.get(kind, ()),
                )
                own.setdefault(kind, []).extend(record.id for record in touched)
    statement, groups = queries.check_guards(guards, own)
    failing = await session.fetchrow(statement.text, *statement.arguments)
    for group, positions in zip(groups, failing, strict=True):
        if positions:
            raise Stale(group.guards[positions[0] - 1])


def _guards_left(one: Encoded) -> list[Guard]:
    """Give the guards but those on records that the write itself changes: they were checked then."""
    own = {
        (TABLES[kind].kind_name, record.id)
        for part in (one.updates, {kind: (gone, ()) for kind, gone in one.deletes.items()})
        for kind, (records, _) in part.items()
        for record in records
    }
    return [
        guard
        for guard in one.write.guards
        if not (isinstance(guard, Unchanged) and (guard.kind, guard.id) in own)
    ]


async def _raise_stale(session: asyncpg.Connection, table: Table, expected: Mapping[str, int | None]) -> None:
    """Find out which of the records is gone or has moved, and raise Stale for it."""
    found = await session.fetch(
        f"SELECT id::text AS id, revision_number FROM {table.name} WHERE id = ANY($1::{table.types[0]}[])",
        list(expected),
    )
    stored = {row["id"]: row["revision_number"] for row in found}
    kind = table.kind_name
    for id_, revision_number in expected.items():
        if id_ not in stored:
            raise Stale(Exists(kind, id_))
        if revision_number is not None and stored[id_] != revision_number:
            raise Stale(Unchanged(kind, id_, revision_number))
    first, revision_number = next(iter(expected.items()))  # it moved between the two statements
    raise Stale(Exists(kind, first) if revision_number is None else Unchanged(kind, first, revision_number))


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


class Touched(msgspec.Struct, frozen=True):
    """What decides whether a write may share a transaction with others: those of the same ids may not."""

    ids: frozenset[str]
    shape: str  # delete | update | insert: run together in this order | alone


def touched(one: Encoded) -> Touched:
    """Classify a write. O(updates + deletes).

    Mixed writes and those with NoneWhere or NotBorrowed run alone: together, a write could see what a later
    one has done.
    """
    ids: set[str] = {record.id for records, _ in one.updates.values() for record in records}
    ids.update(record.id for records in one.deletes.values() for record in records)
    if (once := one.write.once) is not None:
        ids.add(f"{once.project_id} {once.key}")  # of two with the same key one must find the other done
    shapes = [
        name
        for name, part in (("delete", one.deletes), ("update", one.updates), ("insert", one.inserts))
        if part
    ]
    alone = len(shapes) != 1 or any(isinstance(guard, (NoneWhere, NotBorrowed)) for guard in one.write.guards)
    return Touched(frozenset(ids), "alone" if alone else shapes[0])
