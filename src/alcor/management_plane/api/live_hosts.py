"""Which hosts have a live agent, without asking the controller for every port."""

from alcor.contracts.convergence import Convergence
from alcor.runtime.clock import Clock

# How old the answer may be. It only colours `binding:vif_type` and the spreading of port groups; whether a port
# is in force is always asked afresh.
_AGE_MAX_S = 0.25


class LiveHosts:
    """Keeps the names of live hosts for a moment. Owner of its copy."""

    def __init__(self, convergence: Convergence, clock: Clock) -> None:
        self._convergence = convergence
        self._clock = clock
        self._names: tuple[str, ...] = ()
        self._set: frozenset[str] = frozenset()
        self._read_at_s = -1.0

    def names(self) -> tuple[str, ...]:
        """Name the live hosts, ascending."""
        self._refresh()
        return self._names

    def is_live(self, host: str) -> bool:
        """Has the host a live agent?"""
        self._refresh()
        return host in self._set

    def _refresh(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._read_at_s < 0 or now_s - self._read_at_s > _AGE_MAX_S:
            self._names = tuple(status.record.id for status in self._convergence.hosts() if status.alive)
            self._set = frozenset(self._names)
            self._read_at_s = now_s
