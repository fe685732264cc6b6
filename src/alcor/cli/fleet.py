"""`alcor fleet`: many emulated hosts, real agents with simulated data planes, in one process."""

import sys
from pathlib import Path

import click
import uvloop

from alcor.cli import options
from alcor.model import errors
from alcor.processes import agent
from alcor.processes.fleet_faults import Faults
from alcor.runtime.event_log import EventLog, Level


@click.command("fleet")
@click.option("--hosts", "count", type=click.IntRange(1, 20_000), default=100, show_default=True)
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="Number of the first host.")
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
def command(
    count: int,
    first: int,
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
    """Emulate hosts host-0, host-1, ... until told to stop: a region of a thousand hosts on one machine."""
    if queue_only and not queue:
        raise click.UsageError("--queue-only wants --queue")
    log = EventLog(level=Level.WARNING)
    url = "" if queue_only else controller_urls[0]
    faults = Faults(loss=loss, slow_ms=slow, crash=crash)
    try:
        place = agent.queue_access(queue, certificates, queue_credentials)
    except errors.Invalid as error:
        raise click.UsageError(error.message) from error
    work = agent.run_many(count, url, log, first=first, zone=zone, queue=place, faults=faults)
    sys.exit(uvloop.run(work))
