"""Tells of rescues: operators' event log at once, and the audit trail, which keeps who wrote to whose host."""

import math
from collections import Counter
from collections.abc import Callable

from alcor.contracts.agent_channel import RescueOutcome
from alcor.contracts.audit import Actor, Entry
from alcor.control_plane.health.detector import Verdict
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.limits import TokenBuckets

Audit = Callable[[Entry], None]
CONTROLLER = "alcor-controller"  # whose doing it is: nobody asked for a rescue
_NOT_DONE = 503
# Of what became of hosts, which may be all of a region at once; orders are as few as neighbours can carry out.
HOSTS_PER_S = 2.0
HOSTS_BURST = 256
REST_S = 60.0  # so often the others are told of, by their number: the event log names each


class RescueTrail:
    """Says each step once, in both. Owner of what is left to be told in the audit trail."""

    def __init__(self, audit: Audit, clock: Clock, log: EventLog) -> None:
        self._audit = audit
        self._clock = clock
        self._log = log
        self._budget: TokenBuckets[None] = TokenBuckets(rate_per_s=HOSTS_PER_S, burst=HOSTS_BURST)
        self._rest: Counter[str] = Counter()  # by operation
        self._rest_since_s = 0.0

    def ordered(self, host: HostId, by: HostId, token: int, *, why: str, chosen: str) -> None:
        self._log.warning("rescue_ordered", host_id=host, by=by, token=token, reason=why, chosen=chosen)
        self._keep("order_rescue", host, token, f"'{by}' is to write for it: {why}")

    def taken(self, host: HostId, by: HostId, token: int, *, why: str) -> None:
        self._log.warning("rescue_taken", host_id=host, by=by, token=token, reason=why)
        self._keep("take_rescue", host, token, f"'{by}' writes for it: {why}")

    def ended(self, host: HostId, by: HostId, token: int, reason: str) -> None:
        self._log.info("rescue_ended", host_id=host, by=by, reason=reason)
        self._keep("end_rescue", host, token, f"'{by}' is to stop: {reason}")

    def not_done(self, host: HostId, by: HostId, token: int, outcome: RescueOutcome, reason: str) -> None:
        name = outcome.name.lower()
        self._log.warning("rescue_not_done", host_id=host, by=by, outcome=name, reason=reason)
        self._keep("end_rescue", host, token, f"'{by}' does not write for it: {reason}", status=_NOT_DONE)

    def rescuer_left(self, host: HostId, by: HostId, token: int, reason: str) -> None:
        self._log.warning("rescuer_left", host_id=host, by=by, reason=reason)
        self._keep("end_rescue", host, token, f"'{by}' was lost: {reason}", status=_NOT_DONE)

    def returned(self, host: HostId) -> None:
        self._log.info("agent_returned", host_id=host)
        self._keep_of_host("return_agent", host, "its own agent is back")

    def judged(self, host: HostId, verdict: Verdict, reason: str, *, after_ms: int) -> None:
        self._log.warning("host_judged", host_id=host, verdict=verdict.value, reason=reason, after_ms=after_ms)
        self._keep_of_host("judge_host", host, f"{verdict.value}: {reason}")

    def tell_rest(self, now_s: float = math.inf) -> None:
        """Tell how many hosts were not named, if it is time or none follow."""
        if self._rest and now_s - self._rest_since_s >= REST_S:
            rest, self._rest = self._rest, Counter()
            for operation, count in sorted(rest.items()):
                self._write(
                    "health", operation, (), f"{count} more hosts; the event log names them", count=count
                )

    def _keep_of_host(self, operation: str, host: HostId, reason: str) -> None:
        now_s = self._clock.monotonic_s()
        self.tell_rest(now_s)
        if self._budget.take(None, now_s):
            self._write(f"health-{host}", operation, (host,), reason)
            return
        if not self._rest:
            self._rest_since_s = now_s
        self._rest[operation] += 1

    def _keep(self, operation: str, host: HostId, token: int, reason: str, *, status: int = 0) -> None:
        self._write(f"rescue-{token:x}", operation, (host,), reason, status=status)

    def _write(
        self,
        request_id: str,
        operation: str,
        targets: tuple[HostId, ...],
        reason: str,
        *,
        status: int = 0,
        count: int = 1,
    ) -> None:
        path = "/".join(("/v2.0/hosts", *targets))
        self._audit(
            Entry(
                at=self._clock.now_us(),
                request_id=request_id,
                actor=Actor("", CONTROLLER, (), "", "", path),
                operation=operation,
                kind="host",
                targets=targets,
                count=count,
                revision=0,
                status=status,
                reason=reason,
            )
        )
