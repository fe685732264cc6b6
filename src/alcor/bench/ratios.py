"""Ratios of noisy figures, with how sure they are. Samples taken by turns meet the same noise."""

import random
import statistics
from collections.abc import Sequence

import msgspec

from alcor.lab.percentiles import percentile

RESAMPLES = 2_000
CONFIDENCE = 0.95


class Ratio(msgspec.Struct, frozen=True):
    """A ratio of medians, and its interval of 95 % confidence (bootstrap, percentile method)."""

    value: float
    low: float
    high: float
    samples: int


def of_medians(above: Sequence[float], below: Sequence[float], *, seed: int = 1) -> Ratio:
    """Give the median of one side divided by that of the other. Neither may be empty, or have a median of 0."""
    chance = random.Random(seed)
    ratios = [
        statistics.median(chance.choices(above, k=len(above)))
        / statistics.median(chance.choices(below, k=len(below)))
        for _ in range(RESAMPLES)
    ]
    tail = (1 - CONFIDENCE) / 2
    return Ratio(
        round(statistics.median(above) / statistics.median(below), 3),
        round(percentile(ratios, tail), 3),
        round(percentile(ratios, 1 - tail), 3),
        len(above),
    )


class Quartiles(msgspec.Struct, frozen=True):
    """The middle half of some figures."""

    lower: float
    median: float
    upper: float


def quartiles(values: Sequence[float]) -> Quartiles:
    """Give the nearest-rank quartiles of a non-empty sequence."""
    return Quartiles(*(round(percentile(values, fraction), 3) for fraction in (0.25, 0.5, 0.75)))
