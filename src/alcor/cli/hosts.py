"""`alcor hosts`: the hosts and what each holds."""

import asyncio
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from alcor.cli import options
from alcor.client.api import ApiClient, Endpoint


@click.group("hosts", invoke_without_command=True)
@options.region
@options.as_json
@click.pass_context
def command(context: click.Context, region: Endpoint, as_json: bool) -> None:
    """List the hosts, or `alcor hosts show NAME` one of them."""
    if context.invoked_subcommand is not None:
        context.obj = (region, as_json)
        return
    hosts = asyncio.run(_every(region))
    if as_json:
        click.echo(msgspec.json.encode(hosts))
        return
    table = Table(
        "host", "alive", "data plane", "tunnel", "zone", "ports", "in force", "plugged", "version", "state"
    )
    for host in hosts:
        table.add_row(
            host["id"],
            _alive(host),
            host["data_plane"],
            host["vtep"],
            host["zone"],
            str(host["ports"]),
            str(host["ports_in_force"]),
            str(host["ports_plugged"]),
            host.get("agent_version", ""),
            host["reason"],
        )
    Console().print(table)


@command.command("show")
@click.argument("name")
@click.pass_context
def show(context: click.Context, name: str) -> None:
    """Show one host."""
    region, as_json = context.obj
    host = asyncio.run(_one(region, name))
    if as_json:
        click.echo(msgspec.json.encode(host))
        return
    table = Table(show_header=False, box=None)
    for key, value in host.items():
        table.add_row(key, str(value))
    Console().print(table)


def _alive(host: dict[str, Any]) -> str:
    if host.get("rescue"):
        return f"rescued by {host['rescue']['by']}"
    return "yes" if host["alive"] else "NO"


async def _every(region: Endpoint) -> list[dict[str, Any]]:
    async with ApiClient(region) as api:
        return await api.every("/v2.0/hosts", "hosts")


async def _one(region: Endpoint, name: str) -> dict[str, Any]:
    async with ApiClient(region) as api:
        host: dict[str, Any] = (await api.get(f"/v2.0/hosts/{name}"))["host"]
        return host
