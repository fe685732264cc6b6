"""Times as the API writes them: `2026-01-01T00:00:00Z`."""

import functools
import time


def text(at_us: int) -> str:
    """Write microseconds since 1970 UTC. A batch has one time, so it is formatted once."""
    return _second(at_us // 1_000_000)


@functools.lru_cache(maxsize=4096)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
