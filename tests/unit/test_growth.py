"""What vanishes is said once a turn, and only when there is more of it."""

import io

import msgspec

from alcor.runtime.event_log import EventLog
from alcor.runtime.growth import Growth


def test_growth_is_said_once_for_each_that_grew() -> None:
    said = io.StringIO()
    growth = Growth(EventLog(stream=said), "packets_dropped")
    for dropped, limited in ((0, 0), (3, 0), (3, 0), (5, 2)):
        growth.look(dropped=dropped, limited=limited)
    lines = [msgspec.json.decode(line) for line in said.getvalue().splitlines()]
    assert [(line["event"], line["counter"], line["more"]) for line in lines] == [
        ("packets_dropped", "dropped", 3),
        ("packets_dropped", "dropped", 2),
        ("packets_dropped", "limited", 2),
    ]
