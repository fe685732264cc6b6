"""`alcor bench`: measure a promise against its floor, in one run."""

import asyncio
from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

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
from alcor.bench.charts import Results
from alcor.cli import options


@click.group("bench")
def command() -> None:
    """Benchmarks, one per promise; each compares with a floor measured in the same run."""


@command.command("provisioning")
@click.option("--quick", is_flag=True, help="Fewer hosts, ports and calls: to see that it works.")
@options.json_file
@options.chart_file
def provisioning_command(quick: bool, json_file: Path | None, chart_file: Path | None) -> None:
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
    _write(results, json_file, chart_file)


@command.command("on-demand")
@click.option("--quick", is_flag=True, help="Smaller networks and fewer packets: to see that it works.")
@options.json_file
@options.chart_file
def on_demand_command(quick: bool, json_file: Path | None, chart_file: Path | None) -> None:
    """Look-ups per second from 100 to a million ports per VPC; the first packet to an unknown neighbour."""
    console = Console()
    results = uvloop.run(on_demand.run("quick" if quick else "full", console.print))
    table = Table("ports per VPC", "in a question", "look-ups/s", "per processor second", "echo/s", "MiB")
    for each in results.look_ups:
        table.add_row(
            str(each.ports_per_network),
            str(each.addresses_per_ask),
            f"{each.look_ups_per_s:.0f}",
            f"{each.look_ups_per_processor_s:.0f}",
            f"{each.echo_per_s:.0f}",
            f"{each.memory_mib:.0f}",
        )
    console.print(table)
    packets = Table("data plane", "first ping ms", "p99", "second ping ms", "p99")
    for one in results.first_packets:
        first, second = one.first, one.second
        times = (first.p50, first.p99, second.p50, second.p99)
        packets.add_row(one.data_plane, *(f"{time_ms:.2f}" for time_ms in times))
    console.print(packets)
    _write(results, json_file, chart_file)


@command.command("vpc-size")
@click.option("--quick", is_flag=True, help="Up to 10,000 ports.")
@click.option("--full", is_flag=True, help="Up to 1,000,000 ports: minutes, and gigabytes in the store.")
@options.json_file
@options.chart_file
def vpc_size_command(quick: bool, full: bool, json_file: Path | None, chart_file: Path | None) -> None:
    """One port more into a VPC of 10 to 100,000 ports: until in force, and until another host pings it."""
    console = Console()
    size = _size(quick, full)
    results = uvloop.run(vpc_size.run(size, console.print))
    table = Table(
        "ports",
        "in force ms",
        "p99",
        "reachable ms",
        "p99",
        "x smallest",
        "95 %",
        "region MiB",
        "region CPU ms",
    )
    for each in results.sizes:
        force, reach = each.in_force, each.reachable
        table.add_row(
            str(each.ports),
            *(f"{time_ms:.2f}" for time_ms in (force.p50, force.p99, reach.p50, reach.p99)),
            f"{each.reachable_ratio.value:.2f}",
            f"{each.reachable_ratio.low:.2f} to {each.reachable_ratio.high:.2f}",
            f"{each.region_memory_mib:.0f}",
            f"{each.region_processor_ms_per_port:.1f}",
        )
    console.print(table)
    _write(results, json_file, chart_file)


@command.command("paths")
@click.option("--agents", type=click.IntRange(10, 20_000), default=1000, show_default=True)
@click.option("--ports", type=click.IntRange(10), default=200, show_default=True, help="Created one at a time.")
@options.json_file
@options.chart_file
def paths_command(agents: int, ports: int, json_file: Path | None, chart_file: Path | None) -> None:
    """From commit to acknowledgement by the fast path and by the queue, with many agents connected."""
    console = Console()
    results = uvloop.run(paths.run(agents, ports, console.print))
    table = Table("path", "agents", "one port ms", "p99", "x floor", "all agents ms", "x floor", "CPU s", "MiB")
    for each in results.measured:
        table.add_row(
            each.path,
            str(each.agents),
            f"{each.one_port.p50:.2f}",
            f"{each.one_port.p99:.2f}",
            f"{each.one_to_floor:.1f}",
            f"{each.all_agents_ms:.0f}",
            f"{each.all_to_floor:.1f}",
            " + ".join(f"{part.processor_s:.1f} ({part.name})" for part in each.used),
            " + ".join(f"{part.memory_mib:.0f}" for part in each.used),
        )
    console.print(table)
    _write(results, json_file, chart_file)


@command.command("group")
@click.option("--quick", is_flag=True, help="2,000 members and 20 hosts.")
@options.json_file
@options.chart_file
def group_command(quick: bool, json_file: Path | None, chart_file: Path | None) -> None:
    """One member more in a group of 10,000: bytes and flows a host, and the time until all have it."""
    console = Console()
    results = uvloop.run(group.run("quick" if quick else "full", console.print))
    table = Table(
        "members", "hosts", "in force everywhere ms", "p99", "floor ms", "bytes a host", "flows a host"
    )
    every, floor = results.in_force_everywhere, results.floor_one_host
    table.add_row(
        str(results.members),
        str(results.hosts),
        *(f"{time_ms:.2f}" for time_ms in (every.p50, every.p99, floor.p50)),
        f"{results.bytes_per_host:.0f}",
        f"{results.flows_changed:.1f}",
    )
    console.print(table)
    _write(results, json_file, chart_file)


@command.command("resync")
@click.option("--quick", is_flag=True, help="40 agents, 2,000 ports: to see that it works.")
@click.option("--full", is_flag=True, help="3,000 agents, 200,000 ports: minutes, and gigabytes of memory.")
@options.json_file
@options.chart_file
def resync_command(quick: bool, full: bool, json_file: Path | None, chart_file: Path | None) -> None:
    """A restart: until all of 300 agents with 20,000 ports are synchronised, cold and warm."""
    console = Console()
    size = _size(quick, full)
    results = uvloop.run(resync.run(size, console.print))
    table = Table(
        "restart", "all in s", "first in s", "API in s", "MiB", "region CPU s", "agents CPU s", "floor s"
    )
    for name, phase in (("cold", results.cold), *(("warm", each) for each in results.warm)):
        table.add_row(
            name,
            *(f"{value:.2f}" for value in (phase.all_s, phase.first_s, phase.answering_s)),
            f"{phase.mib_sent:.1f}",
            *(f"{value:.2f}" for value in (phase.region_processor_s, phase.agents_processor_s, phase.floor_s)),
        )
    console.print(table)
    _write(results, json_file, chart_file)


@command.command("big-network")
@click.option("--quick", is_flag=True, help="300 hosts, 3,000 ports: half a minute.")
@click.option("--full", is_flag=True, help="10,000 hosts, 40,000 ports: about two minutes, 4 GB of memory.")
@click.option("--default-group", is_flag=True, help="Ports in a group whose rule names it, as tenants have it.")
@options.json_file
@options.chart_file
def big_network_command(
    quick: bool, full: bool, default_group: bool, json_file: Path | None, chart_file: Path | None
) -> None:
    """A network of 10,000 ports onto 2,000 emulated hosts, until all are in force: a minute."""
    console = Console()
    results = uvloop.run(big_network.run(_size(quick, full), console.print, default_group=default_group))
    table = Table(
        "ports", "hosts", "answered s", "in force s", "x floors", "MiB in all", "CPU s", "first ping ms"
    )
    table.add_row(
        str(results.ports),
        str(results.hosts),
        f"{results.answered_s:.1f}",
        f"{results.in_force_s:.1f}",
        f"{results.in_force_to_floors:.1f}",
        f"{results.memory_mib:.0f}",
        " + ".join(f"{part.processor_s:.1f} ({part.name})" for part in results.used),
        f"{results.first_ping_ms:.1f}",
    )
    console.print(table)
    _write(results, json_file, chart_file)


@command.command("sustained")
@click.option("--quick", is_flag=True, help="50,000 ports stored: a minute.")
@click.option("--full", is_flag=True, help="1,200,000 ports stored: about five minutes, 3 GB of memory.")
@options.json_file
@options.chart_file
def sustained_command(quick: bool, full: bool, json_file: Path | None, chart_file: Path | None) -> None:
    """Batches of 10,000 ports with 200,000 stored, by turns with an empty region: two minutes."""
    console = Console()
    results = uvloop.run(sustained.run(_size(quick, full), console.print))
    table = Table("region", "stored", "ports/s", "per processor second", "MiB")
    for name, side in (("empty", results.empty), ("full", results.full)):
        rate, worked = side.ports_per_s, side.ports_per_processor_s
        table.add_row(
            name,
            f"{side.ports_before} to {side.ports_after}",
            f"{rate.median:.0f} ({rate.lower:.0f} to {rate.upper:.0f})",
            f"{worked.median:.0f} ({worked.lower:.0f} to {worked.upper:.0f})",
            f"{side.region_memory_mib:.0f}",
        )
    console.print(table)
    slow, pairs, worked_ratio = results.slowdown, results.slowdown_of_pairs, results.processor_slowdown
    console.print(
        f"full to empty: {slow.value:.2f}x as long ({slow.low:.2f} to {slow.high:.2f} with 95 %); pairs "
        f"{pairs.lower:.2f}, {pairs.median:.2f}, {pairs.upper:.2f}; processor {worked_ratio.value:.2f}x"
    )
    _write(results, json_file, chart_file)


@command.command("api")
@click.option("--quick", is_flag=True, help="20,000 ports instead of 1,000,000: a minute.")
@options.json_file
@options.chart_file
def api_command(quick: bool, json_file: Path | None, chart_file: Path | None) -> None:
    """What a request costs, with 1,000 and with 1,000,000 ports stored, by turns: ten minutes, 4 GB."""
    console = Console()
    results = uvloop.run(api.run("quick" if quick else "full", console.print))
    table = Table("request", "stored", "per s", "p50 ms", "p99 ms", "API ms", "store ms", "large to small")
    for kind in results.kinds:
        time, worked = kind.slowdown, kind.processor_slowdown
        ratio = f"time {time.value:.2f}, processor {worked.value:.2f}"
        for stored, side, shown in zip(results.stored, (kind.small, kind.large), ("", ratio), strict=True):
            table.add_row(kind.name, str(stored), *_api_side(side), shown)
    for name, side in results.alone.items():
        table.add_row(f"{name}, alcor api", str(results.stored[1]), *_api_side(side), "")
    for floor in results.floors:
        table.add_row(floor.name, "", f"{floor.per_s:.0f}", "", "", f"{floor.processor_ms:.3f}", "", "")
    console.print(table)
    console.print("API, store: milliseconds of a core for each request, of the process and of its store.")
    _write(results, json_file, chart_file)


def _api_side(side: api.Side) -> tuple[str, ...]:
    took = side.took
    return (
        f"{side.per_s:.0f}",
        f"{took.p50:.2f}",
        f"{took.p99:.2f}",
        f"{side.api_ms:.3f}",
        f"{side.store_ms:.3f}",
    )


@command.command("neighbours")
@click.option("--quick", is_flag=True, help="2,000 neighbours, 3 agents.")
@options.json_file
@options.chart_file
def neighbours_command(quick: bool, json_file: Path | None, chart_file: Path | None) -> None:
    """Ten thousand neighbours into one agent: time, and memory for each; a minute."""
    console = Console()
    results = uvloop.run(neighbours.run("quick" if quick else "full", console.print))
    table = Table(
        "neighbours", "in force ms", "highest", "x raw stream", "bytes each", "flows ms", "with flows"
    )
    table.add_row(
        str(results.neighbours),
        f"{results.in_force.p50:.1f}",
        f"{results.in_force.highest:.1f}",
        f"{results.in_force_to_floor:.1f}",
        f"{results.bytes_per_neighbour:.0f}",
        f"{results.flows_ms:.0f}",
        f"{results.bytes_per_neighbour_with_flows:.0f}",
    )
    console.print(table)
    if (found := results.on_switch) is not None:
        switch = Table("Open vSwitch: in force ms", "highest", "x raw bundle", "agent CPU ms", "bytes each")
        switch.add_row(
            f"{found.in_force.p50:.1f}",
            f"{found.in_force.highest:.1f}",
            f"{found.in_force_to_floor:.1f}",
            f"{found.agent_processor_ms:.0f}",
            f"{found.bytes_per_neighbour:.0f}",
        )
        console.print(switch)
    _write(results, json_file, chart_file)


@command.command("beats")
@click.option("--hosts", type=click.IntRange(10, 20_000), default=10_000, show_default=True)
@click.option("--seconds", type=click.IntRange(3), default=10, show_default=True, help="Measured, of each.")
@options.json_file
@options.chart_file
def beats_command(hosts: int, seconds: int, json_file: Path | None, chart_file: Path | None) -> None:
    """What the heartbeats of 10,000 hosts cost their controller: a minute."""
    console = Console()
    results = beats.run(hosts, seconds, console.print)
    table = Table("hosts", "beats/s", "controller, % of a core", "bare streams, %")
    table.add_row(
        str(results.hosts),
        f"{results.beats_per_s:.0f}",
        f"{results.controller_core_percent:.1f}",
        f"{results.floor_core_percent:.1f}",
    )
    console.print(table)
    _write(results, json_file, chart_file)


def _size(quick: bool, full: bool) -> str:
    return "full" if full else "quick" if quick else "standard"


def _write(results: Results, json_file: Path | None, chart_file: Path | None) -> None:
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    if chart_file is not None:
        charts.write(results, chart_file)
