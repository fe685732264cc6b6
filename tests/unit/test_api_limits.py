"""How often callers may ask, and how long those wait who asked too often."""

import pytest

from alcor.contracts.identity import Identity
from alcor.management_plane.api.limits import UNLIMITED, Limits, Rate
from alcor.model import errors
from alcor.model.ids import ProjectId
from alcor.model.roles import Level
from alcor.runtime.limits import BUCKETS_MAX, TokenBuckets


class _Clock:
    now_s = 1000.0

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.now_s


def _member(project: str, level: Level = Level.MEMBER) -> Identity:
    return Identity(ProjectId(project), "u", ("member",), level)


def test_a_project_may_send_its_burst_and_then_at_its_rate() -> None:
    clock = _Clock()
    limits = Limits(clock, projects=Rate(0.5, 3), attempts=UNLIMITED)
    for _ in range(3):
        limits.admit(_member("blue"))
    with pytest.raises(errors.LimitReached) as refused:
        limits.admit(_member("blue"))
    assert refused.value.retry_after_s == pytest.approx(2.0)
    limits.admit(_member("green"))
    clock.now_s += 2.0
    limits.admit(_member("blue"))
    with pytest.raises(errors.LimitReached):
        limits.admit(_member("blue"))


def test_administrators_and_regions_without_a_limit_are_not_counted() -> None:
    limits = Limits(_Clock(), projects=Rate(1, 1), attempts=UNLIMITED)
    for _ in range(100):
        limits.admit(_member("blue", Level.ADMIN))
    unlimited = Limits(_Clock(), projects=UNLIMITED, attempts=UNLIMITED)
    for _ in range(100):
        unlimited.admit(_member("blue"))
        unlimited.failed("192.0.2.1")
        unlimited.may_attempt("192.0.2.1")


def test_an_address_that_guesses_waits_and_the_others_do_not() -> None:
    clock = _Clock()
    limits = Limits(clock, projects=UNLIMITED, attempts=Rate(1, 2))
    for _ in range(2):
        limits.may_attempt("192.0.2.1")
        limits.failed("192.0.2.1")
    with pytest.raises(errors.LimitReached):
        limits.may_attempt("192.0.2.1")
    limits.may_attempt("192.0.2.2")
    clock.now_s += 1.0
    limits.may_attempt("192.0.2.1")


def test_the_buckets_of_many_keys_take_bounded_memory() -> None:
    buckets: TokenBuckets[int] = TokenBuckets(rate_per_s=1, burst=1)
    for key in range(BUCKETS_MAX + 1000):
        buckets.take(key, 0.0)
    assert len(buckets._buckets) == BUCKETS_MAX
    assert not buckets.has(BUCKETS_MAX + 999, 0.0)
