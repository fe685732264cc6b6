"""`alcor fleet`: many emulated hosts, real agents with simulated data planes."""

import os
import sys
from collections.abc import Collection
from pathlib import Path

import click
import uvloop

from alcor.cli import options, running
from alcor.lab.fleet_processes import FleetProcesses
from alcor.model import errors
from alcor.processes import agent, fleet, fleet_streams
from alcor.processes.fleet_faults import Faults
from alcor.runtime.event_log import EventLog, Level

HOSTS_MIN = 250  # that a process of their own is worth


@click.command("fleet")
@options.emulated_hosts
@click.option(
    "--processes",
    type=click.IntRange(1),
    show_default=f"one for each core, and for {HOSTS_MIN} hosts at least",
    help="Among how many processes the hosts are divided.",
)
@click.option("--zone", default="", help="Availability zone of the hosts.")
@options.controllers
@options.queue
@options.queue_credentials
@options.certificates
@click.option("--queue-only", is_flag=True, help="Without streams: the queue is the only path.")
@click.option(
    "--loss",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Chance of each frame that the network loses it for good: its stream ends.",
)
@click.option(
    "--slow", type=click.FloatRange(0), default=0.0, metavar="MS", help="Each frame takes up to this."
)
@click.option(
    "--crash", type=click.FloatRange(0, 1), default=0.0, help="Chance of each agent, each second, to be killed."
)
@click.pass_context
def command(
    context: click.Context,
    count: int,
    first: int,
    processes: int | None,
    zone: str,
    controller_urls: tuple[str, ...],
    queue: str,
    queue_credentials: Path | None,
    certificates: Path | None,
    queue_only: bool,
    loss: float,
    slow: float,
    crash: float,
) -> None:
    """Emulate hosts host-0, host-1, ... until told to stop: a region of a thousand hosts on one machine.

    To tcps:// controllers each shows a certificate of its own, which `alcor certificate --fleet` writes.
    """
    if queue_only and not queue:
        raise click.UsageError("--queue-only wants --queue")
    log = EventLog(level=Level.WARNING)
    faults = Faults(loss=loss, slow_ms=slow, crash=crash, seed=1 + first)
    urls = () if queue_only else controller_urls
    try:
        place = agent.queue_access(queue, certificates, queue_credentials)
        fleet_streams.require_certificates(urls, certificates, fleet.emulated_names(count, first=first))
    except errors.Invalid as error:
        raise click.UsageError(error.message) from error
    processes = processes or min(os.cpu_count() or 1, -(-count // HOSTS_MIN))
    if processes > 1:
        again = _said(context, without=("count", "first", "processes"))
        divided = FleetProcesses(count, again, log, first=first, processes=processes)
        uvloop.run(running.until_told(divided, lambda: None))
        return
    work = fleet.run_many(
        count, urls, log, first=first, zone=zone, queue=place, certificates=certificates, faults=faults
    )
    sys.exit(uvloop.run(work))


def _said(context: click.Context, *, without: Collection[str]) -> list[str]:
    """Give a command's options as they were understood, to say them to another process."""
    words: list[str] = []
    for option in context.command.params:
        value = None if option.name is None or option.name in without else context.params[option.name]
        for each in value if isinstance(value, tuple) else (value,):
            if each is not None and each is not False:
                words += [option.opts[0]] if each is True else [option.opts[0], str(each)]
    return words
