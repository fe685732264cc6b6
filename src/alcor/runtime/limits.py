"""Token buckets: how often each of many may act."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BUCKETS_MAX = 16_384


class TokenBuckets(Generic[K]):
    """Limits how often each key may act. Owner of its buckets; the longest unused is forgotten first."""

    def __init__(self, *, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: OrderedDict[K, tuple[float, float]] = OrderedDict()  # key -> (tokens, as of)

    def take(self, key: K, now_s: float) -> bool:
        """Is there a token for this key? Takes it. O(1)."""
        tokens = self._tokens(key, now_s)
        allowed = tokens >= 1.0
        self._buckets.pop(key, None)
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now_s)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return allowed

    def has(self, key: K, now_s: float) -> bool:
        """Is there a token for this key? Leaves it."""
        return self._tokens(key, now_s) >= 1.0

    def wait_s(self, key: K, now_s: float) -> float:
        """Seconds until there is a token for this key."""
        return max(0.0, (1.0 - self._tokens(key, now_s)) / self._rate_per_s)

    def _tokens(self, key: K, now_s: float) -> float:
        tokens, since_s = self._buckets.get(key, (self._burst, now_s))
        return min(self._burst, tokens + (now_s - since_s) * self._rate_per_s)
