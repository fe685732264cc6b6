"""Tests on virtual time: what waits for hours is over at once, and always in the same order.

A module of unit tests takes it for all of them and their fixtures by `pytestmark = pytest.mark.virtual_time`,
and gives `clock()` to what wants a clock. There are no sockets.
"""

from alcor.simulation import virtual_time
from alcor.simulation.virtual_time import VirtualClock


def clock() -> VirtualClock:
    """Give the clock of the loop that runs."""
    return VirtualClock(virtual_time.running())
