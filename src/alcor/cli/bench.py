"""`alcor bench`: measure a promise against its floor, in one run."""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop
from rich.console import Console

from alcor.bench import (
    api,
    beats,
    big_network,
    charts,
    group,
    neighbours,
    on_demand,
    paths,
    provisioning,
    resync,
    sustained,
    vpc_size,
)
from alcor.bench.report import Results, Say
from alcor.cli import options


@click.group("bench")
def command() -> None:
    """Benchmarks, one per promise; each compares with a floor measured in the same run."""


def benchmark(name: str) -> Callable[[Callable[..., Results]], click.Command]:
    """Make a command of what measures: its results are printed, and written and drawn where it is asked for."""

    def as_command(measure: Callable[..., Results]) -> click.Command:
        @functools.wraps(measure)
        def run(*, json_file: Path | None, chart_file: Path | None, **how: Any) -> None:
            console = Console()
            results = measure(console.print, **how)
            for table in results.tables():
                table.caption_justify = "left"
                console.print(table)
            if json_file is not None:
                json_file.parent.mkdir(parents=True, exist_ok=True)
                json_file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
            if chart_file is not None:
                charts.write(results, chart_file)

        decorated = options.json_file(options.chart_file(run))
        return command.command(name)(decorated)

    return as_command


over_tls = click.option(
    "--tls", is_flag=True, help="Agents dial in over TLS with certificates, as those of other machines must."
)


@benchmark("provisioning")
@click.option("--quick", is_flag=True, help="Fewer hosts, ports and calls: to see that it works.")
def provisioning_command(say: Say, quick: bool) -> Results:
    """From the call to the answer and to in force: one port, 16 clients, batches of 100 to 10,000."""
    return asyncio.run(provisioning.run("quick" if quick else "full", say))


@benchmark("on-demand")
@click.option("--quick", is_flag=True, help="Smaller networks and fewer packets: to see that it works.")
def on_demand_command(say: Say, quick: bool) -> Results:
    """Look-ups per second from 100 to a million ports per VPC; the first packet to an unknown neighbour."""
    return uvloop.run(on_demand.run("quick" if quick else "full", say))


@benchmark("vpc-size")
@click.option("--quick", is_flag=True, help="Up to 10,000 ports.")
@click.option("--full", is_flag=True, help="Up to 1,000,000 ports: minutes, and gigabytes in the store.")
def vpc_size_command(say: Say, quick: bool, full: bool) -> Results:
    """One port more into a VPC of 10 to 100,000 ports: until in force, and until another host pings it."""
    return uvloop.run(vpc_size.run(_size(quick, full), say))


@benchmark("paths")
@click.option("--agents", type=click.IntRange(10, 20_000), default=1000, show_default=True)
@click.option("--ports", type=click.IntRange(10), default=200, show_default=True, help="Created one at a time.")
@over_tls
def paths_command(say: Say, agents: int, ports: int, tls: bool) -> Results:
    """From commit to acknowledgement by the fast path and by the queue, with many agents connected."""
    return uvloop.run(paths.run(agents, ports, say, tls=tls))


@benchmark("group")
@click.option("--quick", is_flag=True, help="2,000 members and 20 hosts.")
def group_command(say: Say, quick: bool) -> Results:
    """One member more in a group of 10,000: bytes and flows a host, and the time until all have it."""
    return uvloop.run(group.run("quick" if quick else "full", say))


@benchmark("resync")
@click.option("--quick", is_flag=True, help="40 agents, 2,000 ports: to see that it works.")
@click.option("--full", is_flag=True, help="3,000 agents, 200,000 ports: minutes, and gigabytes of memory.")
@over_tls
def resync_command(say: Say, quick: bool, full: bool, tls: bool) -> Results:
    """A restart: until all of 300 agents with 20,000 ports are synchronised, cold and warm."""
    return uvloop.run(resync.run(_size(quick, full), say, tls=tls))


@benchmark("big-network")
@click.option("--quick", is_flag=True, help="300 hosts, 3,000 ports: half a minute.")
@click.option("--full", is_flag=True, help="10,000 hosts, 40,000 ports: about two minutes, 4 GB of memory.")
@click.option("--default-group", is_flag=True, help="Ports in a group whose rule names it, as tenants have it.")
def big_network_command(say: Say, quick: bool, full: bool, default_group: bool) -> Results:
    """A network of 10,000 ports onto 2,000 emulated hosts, until all are in force: a minute."""
    return uvloop.run(big_network.run(_size(quick, full), say, default_group=default_group))


@benchmark("sustained")
@click.option("--quick", is_flag=True, help="50,000 ports stored: a minute.")
@click.option("--full", is_flag=True, help="1,200,000 ports stored: about five minutes, 3 GB of memory.")
def sustained_command(say: Say, quick: bool, full: bool) -> Results:
    """Batches of 10,000 ports with 200,000 stored, by turns with an empty region: two minutes."""
    return uvloop.run(sustained.run(_size(quick, full), say))


@benchmark("api")
@click.option("--quick", is_flag=True, help="20,000 ports instead of 1,000,000: a minute.")
def api_command(say: Say, quick: bool) -> Results:
    """What a request costs, with 1,000 and with 1,000,000 ports stored, by turns: ten minutes, 4 GB."""
    return uvloop.run(api.run("quick" if quick else "full", say))


@benchmark("neighbours")
@click.option("--quick", is_flag=True, help="2,000 neighbours, 3 agents.")
def neighbours_command(say: Say, quick: bool) -> Results:
    """Ten thousand neighbours into one agent: time, and memory for each; a minute."""
    return uvloop.run(neighbours.run("quick" if quick else "full", say))


@benchmark("beats")
@click.option("--hosts", type=click.IntRange(10, 20_000), default=10_000, show_default=True)
@click.option("--seconds", type=click.IntRange(3), default=10, show_default=True, help="Measured, of each.")
def beats_command(say: Say, hosts: int, seconds: int) -> Results:
    """What the heartbeats of 10,000 hosts cost their controller: two minutes."""
    return beats.run(hosts, seconds, say)


def _size(quick: bool, full: bool) -> str:
    return "full" if full else "quick" if quick else "standard"
