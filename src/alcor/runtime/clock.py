"""Time and randomness behind one object, so that a simulation can replace both."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from alcor.model.ids import RequestId


class Clock(Protocol):
    """Time as the process sees it."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC; may step."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start; never steps back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()


_entropy: Callable[[int], bytes] = os.urandom
_now_ns: Callable[[], int] = time.time_ns


@contextlib.contextmanager
def replaced_sources(entropy: Callable[[int], bytes], now_ns: Callable[[], int]) -> Iterator[None]:
    """Make ids and random bytes from other sources meanwhile: a simulation must be able to repeat itself."""
    global _entropy, _now_ns
    before = _entropy, _now_ns
    _entropy, _now_ns = entropy, now_ns
    try:
        yield
    finally:
        _entropy, _now_ns = before


def new_ids(count: int) -> list[str]:
    """Make UUIDv7 texts, ascending in one call (RFC 9562, section 5.7, method 1 within the millisecond).

    One call of the operating system for all of them: `uuid.uuid4` costs eight times as much each.
    """
    entropy = _entropy(8 * count)
    head = f"{_now_ns() // 1_000_000:012x}"
    prefix = f"{head[:8]}-{head[8:]}"
    ids = []
    start = int.from_bytes(_entropy(3), "big")  # 24-bit counter with room to grow: 12 + 12 bits below
    for index in range(count):
        counter = (start + index) & 0xFFFFFF
        tail = entropy[8 * index : 8 * index + 8].hex()
        ids.append(f"{prefix}-7{counter >> 12:03x}-{0x8000 | counter & 0xFFF:04x}-{tail[:12]}")
    ids.sort()
    return ids


def new_request_id() -> RequestId:
    """Make an id in OpenStack's form, `req-<uuid>`."""
    return RequestId(f"req-{new_ids(1)[0]}")


def random_bytes(count: int) -> bytes:
    """Draw bytes that nobody can foresee."""
    return _entropy(count)
