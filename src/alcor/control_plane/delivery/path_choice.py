"""By which path a host's share of a change goes, and why, in a sentence. Pure.

stream up, taking what is sent           fast
stream up, congested, and bulk           queue, where it has room; back when the stream was calm for a while
stream down, host heard over the queue   queue
stream down, host has a place there      queue: kept until it is back
neither                                  none: the ledger keeps it, and sends it by whatever comes back
"""

import msgspec

from alcor.contracts.convergence import PathName
from alcor.contracts.queue import QueueState

BULK_HOSTS = 64  # a change that concerns so many hosts is bulk: no one host waits for it alone
CALM_S = 5.0  # so long a stream must have been up without congestion before bulk comes back to it


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What is to be delivered. `is_fast`: one of its ports asks for the fast path."""

    is_fast: bool
    hosts: int


class StreamState(msgspec.Struct, frozen=True, gc=False):
    """The host's stream. `calm_s`: since when it is up without congestion."""

    is_up: bool
    is_congested: bool = False
    calm_s: float = 0.0
    by_rescuer: str = ""  # a neighbour's stream, in the host's name


class Place(msgspec.Struct, frozen=True, gc=False):
    """The host's place at the queue. `queue` None: the region has no queue."""

    queue: QueueState | None
    is_offered: bool = False  # its agent said that it listens there
    is_heard: bool = False  # it answers there now


class Choice(msgspec.Struct, frozen=True, gc=False):
    """A path and the reason for it: a sentence."""

    path: PathName
    reason: str


def choose(asked: Asked, stream: StreamState, place: Place, *, former: PathName) -> Choice:
    """Choose for one host. `former`: the path chosen for it before, or empty. O(1)."""
    if stream.by_rescuer:
        return Choice("rescue", f"Its agent is dead: host '{stream.by_rescuer}' writes for it.")
    if stream.is_up:
        return _with_stream(asked, stream, place, former)
    if place.is_heard:
        wish = ", although the fast path is asked for" if asked.is_fast else ""
        return Choice("queue", f"Its stream is down; it answers over the queue{wish}.")
    queue = place.queue
    if queue is None or not place.is_offered:
        return Choice("none", "Its stream is down and it has no place at the queue: the ledger keeps it.")
    if not queue.is_up:
        return Choice("none", f"Its stream is down, and so is the queue ({queue.reason}): the ledger keeps it.")
    if queue.is_full:
        return Choice("none", f"Its stream is down, and {queue.reason}: the ledger keeps it.")
    return Choice("queue", "It is away: the queue keeps the newest until it is back.")


def _with_stream(asked: Asked, stream: StreamState, place: Place, former: PathName) -> Choice:
    is_bulk = asked.hosts >= BULK_HOSTS and not asked.is_fast
    queue = place.queue
    has_room = queue is not None and queue.is_up and not queue.is_full and place.is_offered
    if is_bulk and stream.is_congested and has_room:
        return Choice("queue", f"Bulk for {asked.hosts} hosts, and its stream is congested.")
    if is_bulk and former == "queue" and stream.calm_s < CALM_S and has_room:
        return Choice(
            "queue", f"Bulk for {asked.hosts} hosts; its stream is calm for {stream.calm_s:.0f} s only."
        )
    if asked.is_fast:
        return Choice("fast", "The fast path is asked for, and its stream is up.")
    if stream.is_congested:
        return Choice("fast", "Its stream is congested, but nothing else would be faster.")
    return Choice("fast", "Its stream is up.")
