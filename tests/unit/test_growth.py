"""What vanishes is said once a turn, and only when there is more of it."""

import io

import msgspec

from alcor.runtime.event_log import EventLog
from alcor.runtime.growth import Growth


def test_growth_is_said_once_with_what_grew() -> None:
    said = io.StringIO()
    growth = Growth(EventLog(stream=said), "packets_dropped")
    for dropped, limited in ((0, 0), (3, 0), (3, 0), (5, 2)):
        growth.look(dropped=dropped, limited=limited)
    lines = [msgspec.json.decode(line) for line in said.getvalue().splitlines()]
    assert [(line["event"], line.get("dropped"), line.get("limited")) for line in lines] == [
        ("packets_dropped", 3, None),
        ("packets_dropped", 2, 2),
    ]
