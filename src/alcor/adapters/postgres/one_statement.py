"""Small writes that only insert, committed by one statement: one round trip.

    moved      UPDATE partition SET revision + n, if it is still the snapshot's, guards and quotas hold
    part_n     INSERT INTO ports, addresses, ... for each row of moved: all, or nothing
    counted    the projects' quotas
    kept       the keys of requests
    logged     INSERT INTO changes

Why the guards are exact although the lock is taken after the snapshot: whoever commits moves the revision while
holding its row. READ COMMITTED holds the condition against the newest version of that row once the lock is
ours; if it is still the number of our snapshot, nothing was committed in between, and the snapshot is the state
under the lock. If it is not, nothing is written (docs/decisions/0006-one-statement-commit.md).
"""

from collections.abc import Sequence

import asyncpg

from alcor.adapters.postgres import quotas, request_keys, transaction
from alcor.adapters.postgres.queries import Statement
from alcor.adapters.postgres.rows import TABLES, Encoded, Row
from alcor.contracts import quota_use
from alcor.contracts.store import Change, NoneWhere, NotBorrowed, Unchanged
from alcor.model.records import KINDS, AnyRecord, Network, Port, Project, Record, SecurityGroup, Subnet

RECORDS_MAX = 200  # in one statement; above, COPY within a transaction is cheaper
_TRIES = 2  # others committed meanwhile: one more try costs less than the transaction
# Set once per connection. An engine that does not know one goes without: they only save time.
SETTINGS = (
    # The plans are the same whatever the values; planning costs more than running them.
    "SET plan_cache_mode = force_generic_plan",
    # Made while the tables were empty, a plan may live long; each access has an index.
    "SET enable_seqscan = off",
    # This statement locks the revision first, a transaction last. Where both claim one value, the server would
    # find that out after a second, in which nobody could commit.
    "SET lock_timeout = '50ms'",
)
_GUARDED: tuple[type[Record], ...] = (Network, Subnet, SecurityGroup)  # always checked: few shapes of statement
_ANY = -1  # the revision number of a record that need only be there
_IN_THE_WAY = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


def fits(batch: Sequence[Encoded]) -> bool:
    """Can these writes be committed by one statement? Others need the transaction."""
    return sum(one.size for one in batch) <= RECORDS_MAX and all(
        one.inserts
        and Project not in one.inserts  # its limits are another table's
        and not one.updates
        and not one.deletes
        and not any(isinstance(guard, (NoneWhere, NotBorrowed)) for guard in one.write.guards)
        for one in batch
    )


async def run(session: asyncpg.Connection, batch: Sequence[Encoded], *, now_us: int) -> list[Change] | None:
    """Commit writes that fit, in order. None: nothing was written, and the transaction will tell why.

    Raises UniqueViolationError and the library's errors; then nothing is done, or the connection was lost.
    """
    statement = build(batch, now_us)
    for _ in range(_TRIES):
        try:
            moved = await session.fetch(statement.text, *statement.arguments)
        except _IN_THE_WAY:
            return None
        for (revision,) in moved:
            return transaction.changes_of(batch, revision=revision, now_us=now_us)
    return None


def build(batch: Sequence[Encoded], now_us: int) -> Statement:
    """Build the statement that answers the new revision, or no row. Its text depends on kinds and keys only."""
    arguments = transaction.log_arguments(batch, now_us)
    conditions = "".join(f" AND {condition}" for condition in _guards(batch, arguments))
    first = len(arguments) + 1
    arguments += quotas.arrays(quota_use.together(use for one in batch for use in one.uses))
    conditions += f" AND NOT EXISTS (SELECT 1 {quotas.over(first)})"
    key_condition, kept = request_keys.in_statement(batch, arguments)
    conditions += key_condition
    parts = [
        f"part_{number} AS ({insert})" for number, insert in enumerate(_inserts(batch, arguments), start=1)
    ]
    text = (
        "WITH moved AS (UPDATE partition SET revision = revision + $1::int8 WHERE id = 1"
        f" AND revision = (SELECT revision FROM partition WHERE id = 1){conditions} RETURNING revision),"
        f" {', '.join(parts)}, counted AS ("
        "INSERT INTO quotas AS q (project_id, kind, used) SELECT it.project_id, it.kind, it.count"
        f" FROM moved CROSS JOIN unnest(${first}::text[], ${first + 1}::text[], ${first + 2}::int8[])"
        f" AS it(project_id, kind, count) {quotas.ADD}),{kept}"
        f" logged AS ({transaction.LOG}) SELECT revision FROM moved"
    )
    return Statement(text, tuple(arguments))


def _guards(batch: Sequence[Encoded], arguments: list[object]) -> list[str]:
    """Name the conditions under which every guard holds. A record that is inserted along is there, too."""
    # By kind and id, the revision number wanted. Two guards that differ can never both hold.
    wanted: dict[type[Record], set[tuple[str, int]]] = {kind: set() for kind in _GUARDED}
    for one in batch:
        for guard in one.write.guards:
            assert not isinstance(guard, (NoneWhere, NotBorrowed))
            number = guard.revision_number if isinstance(guard, Unchanged) else _ANY
            wanted.setdefault(KINDS[guard.kind], set()).add((guard.id, number))
    conditions = []
    for kind, guards in wanted.items():
        for one in batch:
            inserted = one.inserts.get(kind, ((), ()))[0]
            guards -= {(record.id, number) for record in inserted for number in (_ANY, record.revision_number)}
        exact = {id_ for id_, number in guards if number != _ANY}
        left = sorted(pair for pair in guards if pair[1] != _ANY or pair[0] not in exact)
        arguments += [[id_ for id_, _ in left], [number for _, number in left]]
        table = TABLES[kind]
        ids = f"${len(arguments) - 1}::{table.types[0]}[]"
        numbers = f"(${len(arguments)}::int8[])[array_position({ids}, id)]"
        # Counted, not joined: one scan by primary key, whatever the planner thinks of the array's size.
        conditions.append(
            f"(SELECT count(*) FILTER (WHERE {numbers} IN ({_ANY}, revision_number)) FROM {table.name}"
            f" WHERE id = ANY({ids})) = cardinality({ids})"
        )
    return conditions


def _inserts(batch: Sequence[Encoded], arguments: list[object]) -> list[str]:
    texts = []
    for kind, table in TABLES.items():
        rows: list[Row] = []
        ports: list[Port] = []
        for one in batch:
            records: Sequence[AnyRecord]
            records, bodies = one.inserts.get(kind, ((), ()))
            rows += map(table.row, records, bodies)
            ports += [record for record in records if isinstance(record, Port)]
        if rows:
            typed = dict(zip(table.columns, table.types, strict=True))
            texts.append(_insert(table.name, typed, rows, arguments))
        if ports:
            for name, claims_typed, claims in transaction.claims(ports):
                texts.append(_insert(name, claims_typed, claims, arguments))
    return texts


def _insert(name: str, typed: dict[str, str], rows: Sequence[Row], arguments: list[object]) -> str:
    start = len(arguments) + 1
    places = ", ".join(f"${number}::{sql_type}[]" for number, sql_type in enumerate(typed.values(), start))
    arguments += [list(values) for values in zip(*rows, strict=True)] if rows else [[] for _ in typed]
    names = ", ".join(typed)
    return (
        f"INSERT INTO {name} ({names}) SELECT {', '.join(f'it.{column}' for column in typed)}"
        f" FROM moved CROSS JOIN unnest({places}) AS it({names})"
    )
