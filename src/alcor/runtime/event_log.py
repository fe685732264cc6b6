"""The event log: one JSON object a line on standard error: the event's name and its fields, no prose."""

import sys
from enum import IntEnum
from typing import TextIO

import msgspec

from alcor.runtime.clock import SystemClock


class Level(IntEnum):
    """How much an event matters."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class EventLog:
    """Writes events at or above a level. Owner of its stream."""

    def __init__(self, *, level: Level = Level.INFO, stream: TextIO | None = None) -> None:
        self._level = level
        self._stream = stream
        self._clock = SystemClock()

    def debug(self, event: str, **fields: object) -> None:
        self._write(Level.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write(Level.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write(Level.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write(Level.ERROR, event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        if level < self._level:
            return
        line = {"at_us": self._clock.now_us(), "level": level.name.lower(), "event": event, **fields}
        stream = self._stream or sys.stderr
        stream.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
        stream.flush()


SILENT = EventLog(level=Level.ERROR)  # but for errors, which are never kept back
