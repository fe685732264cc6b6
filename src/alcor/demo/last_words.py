"""What the parts of a demonstration logged last: why it broke is seldom known to the one that broke it off."""

from collections.abc import Iterable, Iterator
from pathlib import Path

LINES = 6  # of each log
TAIL_BYTES = 16 * 1024
LINE_MAX = 240


def last_words(logs: Iterable[Path]) -> Iterator[str]:
    """Give the last lines of each log, each after the log's name. Those that are not there say nothing."""
    for log in sorted(logs):
        try:
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()[-LINES:]
        except OSError:
            continue
        yield from (f"{log.stem}: {line[:LINE_MAX]}" for line in lines)
