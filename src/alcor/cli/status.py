"""`alcor status`: is the region well, and how far are the hosts?"""

import asyncio
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from alcor.cli import options, restart
from alcor.client.api import ApiClient, Endpoint


@click.command("status")
@options.region
@options.as_json
@click.option("--watch", is_flag=True, help="Follow a restart until every host is synchronised.")
def command(region: Endpoint, as_json: bool, watch: bool) -> None:
    """Show the region's state; exit status 1 when a host is not alive or not in force."""
    console = Console()
    hosts, resync = asyncio.run(_read(region, console if watch and not as_json else None))
    summary = summarise(hosts)
    if as_json:
        click.echo(msgspec.json.encode({**summary, "resync": resync}))
    else:
        if not watch and not restart.is_complete(resync):
            restart.show(console, resync)
        table = Table(show_header=False, box=None)
        for name, value in summary.items():
            table.add_row(name.replace("_", " "), str(value))
        console.print(table)
    if summary["hosts_alive"] < summary["hosts"] or summary["sections_pending"]:
        raise click.exceptions.Exit(1)


def summarise(hosts: list[dict[str, Any]]) -> dict[str, int]:
    """Add up what the hosts report."""
    return {
        "hosts": len(hosts),
        "hosts_alive": sum(bool(host["alive"]) for host in hosts),
        "ports": sum(host["ports"] for host in hosts),
        "ports_in_force": sum(host["ports_in_force"] for host in hosts),
        "ports_plugged": sum(host["ports_plugged"] for host in hosts),
        "sections_pending": sum(host["sections_pending"] for host in hosts),
    }


async def _read(region: Endpoint, watch_on: Console | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    async with ApiClient(region) as api:
        if watch_on is not None:
            await restart.watch(watch_on, api)
        resync: dict[str, Any] = (await api.get("/v2.0/resync"))["resync"]
        return await api.every("/v2.0/hosts", "hosts"), resync
