"""Percentiles of times."""

from collections.abc import Sequence

import msgspec

from alcor.model import errors


class Milliseconds(msgspec.Struct, frozen=True):
    """A distribution of times in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    highest: float


def milliseconds(values: Sequence[float]) -> Milliseconds:
    """Give the nearest-rank percentiles of a non-empty sequence."""
    ranks = (percentile(values, fraction) for fraction in (0.5, 0.9, 0.99, 1.0))
    return Milliseconds(len(values), *(round(value, 3) for value in ranks))


def percentile(values: Sequence[float], fraction: float) -> float:
    """Give the nearest-rank percentile; values need not be sorted. Raises Invalid when there are none."""
    if not values:
        raise errors.Invalid("no values to take a percentile of")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(fraction * len(ordered) + 0.5) - 1))]
