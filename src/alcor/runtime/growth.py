"""Says in the log when counters of what was given up have grown: once in a while, and not for each packet."""

from alcor.runtime.event_log import EventLog


class Growth:
    """Owner of what the counters were when it looked last."""

    def __init__(self, log: EventLog, event: str) -> None:
        self._log = log
        self._event = event
        self._seen: dict[str, int] = {}

    def look(self, **counters: int) -> None:
        """Log by how much each has grown since the last look; nothing if none has."""
        grown = {
            name: more for name, count in counters.items() if (more := count - self._seen.get(name, 0)) > 0
        }
        self._seen = counters
        if grown:
            self._log.warning(self._event, **grown)
