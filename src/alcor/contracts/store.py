"""The store: records, one atomic write with one revision, and the change log.

A service reads, decides (pure), and hands over a `Write`: what to insert, update and delete, and the *guards*
that its decision rests on. The store executes it in one transaction: rows, claims on unique values, guards,
log entry, revision. Guards are checked after the lock on the partition's revision is held, so two writes whose
guards exclude each other cannot both commit, whatever process they come from. A store may commit several
writes in one transaction; each has its own revision.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from alcor.contracts.audit import Actor
from alcor.model import errors
from alcor.model.ids import ProjectId, RequestId
from alcor.model.records import AnyRecord, RecordSet, Subnet

R = TypeVar("R", bound=AnyRecord)
Value: TypeAlias = str | int | bool | bytes | None
ONCE_KEPT_US = 24 * 3600 * 1_000_000  # how long a request that is sent again finds what it has made


class Exists(msgspec.Struct, frozen=True):
    """The record is still there."""

    kind: str
    id: str


class Unchanged(msgspec.Struct, frozen=True):
    """The record is there with this revision number."""

    kind: str
    id: str
    revision_number: int


class NoneWhere(msgspec.Struct, frozen=True):
    """No record of the kind has this value in this column (columns as in `Query.where`).

    Those that the write itself touches are left out, and those in `but`.
    """

    kind: str
    column: str
    value: Value
    but: tuple[str, ...] = ()


class NotBorrowed(msgspec.Struct, frozen=True):
    """No record borrows the object for this project, or, for EVERYBODY, for any but those in `others`.

    Subnets and pools borrow the pool or scope that they are in, and rules the address group they are about,
    whosever it is: its owner is one of the others.
    """

    object_id: str
    project_id: str
    others: tuple[str, ...] = ()


Guard: TypeAlias = Exists | Unchanged | NoneWhere | NotBorrowed


class Once(msgspec.Struct, frozen=True):
    """The key that a project gave a request, so that it is carried out once however often it is sent."""

    project_id: str
    key: str
    fingerprint: bytes  # of what is asked for


class Done(msgspec.Struct, frozen=True):
    """A request with a key that was carried out: what it asked for, and the change that holds what it made."""

    fingerprint: bytes
    revision: int


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One request's worth of change: all of it is committed, or none.

    Updated and deleted records are guarded by the store itself: they must be there (deletes carry the last
    version seen, so that addresses are released and the log is complete). Updates never move a record to
    another project.

    The store counts the records of every project and kind. `within`: the kinds of which a project that gets
    more of them may not have more than its limit (else OverQuota); other kinds are only counted.
    """

    request_id: RequestId
    project_id: ProjectId
    inserts: RecordSet = RecordSet()
    updates: RecordSet = RecordSet()
    deletes: RecordSet = RecordSet()
    guards: tuple[Guard, ...] = ()
    within: tuple[str, ...] = ()
    actor: Actor | None = None  # who asks, for the audit trail; None: no request does
    once: Once | None = None  # KeyTaken if a write of this key was committed in the last ONCE_KEPT_US


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One entry of the change log: what a request did, in commit order without gaps."""

    revision: int
    committed_at: int  # microseconds since 1970 UTC
    request_id: RequestId
    project_id: ProjectId
    puts: RecordSet  # inserted and updated, as they are now
    deletes: RecordSet  # as they were last


class Stale(errors.Conflict):
    """A guard did not hold: read again and decide again. `guard` tells which."""

    default_reason = "Stale"

    def __init__(self, guard: Guard) -> None:
        super().__init__(f"the state moved: {guard}")
        self.guard = guard


class Taken(errors.Conflict):
    """A unique value is given already. `constraint`: address | mac | vni | policy | id; `value` as stored.

    address: (subnet_id, packed ip); mac: (network_id, mac); vni: the number; id: the id; policy: (object_id,
    action, target).
    """

    default_reason = "Taken"

    def __init__(self, constraint: str, value: object) -> None:
        super().__init__(f"{constraint} {value!r} is given already")
        self.constraint = constraint
        self.value = value


class OverQuota(errors.Conflict):
    """The project would have more of these kinds than its limits allow."""

    default_reason = "OverQuota"

    def __init__(self, project_id: str, kinds: tuple[str, ...]) -> None:
        super().__init__(f"Quota exceeded for resources: {sorted(kinds)}.")
        self.project_id = project_id
        self.kinds = kinds


class KeyTaken(errors.Conflict):
    """The request with this key was carried out already: `Store.done` tells what it made."""

    default_reason = "KeyTaken"

    def __init__(self) -> None:
        super().__init__("a request with this key was carried out")


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which records of a kind, in what order.

    `where`: any of the values, for every column named. `any_of`: alternatives, of which one must hold too; each
    costs what it alone would. Columns: `id`, `name`, `project_id` for all kinds, and
    subnet: network_id, subnetpool_id; port: network_id, host, mac, device_id, device_owner, port_group_id,
    `fixed_ips.subnet_id`, `fixed_ips.ip` (packed), `security_groups` (member of), `network_owner` (of guests),
    `borrowed`; security_group: is_default; security_group_rule: security_group_id, remote_group_id,
    remote_address_group_id; network: vni; port_group: network_id; rbac_policy: object_type, object_id, target;
    subnetpool: address_scope_id, default_version; address_group_entry: address_group_id;
    default_security_group_rule: remote_group_id, remote_address_group_id; trunk: port_id. What policies share
    (`columns.SHARED_BY`) has `shared_with`: the targets of those on it. A column that is not listed raises
    Broken. Of an address `fixed_ips.subnet_id` and `fixed_ips.ip` are asked together: one has both.
    `order`: (column, ascending); `id` is appended, so the order is total. `after`: the last record of the page
    before, in this order. `limit` None: all, at most 100,000 (then LimitReached).
    """

    where: Mapping[str, Sequence[Value]] = {}
    any_of: Sequence[Mapping[str, Sequence[Value]]] = ()
    order: tuple[tuple[str, bool], ...] = ()
    after: AnyRecord | None = None
    limit: int | None = None


class Snapshot(Protocol):
    """Everything as of one revision; an async context manager holds it open."""

    revision: int

    def records(self, kind: type[R]) -> AsyncIterator[Sequence[R]]:
        """Stream all records of the kind in chunks of at most 1,000, in id order."""
        ...

    async def __aenter__(self) -> "Snapshot": ...
    async def __aexit__(self, *exc: object) -> None: ...


class Store(Protocol):
    """The contract of every store. Errors: those above from `commit`; Unavailable from all."""

    @property
    def limits(self) -> Mapping[str, int]:
        """Limits of the kinds that are counted, for projects whose record says nothing else."""
        ...

    async def get(self, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
        """Read by id; missing ids are left out."""
        ...

    async def select(self, kind: type[R], query: Query) -> list[R]:
        """Read by query."""
        ...

    async def commit(self, write: Write) -> int:
        """Make the write durable and give its revision. The listeners have heard of it on return."""
        ...

    async def usage(self, project_id: str) -> dict[str, int]:
        """Give how many records of each counted kind a project has. O(kinds)."""
        ...

    async def holders(self, addresses: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], str]:
        """Name the ports that hold addresses: (subnet, packed IP) -> port. O(addresses)."""
        ...

    async def held_addresses(self, subnet_ids: Sequence[str]) -> dict[str, int]:
        """Count the addresses that ports hold in each of the subnets. O(what they hold), from an index."""
        ...

    async def done(self, project_id: str, key: str) -> Done | None:
        """Give what became of a project's request with a key; None: nothing, as far as is known."""
        ...

    async def forget_done(self, *, limit: int) -> int:
        """Forget up to `limit` keys whose time is over, and give how many. O(limit)."""
        ...

    async def revision(self) -> int:
        """Give the last committed revision."""
        ...

    async def changes(self, *, after: int, limit: int = 1000) -> list[Change]:
        """Read the log after a revision, ascending. Raises Missing when it was trimmed away."""
        ...

    async def begin_epoch(self) -> int:
        """Start a controller's term: durably add one to the partition's epoch and give it."""
        ...

    def snapshot(self) -> Snapshot:
        """Open a consistent view of all records."""
        ...

    def listen(self, on_commit: Callable[[Change], None]) -> None:
        """Call back after each commit of this process. Order across commits is not promised."""
        ...


class AddressAllocator(Protocol):
    """Free addresses of subnets, from blocks leased to this process; the store's constraint is the net."""

    async def take(self, subnet: Subnet, count: int) -> list[bytes]:
        """Give `count` packed addresses that nobody holds. Raises Conflict IpAddressGenerationFailure."""
        ...

    def give_back(self, subnet_id: str, ips: Sequence[bytes]) -> None:
        """Return addresses that were not used after all, or whose port was deleted (after the commit)."""
        ...

    def discard(self, subnet_id: str, ip: bytes) -> None:
        """Forget an address that turned out to be taken."""
        ...


class BlockState(msgspec.Struct, frozen=True):
    """A block of a subnet's addresses that was leased at least once. Named by its first address."""

    first_ip: bytes
    holder: str  # the process that has it or had it last
    until: int  # microseconds since 1970 UTC; earlier than now: anybody may lease it
    exhausted: bool  # every address in it is claimed; a commit that releases one clears this


class BlockLeases(Protocol):
    """Leases on blocks of addresses, kept by the store. Times are microseconds since 1970 UTC.

    `spans`: (first address of the lowest block, first address of the highest block), both inclusive.
    Each call names at most 1,000 blocks. No cost but that of `blocks` grows with the subnet.
    """

    async def lease_known(
        self,
        subnet_id: str,
        holder: str,
        *,
        spans: Sequence[tuple[bytes, bytes]],
        count: int,
        until: int,
        now: int,
    ) -> list[bytes]:
        """Lease up to `count` blocks, lowest first, that are neither leased nor exhausted but were once."""
        ...

    async def lease_new(
        self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes], until: int
    ) -> list[bytes]:
        """Lease those of the blocks that were never leased."""
        ...

    async def highest(self, subnet_id: str, *, spans: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        """Give for each span the highest block in it that was ever leased."""
        ...

    async def renew(
        self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes], until: int
    ) -> list[bytes]:
        """Prolong those of the blocks that the holder still has; give them."""
        ...

    async def release(self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes]) -> None:
        """End the holder's leases on the blocks."""
        ...

    async def exhaust(
        self, subnet_id: str, holder: str, *, seats: Mapping[bytes, Sequence[bytes]], revision_number: int
    ) -> list[bytes]:
        """Mark the holder's blocks whose seats (what may be given) are all claimed; end their leases.

        `revision_number`: of the subnet whose pools the seats are from. Nothing is marked by an older one.
        """
        ...

    async def claimed(self, subnet_id: str, *, ranges: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Give the addresses in the ranges (inclusive) that ports hold."""
        ...

    async def blocks(self, subnet_id: str) -> list[BlockState]:
        """Give all blocks of the subnet ever leased, ascending. O(blocks): for when none is free."""
        ...
