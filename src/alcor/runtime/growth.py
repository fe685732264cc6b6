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
        for counter, count in counters.items():
            more = count - self._seen.get(counter, 0)
            if more > 0:
                self._log.warning(self._event, counter=counter, more=more)
        self._seen = counters
