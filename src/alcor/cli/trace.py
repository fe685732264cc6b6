"""`alcor trace`: follow a packet through the rules that the hosts hold."""

import asyncio
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from alcor.cli import options
from alcor.client.api import ApiClient, Endpoint


@click.command("trace")
@click.option("--from", "port", required=True, metavar="PORT", help="Id or name of the sending port.")
@click.option("--to", "to_ip", required=True, metavar="IP", help="Destination address; it says the IP version.")
@click.option("--proto", type=click.Choice(["icmp", "tcp", "udp", "sctp"]), default="icmp", show_default=True)
@click.option("--dport", type=click.IntRange(0, 65535), default=0, help="Destination port, but for icmp.")
@options.region
@options.as_json
def command(port: str, to_ip: str, proto: str, dport: int, region: Endpoint, as_json: bool) -> None:
    """Print the steps of a new packet and the rule that decided; exit status 1 when it is dropped."""
    request = {"port_id": port, "to_ip": to_ip, "protocol": proto, "dst_port": dport}
    result = asyncio.run(_trace(region, request))
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        table = Table("host", "table", "rule", "action")
        for step in result["steps"]:
            table.add_row(step["host"], step["table"], step["rule"], step["action"])
        Console().print(table)
        click.echo(result["decided_by"] if result["delivered"] else f"dropped: {result['decided_by']}")
    if not result["delivered"]:
        raise click.exceptions.Exit(1)


async def _trace(region: Endpoint, request: dict[str, Any]) -> dict[str, Any]:
    async with ApiClient(region) as api:
        named = (await api.get("/v2.0/ports", name=request["port_id"], fields="id"))["ports"]
        if len(named) > 1:
            raise click.ClickException(f"{len(named)} ports are named '{request['port_id']}'; use the id")
        if named:
            request = request | {"port_id": named[0]["id"]}
        answer: dict[str, Any] = await api.post("/v2.0/trace", {"trace": request})
        result: dict[str, Any] = answer["trace"]
        return result
