"""One writer at a time: a token that the switch itself holds, in its database and as its OpenFlow generation.

    token of the database's record   checked by every transaction of ours (`wait`, RFC 7047 5.2.6)
    generation of the master role    checked by the switch on every flow (OpenFlow 1.4, 6.3.6)

The database survives a restart of the switch, which forgets generations; a claim is made there first. So who
connects reads the record before it writes, and who read it too early is refused by the generation. Pure.
"""

from collections.abc import Mapping
from typing import NamedTuple

from alcor.data_plane.ovs.ovsdb import Json, Operation
from alcor.model.errors import Unavailable

TOKEN = "alcor-fence"
WRITER = "alcor-fence-writer"


class Fenced(Unavailable):
    """Another writer holds the switch under a newer token: stop at once."""

    def __init__(self, writer: str) -> None:
        super().__init__(f"'{writer}' writes to this switch under a newer token", retry_after_s=1.0)
        self.writer = writer


class Recorded(NamedTuple):
    """What a bridge's record says. Token 0, writer empty: nothing yet."""

    token: int
    writer: str


class Bid(NamedTuple):
    """Who wants to write, under which token. 0: none was granted yet."""

    token: int
    writer: str


def read(external_ids: Mapping[str, str]) -> Recorded:
    """Read the record from a bridge's external ids."""
    token = external_ids.get(TOKEN, "")
    return Recorded(int(token) if token.isdecimal() else 0, external_ids.get(WRITER, ""))


def judge(recorded: Recorded, bid: Bid) -> int:
    """Give the token under which the bidder may write now. Raises Fenced.

    A writer may come back under the token it was recorded with, or under a newer one; another's record needs a
    newer one. Nobody has written yet: token 0 will do, so that a host works before it ever met a controller.
    """
    if recorded.writer in ("", bid.writer):
        return max(recorded.token, bid.token)
    if bid.token > recorded.token:
        return bid.token
    raise Fenced(recorded.writer)


def claim(bridge: str, before: Mapping[str, str], token: int, writer: str) -> list[Operation]:
    """Give the operations that record a writer if nobody did meanwhile. `before`: the external ids as read."""
    held: Json = ["map", [[key, value] for key, value in sorted(before.items())]]
    new: Json = ["map", [[TOKEN, str(token)], [WRITER, writer]]]
    return [
        _wait(bridge, [], ["external_ids"], {"external_ids": held}),
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", bridge]],
            "mutations": [
                ["external_ids", "delete", ["set", [TOKEN, WRITER]]],
                ["external_ids", "insert", new],
            ],
        },
    ]


def guard(bridge: str, token: int, writer: str) -> Operation:
    """Give the operation that fails a transaction unless this writer is still the recorded one."""
    mine: Json = ["map", [[TOKEN, str(token)], [WRITER, writer]]]
    return _wait(bridge, [["external_ids", "includes", mine]], ["name"], {"name": bridge})


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
