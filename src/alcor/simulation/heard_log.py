"""The event log under simulation: what is logged of our own mistakes does not stay there."""

from collections.abc import Callable

from alcor.runtime.event_log import EventLog, Fields, Level


class HeardLog(EventLog):
    """Passes everything on; tells of every task that failed, whoever supervises it.

    A supervisor without a `Failure` only logs: the region lives on, and may well converge without that task.
    """

    def __init__(self, log: EventLog, violation: Callable[[str], None]) -> None:
        super().__init__()
        self._log = log
        self._violation = violation

    def _write(self, level: Level, event: str, fields: Fields) -> None:
        if event == "task_failed":
            self._violation(f"the task '{fields['task']}' failed\n{fields['stack'].rstrip()}")
        self._log._write(level, event, fields)
