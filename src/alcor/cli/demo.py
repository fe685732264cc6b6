"""`alcor demo`: a whole region with its hosts on this machine, measured and checked by packets."""

import asyncio
import shutil
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from rich.console import Console

from alcor.cli import options
from alcor.client.api import DEFAULT_URL
from alcor.demo import run, scenario, shows
from alcor.demo.hosts import DemoHosts
from alcor.demo.hosts_ovs import OvsHosts
from alcor.demo.hosts_simulated import SimulatedHosts
from alcor.demo.results import Results
from alcor.lab import laboratory
from alcor.lab.region_process import port_is_free

T = TypeVar("T")
EXIT_INTERRUPTED = 130
API_PORT = int(DEFAULT_URL.rpartition(":")[2])


@click.command("demo")
@click.option(
    "--hosts", "host_count", type=click.IntRange(1, 60), default=4, show_default=True, help="Compute hosts."
)
@click.option(
    "--ports",
    type=click.IntRange(48, 10_000),
    default=1000,
    show_default=True,
    help="Ports in the one batched call.",
)
@click.option(
    "--serial-ports",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Ports, one call each.",
)
@click.option(
    "--show",
    "show",
    type=click.Choice([*shows.SHOWS, shows.ALL]),
    help="Show single delivery paths, too, each with its figures.",
)
@click.option("--once", is_flag=True, help="Clean up and exit at the end, instead of staying up.")
@click.option(
    "--data-plane",
    type=click.Choice(["ovs", "simulated"]),
    help="Default: ovs where it can be, that is as root with Open vSwitch installed.",
)
@click.option(
    "--chart",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("out/provisioning.png"),
    show_default=True,
    help="Where to draw the chart, PNG or SVG.",
)
@options.json_file
def command(
    host_count: int,
    ports: int,
    serial_ports: int,
    show: str | None,
    once: bool,
    data_plane: str | None,
    chart: Path,
    json_file: Path | None,
) -> None:
    """Run a region with hosts, two tenants and a thousand ports, and check every packet.

    Exit status 1 when a packet went where it must not, or did not arrive where it must.
    """
    console = Console()
    settings = run.DemoSettings(
        serial_ports=serial_ports,
        batched_ports=ports,
        chart=chart,
        api_port=API_PORT if port_is_free(API_PORT) else None,
        shows=shows.chosen(show),
    )
    hosts = _choose_hosts(host_count, data_plane, console)
    results = asyncio.run(_run(settings, hosts, console, once=once, json_file=json_file))
    if results.packets.wrong or results.batched.in_force < results.batched.ports:
        raise click.exceptions.Exit(1)


def _choose_hosts(count: int, data_plane: str | None, console: Console) -> DemoHosts:
    missing = laboratory.missing()
    if data_plane == "ovs" and missing:
        raise click.UsageError(f"the ovs data plane cannot run here: {', '.join(missing)}")
    if data_plane == "simulated" or missing:
        if missing:
            console.print(f"[yellow]simulated data plane ({', '.join(missing)}): packets stay in memory[/]")
        return SimulatedHosts(count)
    return OvsHosts(count)


async def _run(
    settings: run.DemoSettings, hosts: DemoHosts, console: Console, *, once: bool, json_file: Path | None
) -> Results:
    demo = run.Demo(settings, hosts, console)
    try:
        results = await _unless_told_to_stop(demo.run())
        if results is None:
            raise click.exceptions.Exit(EXIT_INTERRUPTED)
        run.show(results, settings, console)
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
        if not once:
            _invite(demo.region.url, console)
            await _unless_told_to_stop(asyncio.Event().wait())
        return results
    finally:
        with console.status("cleaning up"):
            await demo.stop()


async def _unless_told_to_stop(work: Coroutine[None, None, T]) -> T | None:
    """Do the work; give None when Ctrl-C or SIGTERM came first."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def _invite(url: str, console: Console) -> None:
    console.print(f"\nThe region stays up; Ctrl-C ends it and cleans up. API: [bold]{url}[/]. Try:")
    for line in (
        f"{_tool('openstack')} --os-auth-type none --os-endpoint {url} network list",
        f"{_tool('alcor')} hosts --url {url}",
        f"{_tool('alcor')} trace --url {url} --from demo-0 --to {scenario.gateway('b')}",
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False)


def _tool(name: str) -> str:
    """Give the command as it can be typed here: by name when it is on the path, else where it is installed."""
    installed = Path(sys.executable).parent / name
    if shutil.which(name) == str(installed):
        return name
    return str(installed.relative_to(Path.cwd()) if installed.is_relative_to(Path.cwd()) else installed)
