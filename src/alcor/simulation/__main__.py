"""`python -m alcor.simulation`: run regions from seeds; a seed that fails names the command that repeats it."""

import os
import sys
import time

import click

from alcor.runtime.event_log import SILENT, EventLog, Level
from alcor.simulation import run


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="The first seed.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many, ascending.")
@click.option("--operations", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--events", is_flag=True, help="Log every event of the region to standard error.")
@click.option(
    "--on-demand", is_flag=True, help="Networks are on-demand from a few ports on; workloads resolve."
)
def main(seed: int, seeds: int, operations: int, events: bool, on_demand: bool) -> None:
    """Run a region in one thread on virtual time, under faults, and check what must hold."""
    log = EventLog(level=Level.DEBUG) if events else SILENT
    failed = 0
    for number in range(seed, seed + seeds):
        begun = time.perf_counter()
        report = run.run(number, operations, log, on_demand=on_demand)
        took_s = time.perf_counter() - begun
        click.echo(
            f"seed {number}: {report.revision} revisions, {report.ports} ports, {report.virtual_s:.0f} s of "
            f"virtual time in {took_s:.1f} s, converged in {report.converged_s:.1f} s, trace {report.trace}"
        )
        if seeds == 1:
            click.echo(f"outcomes: {report.outcomes}\nfaults: {report.faults}")
        for sentence in report.violations:
            click.echo(f"  {sentence}")
        if report.violations:
            failed += 1
            click.echo(f"  again: {run.replay_command(number, operations, on_demand=on_demand)}")
    sys.exit(1 if failed else 0)


if os.environ.get("PYTHONHASHSEED") != "0":  # else the order of sets is another in every process
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    os.execve(sys.executable, [sys.executable, "-m", "alcor.simulation", *sys.argv[1:]], environment)
main()
