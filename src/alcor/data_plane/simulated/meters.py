"""Meters as a switch has them: packets that find no token are dropped."""

from collections.abc import Callable, Mapping

from alcor.data_plane.pipeline.flow import Meter
from alcor.runtime.limits import TokenBuckets


class Meters:
    """Owns the buckets of one switch. Those of one size are kept together: most meters are never used."""

    def __init__(self, meters: Mapping[int, Meter], now_s: Callable[[], float]) -> None:
        """`meters`: by id."""
        self._meters = meters
        self._now_s = now_s
        self._buckets: dict[tuple[int, int], TokenBuckets[int]] = {}

    def let(self, meter_id: int) -> bool:
        """May a packet pass this meter? Takes its token. Raises KeyError when there is no such meter."""
        meter = self._meters[meter_id]
        size = (meter.rate_per_s, meter.burst)
        if size not in self._buckets:
            self._buckets[size] = TokenBuckets(rate_per_s=meter.rate_per_s, burst=meter.burst)
        return self._buckets[size].take(meter_id, self._now_s())
