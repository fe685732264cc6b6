"""The event log: one JSON object a line on standard error: the event's name and its fields, no prose."""

import sys
from enum import IntEnum
from typing import TextIO, TypedDict, Unpack

import msgspec

from alcor.runtime.clock import SystemClock


class Level(IntEnum):
    """How much an event matters."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Fields(TypedDict, total=False):
    """All that events have beside their name: one name for one thing, whoever tells it.

    mypy refuses what is not here, `tests/unit/test_event_log.py` what no event has.
    """

    # What it is about
    host_id: str  # the host; of a rescue, the one that is rescued
    by: str  # who writes to that host's switch instead of its own agent
    token: int  # under which it does
    lease_s: float
    project_id: str
    port_id: str
    server_id: str  # Nova's
    request_id: str
    vni: int
    revision: int
    epoch: int
    section: str  # its key; of several, the first
    flow: str  # what it comes from
    name: str  # of a process, a connection, a certificate, a file or a word to Nova
    role: str  # of a certificate
    pid: int | None
    task: str
    operation: str
    data_plane: str
    url: str  # where the other end is
    subject: str  # of the queue
    method: str  # of a request of the API, as the next
    path: str

    # Why, and what came of it
    reason: str  # a sentence
    chosen: str  # a sentence: why this neighbour
    meters_refused: str  # a sentence: why the switch has none
    remedy: str  # a sentence
    stack: str
    verdict: str
    outcome: str
    status: str
    code: int  # of Nova, HTTP's
    event_text: str

    # How many, and how long: what is plural, or a participle, is a count
    asked: int
    counter: str
    entries: int
    hosts: int
    installed: int
    keys: int
    limit: int
    limited: int
    meters: int
    more: int  # than when the counter was looked at last
    plugged: int
    ports: int
    refused: int
    removed: int
    sections: int
    streams: int
    waiting: int
    wanted: int
    after_ms: int
    at_s: float


class EventLog:
    """Writes events at or above a level. Owner of its stream."""

    def __init__(self, *, level: Level = Level.INFO, stream: TextIO | None = None) -> None:
        self._level = level
        self._stream = stream
        self._clock = SystemClock()

    def debug(self, event: str, **fields: Unpack[Fields]) -> None:
        self._write(Level.DEBUG, event, fields)

    def info(self, event: str, **fields: Unpack[Fields]) -> None:
        self._write(Level.INFO, event, fields)

    def warning(self, event: str, **fields: Unpack[Fields]) -> None:
        self._write(Level.WARNING, event, fields)

    def error(self, event: str, **fields: Unpack[Fields]) -> None:
        self._write(Level.ERROR, event, fields)

    def about(self, **fields: Unpack[Fields]) -> "EventLog":
        """Give a log that says this of each event, unless the event says otherwise, and writes to this one."""
        return _LogAbout(self, fields)

    def _write(self, level: Level, event: str, fields: Fields) -> None:
        if level < self._level:
            return
        line = {"at_us": self._clock.now_us(), "level": level.name.lower(), "event": event, **fields}
        stream = self._stream or sys.stderr
        stream.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
        stream.flush()


class _LogAbout(EventLog):
    def __init__(self, log: EventLog, fields: Fields) -> None:
        super().__init__()
        self._log = log
        self._fields = fields

    def _write(self, level: Level, event: str, fields: Fields) -> None:
        self._log._write(level, event, {**self._fields, **fields})


SILENT = EventLog(level=Level.ERROR)  # but for errors, which are never kept back
