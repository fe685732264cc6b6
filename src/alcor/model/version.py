"""The number on every piece of goal state: newer wins, on every path (law 2)."""

import msgspec


class Version(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Orders goal state: first by epoch, then by revision.

    `epoch` grows by one each time a controller takes over a partition; `revision` is the store's commit
    number. Compare with `<`; equal means the same content.
    """

    epoch: int
    revision: int


NEVER = Version(0, 0)
