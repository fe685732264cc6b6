"""Warrants: what a neighbour shows a later controller to prove that a former one ordered its rescue. Pure.

Orders are kept by nobody but the neighbour, so that a controller that starts anew would have to believe any
agent that says it writes for an absent host, and would send it that host's goal state.
"""

import hashlib
import hmac

import msgspec

from alcor.model.ids import HostId


def make(key: bytes, *, target: HostId, neighbour: HostId, token: int) -> bytes:
    """Give the warrant of an order. `key`: the region's, known to its controllers alone."""
    return hmac.digest(key, msgspec.msgpack.encode((target, neighbour, token)), hashlib.sha256)


def proves(warrant: bytes, key: bytes, *, target: HostId, neighbour: HostId, token: int) -> bool:
    """Was the warrant made for this order, by who has the key? In constant time."""
    return hmac.compare_digest(warrant, make(key, target=target, neighbour=neighbour, token=token))
