"""A store in memory with the exact semantics of `store.Store`, for tests and simulation.

It lives beside the contract and passes the same contract tests as PostgreSQL. Not durable, one process.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

from alcor.contracts import columns, quota_use
from alcor.contracts.store import (
    ONCE_KEPT_US,
    Change,
    Done,
    Exists,
    Guard,
    KeyTaken,
    NoneWhere,
    NotBorrowed,
    OverQuota,
    Query,
    R,
    Snapshot,
    Stale,
    Taken,
    Unchanged,
    Value,
    Write,
)
from alcor.model import addressing, default_rules, errors, quota
from alcor.model.records import (
    EVERYBODY,
    KIND_OF,
    KINDS,
    AnyRecord,
    Network,
    Port,
    Project,
    RbacPolicy,
    Record,
    RecordSet,
    Subnet,
)
from alcor.runtime.clock import Clock, SystemClock

Claim = tuple[str, object]  # constraint, value
CHUNK = 1000


class MemoryStore:
    """Implements `Store`. Owner of all records, claims and the log."""

    def __init__(self, clock: Clock | None = None, *, limits: Mapping[str, int] = quota.DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._used: Counter[tuple[str, str]] = Counter()  # by project and kind
        self._clock = clock or SystemClock()
        self._records: dict[type[Record], dict[str, AnyRecord]] = {kind: {} for kind in KIND_OF}
        self._index: dict[tuple[type[Record], str, Value], set[str]] = defaultdict(set)
        self._done: dict[tuple[str, str], tuple[Done, int]] = {}  # by project and key; until when
        self._claims: dict[Claim, str] = {}
        self._log: list[Change] = []
        self._first_kept = 1
        self._epoch = 0
        self._listeners: list[Callable[[Change], None]] = []
        for rule in default_rules.BUILT_IN:
            self._add(rule)

    async def get(self, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
        held = self._of(kind)
        return {id_: held[id_] for id_ in ids if id_ in held}

    async def select(self, kind: type[R], query: Query) -> list[R]:
        order = columns.total_order(kind, query)
        found = self._candidates(kind, query)
        found.sort(key=lambda record: record.id)
        for column, ascending in reversed(order):
            found.sort(key=lambda record: _order_value(record, column), reverse=not ascending)
        if query.after is not None:
            after = query.after
            found = [record for record in found if _comes_after(record, after, order)]
        if query.limit is None and len(found) > columns.PAGE_MAX:
            raise errors.LimitReached(f"more than {columns.PAGE_MAX} records match: ask for pages")
        return found if query.limit is None else found[: query.limit]

    async def commit(self, write: Write) -> int:
        once, now_us = write.once, self._clock.now_us()
        if once is not None and await self.done(once.project_id, once.key) is not None:
            raise KeyTaken
        self._check(write)
        uses = quota_use.of_write(write, self.limits)
        self._check_quotas(uses)
        for use in uses:
            self._used[use.project_id, use.kind] += use.count
        for record in _each(write.deletes):
            self._remove(record)
        for record in _each(write.updates):
            self._remove(self._records[type(record)][record.id])
        for record in (*_each(write.updates), *_each(write.inserts)):
            self._add(record)
        change = Change(
            await self.revision() + 1,
            now_us,
            write.request_id,
            write.project_id,
            columns.merged(write.inserts, write.updates),
            write.deletes,
        )
        self._log.append(change)
        if once is not None:
            done = Done(once.fingerprint, change.revision)
            self._done[once.project_id, once.key] = (done, now_us + ONCE_KEPT_US)
        for on_commit in self._listeners:
            on_commit(change)
        return change.revision

    async def usage(self, project_id: str) -> dict[str, int]:
        return {kind: self._used[project_id, kind] for kind in self.limits}

    async def holders(self, addresses: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], str]:
        found = ((address, self.holder(("address", address))) for address in addresses)
        return {address: port_id for address, port_id in found if port_id is not None}

    async def held_addresses(self, subnet_ids: Sequence[str]) -> dict[str, int]:
        ports = self._of(Port)
        return {
            subnet_id: sum(
                fixed.subnet_id == subnet_id
                for port_id in self._index.get((Port, "fixed_ips.subnet_id", subnet_id), ())
                for fixed in ports[port_id].fixed_ips
            )
            for subnet_id in subnet_ids
        }

    async def done(self, project_id: str, key: str) -> Done | None:
        done, until = self._done.get((project_id, key), (None, 0))
        return done if until > self._clock.now_us() else None

    async def forget_done(self, *, limit: int) -> int:
        now_us = self._clock.now_us()
        over = [named for named, (_, until) in self._done.items() if until <= now_us][:limit]
        for named in over:
            del self._done[named]
        return len(over)

    async def revision(self) -> int:
        return self._first_kept - 1 + len(self._log)

    async def changes(self, *, after: int, limit: int = 1000) -> list[Change]:
        start = after - (self._first_kept - 1)
        if start < 0:
            raise errors.Missing(f"the log before revision {self._first_kept} was trimmed away")
        return self._log[start : start + limit]

    async def begin_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def snapshot(self) -> Snapshot:
        return _MemorySnapshot(self._first_kept - 1 + len(self._log), self._records)

    def listen(self, on_commit: Callable[[Change], None]) -> None:
        self._listeners.append(on_commit)

    def trim(self, *, through: int) -> None:
        """Forget the log up to and with a revision."""
        kept = [change for change in self._log if change.revision > through]
        self._first_kept += len(self._log) - len(kept)
        self._log = kept

    def holder(self, claim: Claim) -> str | None:
        """Give the id of the record that holds a unique value."""
        return self._claims.get(claim)

    def revision_number(self, kind: type[AnyRecord], record_id: str) -> int | None:
        """Give a record's revision number; None when it is not there."""
        record = self._records[kind].get(record_id)
        return record.revision_number if record is not None else None

    def _of(self, kind: type[R]) -> dict[str, R]:
        return self._records[kind]  # type: ignore[return-value]  # keyed by the kind

    def _candidates(self, kind: type[R], query: Query) -> list[R]:
        held = self._of(kind)
        if not query.where and not query.any_of:
            return list(held.values())
        found: set[str] = set()
        for alternative in query.any_of or ({},):
            parts = (query.where, alternative)
            matching = [self._ids(kind, column, it) for part in parts for column, it in part.items()]
            found |= set.intersection(*matching)
        if {"fixed_ips.subnet_id", "fixed_ips.ip"} <= query.where.keys():
            subnets, ips = query.where["fixed_ips.subnet_id"], query.where["fixed_ips.ip"]
            found &= {
                port.id
                for port in map(self._of(Port).__getitem__, found)
                if any(fixed.subnet_id in subnets and fixed.ip in ips for fixed in port.fixed_ips)
            }
        return [held[id_] for id_ in found]

    def _ids(self, kind: type[Record], column: str, values: Sequence[Value]) -> set[str]:
        """Name the records that have one of the values in a column."""
        if column == columns.SHARED_WITH and kind in columns.SHARED_BY:
            policies = self._ids(RbacPolicy, "target", values)
            return self._ids(
                kind, columns.SHARED_BY[kind], [self._of(RbacPolicy)[id_].object_id for id_ in policies]
            )
        columns.extract_of(kind, column)
        return set().union(*(self._index.get((kind, column, value), set()) for value in values))

    def _check(self, write: Write) -> None:
        expected = {
            (guard.kind, guard.id): guard.revision_number
            for guard in write.guards
            if isinstance(guard, Unchanged)
        }
        for record in _each(write.deletes):
            self._check_stored(record, record.revision_number)
        for record in _each(write.updates):
            self._check_stored(record, expected.get((KIND_OF[type(record)], record.id)))
        self._check_claims(write)
        own: dict[type[Record], set[str]] = defaultdict(set)
        for record in (*_each(write.inserts), *_each(write.updates), *_each(write.deletes)):
            own[type(record)].add(record.id)
        inserted: set[tuple[type[Record], str]] = {(type(record), record.id) for record in _each(write.inserts)}
        for guard in write.guards:
            if not self._holds(guard, own, inserted):
                raise Stale(guard)

    def _check_stored(self, record: AnyRecord, revision_number: int | None) -> None:
        kind = KIND_OF[type(record)]
        stored = self._records[type(record)].get(record.id)
        if stored is None:
            raise Stale(Exists(kind, record.id))
        if revision_number is not None and stored.revision_number != revision_number:
            raise Stale(Unchanged(kind, record.id, revision_number))

    def _check_claims(self, write: Write) -> None:
        released: set[Claim] = set()
        for record in _each(write.deletes):
            released.update(_claims(record))
        for record in _each(write.updates):
            released.update(_claims(self._records[type(record)][record.id]))
        taken: set[Claim] = set()
        for record in (*_each(write.updates), *_each(write.inserts)):
            for claim in _claims(record):
                if claim in taken or (claim in self._claims and claim not in released):
                    raise Taken(_constraint(claim), claim[1])
                taken.add(claim)

    def _check_quotas(self, uses: Sequence[quota_use.Use]) -> None:
        projects = self._of(Project)
        over: dict[str, list[str]] = defaultdict(list)
        for use in uses:
            if use.ceiling is not None:
                own = dict(projects[use.project_id].quotas) if use.project_id in projects else {}
                used = self._used[use.project_id, use.kind] + use.count
                if quota.is_over(used, own.get(use.kind, use.ceiling)):
                    over[use.project_id].append(use.kind)
        if over:
            project_id = min(over)
            raise OverQuota(project_id, tuple(over[project_id]))

    def _holds(
        self, guard: Guard, own: Mapping[type[Record], set[str]], inserted: set[tuple[type[Record], str]]
    ) -> bool:
        match guard:
            case Exists(kind=kind, id=id_):
                return id_ in self._records[KINDS[kind]] or (KINDS[kind], id_) in inserted
            case Unchanged(kind=kind, id=id_, revision_number=revision_number):
                stored = self._records[KINDS[kind]].get(id_)
                return stored is not None and stored.revision_number == revision_number
            case NoneWhere(kind=kind, column=column, value=value, but=others):
                columns.extract_of(KINDS[kind], column)
                found = self._index.get((KINDS[kind], column, value), set())
                return found <= own[KINDS[kind]].union(others)
            case NotBorrowed(object_id=object_id, project_id=project_id, others=others):
                users = {
                    self._records[borrower][id_].project_id
                    for borrower in columns.BORROWERS
                    for id_ in self._index.get((borrower, "borrowed", object_id), ())
                } | {
                    self._records[user][id_].project_id
                    for user, column in columns.USERS.items()
                    for id_ in self._index.get((user, column, object_id), ())
                }
                return users <= set(others) if project_id == EVERYBODY else project_id not in users

    def _add(self, record: AnyRecord) -> None:
        kind = type(record)
        self._records[kind][record.id] = record
        for claim in _claims(record):
            self._claims[claim] = record.id
        for column, extract in columns.COLUMNS[kind].items():
            for value in extract(record):
                self._index[kind, column, value].add(record.id)

    def _remove(self, record: AnyRecord) -> None:
        kind = type(record)
        stored = self._records[kind].pop(record.id)
        for claim in _claims(stored):
            self._claims.pop(claim, None)
        for column, extract in columns.COLUMNS[kind].items():
            for value in extract(stored):
                ids = self._index[kind, column, value]
                ids.discard(stored.id)
                if not ids:
                    del self._index[kind, column, value]


class MemoryAllocator:
    """Implements `AddressAllocator` over one MemoryStore: the lowest address that nobody holds or was given."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._given: dict[str, set[bytes]] = defaultdict(set)

    async def take(self, subnet: Subnet, count: int) -> list[bytes]:
        given = self._given[subnet.id]
        found: list[bytes] = []
        for ip in _pool_addresses(subnet):
            if len(found) == count:
                break
            held = self._store.holder(("address", (subnet.id, ip))) is not None
            if not held and ip not in given and ip != subnet.gateway_ip:
                found.append(ip)
        if len(found) < count:
            raise errors.Conflict(
                f"No more IP addresses available on subnet {subnet.id}.", reason="IpAddressGenerationFailure"
            )
        given.update(found)
        return found

    def give_back(self, subnet_id: str, ips: Sequence[bytes]) -> None:
        self._given[subnet_id].difference_update(ips)

    def discard(self, subnet_id: str, ip: bytes) -> None:
        self._given[subnet_id].discard(ip)


class _MemorySnapshot:
    """Records as they were when it was opened: records are frozen, so that copies of the tables suffice."""

    def __init__(self, revision: int, records: dict[type[Record], dict[str, AnyRecord]]) -> None:
        self.revision = revision
        self._records = {kind: dict(held) for kind, held in records.items()}

    async def records(self, kind: type[R]) -> AsyncIterator[Sequence[R]]:
        held = self._records[kind]
        ids = sorted(held)
        for start in range(0, len(ids), CHUNK):
            yield [held[id_] for id_ in ids[start : start + CHUNK]]  # type: ignore[misc]  # keyed by the kind

    async def __aenter__(self) -> "Snapshot":
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


def _each(records: RecordSet) -> Iterator[AnyRecord]:
    return (record for group in columns.groups(records) for record in group)


def _claims(record: AnyRecord) -> Iterator[Claim]:
    yield f"id:{KIND_OF[type(record)]}", record.id
    if isinstance(record, Network):
        yield "vni", record.vni
    if isinstance(record, Port):
        yield "mac", (record.network_id, record.mac)
        for fixed in record.fixed_ips:
            yield "address", (fixed.subnet_id, fixed.ip)
    if isinstance(record, RbacPolicy):
        yield "policy", (record.object_id, record.action, record.target)


def _constraint(claim: Claim) -> str:
    return claim[0].partition(":")[0]


def _order_value(record: AnyRecord, column: str) -> tuple[bool, Value]:
    value = columns.values(record, column)[0]
    return (value is not None, "" if value is None else value)


def _comes_after(record: AnyRecord, after: AnyRecord, order: tuple[tuple[str, bool], ...]) -> bool:
    for column, ascending in order:
        mine, other = _order_value(record, column), _order_value(after, column)
        if mine != other:
            return (mine > other) is ascending
    return False


def _pool_addresses(subnet: Subnet) -> Iterator[bytes]:
    for first, last in subnet.pools:
        for number in range(addressing.ip_to_int(first), addressing.ip_to_int(last) + 1):
            yield addressing.ip_from_int(number, length=len(first))
