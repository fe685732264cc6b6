"""By which path a host's share of a change goes, and why, in a sentence. Pure.

    a neighbour's stream in its name         rescue
    stream up                                fast: nothing else is faster, congested or not
    stream down, host heard over the queue   queue
    stream down, host has a place there      queue: kept until it is back
    neither                                  none: the ledger keeps it, and sends it by whatever comes back

Bulk is not moved from a congested stream to the queue: each change leads from the one before it, so it cannot
overtake what is on its way (docs/decisions/0008-queue-path.md). It waits behind what is urgent instead.
The way back to a stream is the agent's (host_agent/session.py): it returns ever more slowly to one that ends
again and again. A queue that refused to keep something counts as full for a while (adapters/nats/goal_queue).
"""

import msgspec

from alcor.contracts.convergence import PathName
from alcor.contracts.queue import QueueState
from alcor.contracts.store import Change

BULK_HOSTS = 64  # a change that concerns more hosts is served in turns, after what is urgent


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What is to be delivered. `is_fast`: one of its ports asks for the fast path."""

    is_fast: bool
    hosts: int


def is_urgent(change: Change) -> bool:
    """Does one of its ports ask for the fast path?"""
    return any(port.fast_path for port in change.puts.ports)


NOTHING_ASKED = Asked(is_fast=False, hosts=1)


class StreamState(msgspec.Struct, frozen=True, gc=False):
    """The host's stream."""

    is_up: bool
    is_congested: bool = False  # what comes now waits: more is under way than it takes or answers soon
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


KEPT = Choice("queue", "It is away: the queue keeps the newest until it is back.")
NEVER_SEEN = Choice("none", "Its agent has not been heard since the controller started.")
LOST = Choice("none", "Its connection ended before it answered: it is sent again when it is back.")
UNDECIDED = Choice("none", "")


def of_session(*, is_stream: bool, rescuer: str = "") -> Choice:
    """Give the choice for a session as such, whatever is delivered over it."""
    stream, place = StreamState(is_stream, by_rescuer=rescuer), Place(None, is_heard=not is_stream)
    return choose(NOTHING_ASKED, stream, place)


def while_unheard(decided: Choice) -> Choice:
    """Give what became of a choice now that nobody hears the host: a session's ended with it. O(1)."""
    return decided if decided == KEPT or decided.path == "none" else LOST


def choose(asked: Asked, stream: StreamState, place: Place) -> Choice:
    """Choose for one host. O(1)."""
    if stream.by_rescuer:
        return Choice("rescue", f"Its agent is dead: host '{stream.by_rescuer}' writes for it.")
    if stream.is_up:
        return Choice("fast", _why_fast(asked, stream))
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
    return KEPT


def _why_fast(asked: Asked, stream: StreamState) -> str:
    if asked.is_fast:
        return "The fast path is asked for, and its stream is up."
    if stream.is_congested:
        return "Its stream is congested: what comes now is merged with what waits."
    if asked.hosts > BULK_HOSTS:
        return f"Its stream is up; bulk for {asked.hosts} hosts goes in turns, after what is urgent."
    return "Its stream is up."
