"""Gives the loop that a module asks for: on virtual time, or as usual."""

import asyncio
from collections.abc import Callable

import pytest

from alcor.simulation.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time") is not None:
        return {"virtual": VirtualLoop}
    return {"usual": asyncio.new_event_loop}
