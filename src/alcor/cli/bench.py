"""`alcor bench`: measure a promise against its floor, in one run."""

import asyncio
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from alcor.bench import provisioning
from alcor.cli import options


@click.group("bench")
def command() -> None:
    """Benchmarks, one per promise; each compares with a floor measured in the same run."""


@command.command("provisioning")
@click.option("--quick", is_flag=True, help="Fewer hosts, ports and calls: to see that it works.")
@options.json_file
def provisioning_command(quick: bool, json_file: Path | None) -> None:
    """From the call to the answer and to in force: one port, 16 clients, batches of 100 to 10,000."""
    console = Console()
    results = asyncio.run(provisioning.run("quick" if quick else "full", console.print))
    table = Table("data plane", "hosts", "what", "answered ms", "in force ms", "x raw COPY", "x raw bundle")
    for each in results.measured:
        where = (each.data_plane, str(each.hosts))
        one, force = each.serial_answered, each.serial_in_force
        table.add_row(
            *where,
            "one port",
            f"{one.p50:.2f} (p99 {one.p99:.1f})",
            f"{force.p50:.2f} (p99 {force.p99:.1f})",
            "",
            "",
        )
        clients = each.clients_answered
        what = f"{each.clients} clients, {each.clients_ports_per_s:.0f} ports/s"
        table.add_row(*where, what, f"{clients.p50:.2f} (p99 {clients.p99:.1f})", "", "", "")
        for batch in each.batches:
            table.add_row(
                *where,
                f"{batch.ports} ports in a call",
                f"{batch.answered_ms:.1f}",
                f"{batch.in_force_ms:.1f}",
                f"{batch.answered_to_copy:.1f}",
                "" if batch.in_force_to_bundle is None else f"{batch.in_force_to_bundle:.1f}",
            )
    console.print(table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
