"""The number on every piece of goal state: newer wins, on every path (law 2)."""

import msgspec


class Version(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Orders goal state: first by epoch, then by revision.

    `epoch` grows by one each time a controller takes over a partition; `revision` is the store's commit
    number; `step` counts what changed for one host at that revision without a commit: neighbours it asked for.
    Compare with `<`; equal means the same content.
    """

    epoch: int
    revision: int
    step: int = 0


NEVER = Version(0, 0)
