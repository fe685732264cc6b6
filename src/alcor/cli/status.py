"""`alcor status`: is the region well, and how far are the hosts?"""

import asyncio
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from alcor.cli import options
from alcor.client.api import ApiClient


@click.command("status")
@options.url
@options.as_json
def command(url: str, as_json: bool) -> None:
    """Show the region's state; exit status 1 when a host is not alive or not in force."""
    hosts = asyncio.run(_read(url))
    summary = summarise(hosts)
    if as_json:
        click.echo(msgspec.json.encode(summary))
    else:
        table = Table(show_header=False, box=None)
        for name, value in summary.items():
            table.add_row(name.replace("_", " "), str(value))
        Console().print(table)
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


async def _read(url: str) -> list[dict[str, Any]]:
    async with ApiClient(url) as api:
        hosts: list[dict[str, Any]] = (await api.get("/v2.0/hosts"))["hosts"]
        return hosts
