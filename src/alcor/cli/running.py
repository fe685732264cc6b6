"""Runs a deployable until it is told to stop, or a part of it fails."""

import asyncio
import signal
from collections.abc import Callable
from typing import Protocol

import click

from alcor.runtime import open_files
from alcor.runtime.supervision import Failure


class Deployable(Protocol):
    """What is started and stopped as one."""

    failed: Failure

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


async def until_told(deployable: Deployable, say: Callable[[], None]) -> None:
    """Start it, `say` that it is up, stop it on SIGINT or SIGTERM. Raises ClickException if a part failed."""
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    open_files.raise_limit()
    await deployable.start()
    has_failed = False
    try:
        say()
        await _first(told_to_stop, deployable.failed)
        has_failed = deployable.failed.is_set()
    finally:
        click.echo("Stopping.", err=True)
        # What else fails while the rest of a broken process is stopped follows from it, and explains nothing.
        await asyncio.gather(deployable.stop(), return_exceptions=has_failed)
    if has_failed:
        raise click.ClickException(f"{deployable.failed.reason}. Alcor ends: let it be started anew.")


async def _first(*events: asyncio.Event | Failure) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
