"""Warrants: what a neighbour shows a later controller to prove that a former one ordered its rescue. Pure.

Orders are kept by nobody but the neighbour, so that a controller that starts anew would have to believe any
agent that says it writes for an absent host, and would send it that host's goal state.

A warrant counts for minutes, and each renewal of the rescue brings another: who was ordered once could else
come back at any time, and be certified anew.
"""

import hashlib
import hmac

import msgspec

from alcor.model.ids import HostId

CLOCKS_S = 300  # by which the clocks of a region's controllers may differ, and a renewal be late
_TIME_BYTES = 8


def make(key: bytes, *, target: HostId, neighbour: HostId, token: int, now_s: int) -> bytes:
    """Give the warrant of an order: when it was made, and a proof. `key`: the region's controllers' alone.

    `now_s`: since 1970 UTC.
    """
    proof = hmac.digest(key, msgspec.msgpack.encode((target, neighbour, token, now_s)), hashlib.sha256)
    return now_s.to_bytes(_TIME_BYTES, "big") + proof


def proves(
    warrant: bytes,
    key: bytes,
    *,
    target: HostId,
    neighbour: HostId,
    token: int,
    now_s: int,
    renewed_s: float,
) -> bool:
    """Was the warrant made for this order, by who has the key, and lately? In constant time.

    `renewed_s`: within which a rescue under way is given another.
    """
    made_s = int.from_bytes(warrant[:_TIME_BYTES], "big")
    wanted = make(key, target=target, neighbour=neighbour, token=token, now_s=made_s)
    is_ours = hmac.compare_digest(warrant, wanted)
    return is_ours and -CLOCKS_S <= now_s - made_s <= renewed_s + CLOCKS_S
