"""Tests on virtual time: what waits for hours is over at once, and always in the same order."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from alcor.simulation import virtual_time
from alcor.simulation.virtual_time import VirtualClock, VirtualLoop


def on_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop of its own, whose time passes only while all wait. It has no sockets."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        loop = VirtualLoop()
        try:
            loop.run_until_complete(test(*arguments, **named))
        finally:
            loop.close()

    return run


def clock() -> VirtualClock:
    """Give the clock of the loop that runs."""
    return VirtualClock(virtual_time.running())
