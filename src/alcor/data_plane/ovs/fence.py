"""One writer at a time: a token that the switch itself holds, in its database and as its OpenFlow generation.

    token of the database's record   checked by every transaction of ours (`wait`, RFC 7047 5.2.6)
    generation of the master role    checked by the switch on every flow (OpenFlow 1.4, 6.3.6)

The database survives a restart of the switch, which forgets generations; a claim is made there first. So who
connects reads the record before it writes, and who read it too early is refused by the generation. Pure, but
for the steps of `record`, which are the same to any database.

A neighbour's record has a lease, and a number that it raises while it is at work. Clocks of hosts are not
compared: who finds the same record after more than the lease, by its own clock, may try the next token. The
claim itself checks that the record is still the same, so that time only permits trying; the token decides.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from alcor.data_plane.ovs.ovsdb import Json, Operation, WaitFailed
from alcor.model.errors import Unavailable

TOKEN = "alcor-fence"
WRITER = "alcor-fence-writer"
LEASE = "alcor-fence-lease"  # milliseconds; without it the record stands until a newer token comes
RENEWAL = "alcor-fence-renewal"
_ALL = (TOKEN, WRITER, LEASE, RENEWAL)
RENEWALS = 4  # per lease
CLAIM_TRIES = 5  # others may write to the bridge's external ids, too
PATIENCE = 1.5  # leases, until one that was not renewed counts as lapsed


class Fenced(Unavailable):
    """Another writer holds the switch under a newer token: stop at once."""

    def __init__(self, recorded: "Recorded") -> None:
        writer = recorded.writer
        super().__init__(f"'{writer}' writes to this switch under a newer token", retry_after_s=1.0)
        self.writer = writer
        self.recorded = recorded


class Recorded(NamedTuple):
    """What a bridge's record says. Token 0, writer empty: nothing yet."""

    token: int
    writer: str
    lease_ms: int = 0  # 0: for good
    renewal: int = 0


class Bid(NamedTuple):
    """Who wants to write, under which token. 0: none was granted yet. `lease_ms`: as in `Recorded`."""

    token: int
    writer: str
    lease_ms: int = 0


class Claim(NamedTuple):
    """What came of recording a writer: under which token, and where the renewals of its lease go on from."""

    bid: Bid
    renewal: int
    taken_from: str  # who was recorded before, if that was another


class Database(Protocol):
    """Where a bridge's record is."""

    async def external_ids(self) -> Mapping[str, str]:
        """Read the bridge's external ids. Raises Unavailable."""
        ...

    async def transact(self, operations: Sequence[Operation]) -> object:
        """Do all of it or nothing. Raises WaitFailed, Unavailable."""
        ...


async def record(
    database: Database, bridge: str, bid: Bid, *, lapsed: Recorded | None, is_first: bool
) -> Claim:
    """Record the bidder as the bridge's writer. Raises Fenced, Unavailable.

    `is_first` False: the bidder is recorded already. Another who wrote since, whatever its token, fences it:
    what it holds may be older than what that one wrote. `lapsed`: as for `judge`.
    """
    for _ in range(CLAIM_TRIES):
        before = await database.external_ids()
        recorded = read(before)
        made = bid._replace(token=judge(recorded, bid, lapsed=lapsed))
        is_others = recorded.writer not in ("", bid.writer)
        if is_others and not is_first:
            raise Fenced(recorded)
        renewal = recorded.renewal  # ours of before: it goes on, so that it never looks unchanged
        if recorded[:3] != made:
            try:
                await database.transact(claim(bridge, before, made))
            except WaitFailed:
                continue
            renewal = 0
        return Claim(made, renewal, recorded.writer if is_others else "")
    raise Unavailable("the bridge's record is being changed by others", retry_after_s=0.2)


def overtaken(token: int) -> Fenced:
    """Say that the switch has seen a newer master than that of this token, whose name it does not know."""
    return Fenced(Recorded(token + 1, "a newer master"))


def read(external_ids: Mapping[str, str]) -> Recorded:
    """Read the record from a bridge's external ids."""
    token, lease, renewal = (_number(external_ids.get(name, "")) for name in (TOKEN, LEASE, RENEWAL))
    return Recorded(token, external_ids.get(WRITER, ""), lease, renewal)


def judge(recorded: Recorded, bid: Bid, *, lapsed: Recorded | None = None) -> int:
    """Give the token under which the bidder may write now. Raises Fenced.

    A writer may come back under the token it was recorded with, or under a newer one; another's record needs a
    newer one. Nobody has written yet: token 0 will do, so that a host works before it ever met a controller.
    `lapsed`: a record that was found unchanged for longer than its lease; the next token passes it.
    """
    if recorded.writer in ("", bid.writer):
        return max(recorded.token, bid.token)
    if bid.token > recorded.token:
        return bid.token
    if recorded.lease_ms and recorded == lapsed:
        return recorded.token + 1
    raise Fenced(recorded)


def lapses_after_s(recorded: Recorded) -> float | None:
    """Give how long a record must be unchanged to be passed; None: it does not lapse."""
    return PATIENCE * recorded.lease_ms / 1000 if recorded.lease_ms else None


def claim(bridge: str, before: Mapping[str, str], bid: Bid) -> list[Operation]:
    """Give the operations that record a writer if nobody did meanwhile. `before`: the external ids as read."""
    held: Json = ["map", [[key, value] for key, value in sorted(before.items())]]
    record = [[TOKEN, str(bid.token)], [WRITER, bid.writer]]
    if bid.lease_ms:
        record += [[LEASE, str(bid.lease_ms)], [RENEWAL, "0"]]
    new: Json = ["map", cast(list[Json], record)]
    return [
        _wait(bridge, [], ["external_ids"], {"external_ids": held}),
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", bridge]],
            "mutations": [
                ["external_ids", "delete", ["set", [*_ALL]]],
                ["external_ids", "insert", new],
            ],
        },
    ]


def renew(bridge: str, renewal: int) -> Operation:
    """Give the operation that renews the lease of our own record; to be guarded."""
    return {
        "op": "mutate",
        "table": "Bridge",
        "where": [["name", "==", bridge]],
        "mutations": [
            ["external_ids", "delete", ["set", [RENEWAL]]],
            ["external_ids", "insert", ["map", [[RENEWAL, str(renewal)]]]],
        ],
    }


def guard(bridge: str, token: int, writer: str) -> Operation:
    """Give the operation that fails a transaction unless this writer is still the recorded one."""
    mine: Json = ["map", [[TOKEN, str(token)], [WRITER, writer]]]
    return _wait(bridge, [["external_ids", "includes", mine]], ["name"], {"name": bridge})


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _wait(bridge: str, conditions: list[Json], columns: list[Json], row: dict[str, Json]) -> Operation:
    return {
        "op": "wait",
        "timeout": 0,
        "table": "Bridge",
        "where": [["name", "==", bridge], *conditions],
        "columns": columns,
        "until": "==",
        "rows": [row],
    }
