"""Tells of rescues: operators' event log at once, and the audit trail, which keeps who wrote to whose host."""

from collections.abc import Callable

from alcor.contracts.agent_channel import RescueOutcome
from alcor.contracts.audit import Actor, Entry
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog

Audit = Callable[[Entry], None]
CONTROLLER = "alcor-controller"  # whose doing it is: nobody asked for a rescue
_NOT_DONE = 503


class RescueTrail:
    """Says each step once, in both."""

    def __init__(self, audit: Audit, clock: Clock, log: EventLog) -> None:
        self._audit = audit
        self._clock = clock
        self._log = log

    def ordered(self, host: HostId, by: HostId, token: int, *, why: str, chosen: str) -> None:
        self._log.warning("rescue_ordered", host_id=host, by=by, token=token, why=why, chosen=chosen)
        self._keep("order_rescue", host, token, f"'{by}' is to write for it: {why}")

    def taken(self, host: HostId, by: HostId, token: int, *, why: str) -> None:
        self._log.warning("rescue_taken", host_id=host, by=by, token=token, why=why)
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

    def judged(self, host: HostId, verdict: str, reason: str, *, after_ms: int) -> None:
        self._log.warning("host_judged", host_id=host, verdict=verdict, reason=reason, after_ms=after_ms)

    def _keep(self, operation: str, host: HostId, token: int, reason: str, *, status: int = 0) -> None:
        actor = Actor("", CONTROLLER, (), "", "", f"/v2.0/hosts/{host}")
        self._audit(
            Entry(
                at=self._clock.now_us(),
                request_id=f"rescue-{token:x}",
                actor=actor,
                operation=operation,
                kind="host",
                targets=(host,),
                count=1,
                revision=0,
                status=status,
                reason=reason,
            )
        )
