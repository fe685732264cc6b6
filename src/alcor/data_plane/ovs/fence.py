"""One writer at a time: a token that the switch itself holds, in its database and as its OpenFlow generation.

    token of the database's record   checked by every transaction of ours (`wait`, RFC 7047 5.2.6)
    generation of the master role    checked by the switch on every flow (OpenFlow 1.4, 6.3.6)

The database survives a restart of the switch, which forgets generations; a claim is made there first. So who
connects reads the record before it writes, and who read it too early is refused by the generation. Pure.

A neighbour's record has a lease, and a number that it raises while it is at work. Clocks of hosts are not
compared: who finds the same record after more than the lease, by its own clock, may try the next token. The
claim itself checks that the record is still the same, so that time only permits trying; the token decides.
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

from alcor.data_plane.ovs.ovsdb import Json, Operation
from alcor.model.errors import Unavailable

TOKEN = "alcor-fence"
WRITER = "alcor-fence-writer"
LEASE = "alcor-fence-lease"  # milliseconds; without it the record stands until a newer token comes
RENEWAL = "alcor-fence-renewal"
_ALL = (TOKEN, WRITER, LEASE, RENEWAL)
RENEWALS = 4  # per lease
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
