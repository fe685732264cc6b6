"""How often callers may ask: projects, and addresses that have not said who they are."""

from collections import Counter

import msgspec

from alcor.contracts.identity import Identity
from alcor.model import errors
from alcor.model.roles import Level
from alcor.runtime.clock import Clock
from alcor.runtime.limits import TokenBuckets

REASON = "RequestRateExceeded"


class Rate(msgspec.Struct, frozen=True):
    """Requests a second in the long run, and at once. 0 a second: no limit."""

    per_s: float
    burst: float


UNLIMITED = Rate(0, 0)
# A script with an expired token tries a few times; whoever guesses tries more.
ATTEMPTS = Rate(5, 50)


# Requests of one project under way in one process. Some wait for hosts (`?wait=`) for minutes: one project must
# not take all connections that there may be.
AT_ONCE_MAX = 512


class AtOnce:
    """Owner of the count of requests under way, by project; administrators are not counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    def begin(self, project_id: str, *, is_admin: bool) -> None:
        """Count one more. Raises LimitReached."""
        if self._under_way[project_id] >= self._most and not is_admin:
            raise _limited(f"Project {project_id} has too many requests under way.", 1.0)
        self._under_way[project_id] += 1

    def end(self, project_id: str) -> None:
        """Count one less."""
        self._under_way[project_id] -= 1
        if not self._under_way[project_id]:
            del self._under_way[project_id]


class Limits:
    """Owner of the buckets: one for each project, and for each address that failed to say who it is.

    And of `at_once`, what projects have under way.

    Administrators have none: the operator must get in when a tenant's script runs wild, and Nova's user asks
    for all tenants.
    """

    def __init__(self, clock: Clock, *, projects: Rate, attempts: Rate, at_once: int = AT_ONCE_MAX) -> None:
        self._clock = clock
        self.at_once = AtOnce(at_once)
        self._projects = _buckets(projects)
        self._attempts = _buckets(attempts)

    def admit(self, identity: Identity) -> None:
        """Count a request. Raises LimitReached when the project has used up what it may. O(1)."""
        if self._projects is None or identity.level is Level.ADMIN:
            return
        now_s = self._clock.monotonic_s()
        if not self._projects.take(identity.project_id, now_s):
            wait_s = self._projects.wait_s(identity.project_id, now_s)
            raise _limited(f"Project {identity.project_id} sends too many requests.", wait_s)

    def may_attempt(self, address: str) -> None:
        """Raise LimitReached when too many requests of this address failed to say who sends them."""
        if self._attempts is None:
            return
        now_s = self._clock.monotonic_s()
        if not self._attempts.has(address, now_s):
            raise _limited("Too many requests without a valid token.", self._attempts.wait_s(address, now_s))

    def failed(self, address: str) -> None:
        """Count a request that failed to say who sends it."""
        if self._attempts is not None:
            self._attempts.take(address, self._clock.monotonic_s())


def _buckets(rate: Rate) -> TokenBuckets[str] | None:
    return TokenBuckets(rate_per_s=rate.per_s, burst=max(1.0, rate.burst)) if rate.per_s > 0 else None


def _limited(message: str, wait_s: float) -> errors.LimitReached:
    return errors.LimitReached(message, reason=REASON, retry_after_s=wait_s)
