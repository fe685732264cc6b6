"""`python -m alcor.simulation`: run regions from seeds; a seed that fails names the command that repeats it."""

import itertools
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
@click.option("--until-events", type=click.IntRange(1), help="Go on with further seeds until so many.")
@click.option("--events", is_flag=True, help="Log every event of the region to standard error.")
@click.option(
    "--on-demand", is_flag=True, help="Networks are on-demand from a few ports on; workloads resolve."
)
@click.option("--on-demand-every", type=click.IntRange(1), help="The same for the seeds it divides only.")
def main(
    seed: int,
    seeds: int,
    operations: int,
    until_events: int | None,
    events: bool,
    on_demand: bool,
    on_demand_every: int | None,
) -> None:
    """Run a region in one thread on virtual time, under faults, and check what must hold."""
    log = EventLog(level=Level.DEBUG) if events else SILENT
    failed = total = kept = read_back = 0
    for number in itertools.count(seed):
        if number >= seed + seeds and (failed or total >= (until_events or 0)):
            break
        begun = time.perf_counter()
        asks = on_demand or (on_demand_every is not None and number % on_demand_every == 0)
        report = run.run(number, operations, log, on_demand=asks)
        took_s = time.perf_counter() - begun
        click.echo(
            f"seed {number}: {report.events.total} events, {report.revision} revisions, {report.ports} ports, "
            f"{report.dual_stack} dual-stack, {report.virtual_s:.0f} s of virtual time in {took_s:.1f} s, "
            f"converged in {report.converged_s:.1f} s, trace {report.trace}{' on demand' if asks else ''}"
        )
        total += report.events.total
        kept += report.faults.get("queue_kept_for_away", 0)
        read_back += report.faults.get("queue_read_back", 0)
        if seeds == 1 and not until_events:
            click.echo(f"events: {report.events}\noutcomes: {report.outcomes}\nfaults: {report.faults}")
        for sentence in report.violations:
            click.echo(f"  {sentence}")
        if report.violations:
            failed += 1
            click.echo(f"  again: {run.replay_command(number, operations, on_demand=asks)}")
    click.echo(f"{kept} values kept for hosts away, {read_back} read when they were back")
    click.echo(f"{total} events in all, {failed} seeds failed")
    sys.exit(1 if failed else 0)


if os.environ.get("PYTHONHASHSEED") != "0":  # else the order of sets is another in every process
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    os.execve(sys.executable, [sys.executable, "-m", "alcor.simulation", *sys.argv[1:]], environment)
main()
