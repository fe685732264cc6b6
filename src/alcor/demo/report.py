"""The demonstration's table and chart, for the terminal and as a picture."""

from pathlib import Path

import msgspec
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from alcor.demo.results import Packets, Results

BAR_CELLS = 46  # with its label and value a bar fits 80 columns
SERIAL_COLOUR, BATCH_COLOUR = "#4c78a8", "#f58518"


def show(results: Results, console: Console) -> None:
    """Print what was measured, and every attempt that went wrong."""
    table = Table(
        "provisioning", "ports", "until answered", "until in force", "per port", title="Serial and batched"
    )
    serial, batched = results.serial, results.batched
    table.add_row(
        "one call each",
        str(serial.ports),
        f"p50 {serial.api_p50_ms:.1f} ms, p99 {serial.api_p99_ms:.1f} ms",
        f"p50 {serial.in_force_p50_ms:.1f} ms, p99 {serial.in_force_p99_ms:.1f} ms",
        f"{serial.in_force_p50_ms:.2f} ms",
    )
    table.add_row(
        "one call for all",
        str(batched.ports),
        f"{batched.api_ms:.0f} ms",
        f"{batched.all_in_force_ms:.0f} ms ({batched.in_force} in force)",
        f"{batched.all_in_force_ms / batched.ports:.2f} ms",
    )
    console.print(table)
    plug = results.plug
    console.print(
        f"{plug.ports} workloads plugged: ACTIVE after p50 {plug.active_p50_ms:.0f} ms, "
        f"p99 {plug.active_p99_ms:.0f} ms; first ping (DHCP included) after p50 {plug.first_ping_p50_ms:.0f} ms"
    )
    _show_bars(results, console)
    packets = results.packets
    table = Table("packets", "expected", "seen", title=f"{packets.pairs} attempts, by ping and TCP")
    table.add_row("must reach", str(packets.expected_reach), str(packets.reached))
    table.add_row("must be refused", str(packets.expected_blocked), str(packets.blocked))
    if (over := packets.ipv6) is not None:
        table.add_row("must reach, over IPv6", str(over.expected_reach), str(over.reached))
        table.add_row("must be refused, over IPv6", str(over.expected_blocked), str(over.blocked))
    console.print(table)
    wrong = list(packets.wrong)
    for name, shown in results.paths.items():
        table = Table(f"{name} path", "", show_header=True)
        for field, value in msgspec.structs.asdict(shown).items():
            if value is not None:
                table.add_row(_label(field), _in_words(field, value))
        console.print(table)
        tried = getattr(shown, "packets", None)
        wrong += tried.wrong if isinstance(tried, Packets) else ()
    for words in wrong:
        console.print(f"[bold red]wrong:[/] {words}")
    if not wrong:
        console.print("[green]every packet went exactly where the tenants' rules say[/]")


def _label(field: str) -> str:
    return field.removesuffix("_ms").replace("_", " ")


def _in_words(field: str, value: object) -> str:
    match value:
        case Packets():
            return (
                f"{value.reached} of {value.expected_reach} that must reach, "
                f"{value.blocked} of {value.expected_blocked} that must be refused"
            )
        case tuple():
            return ", ".join(_in_words(field, one) for one in value) or "none"
        case float() if field.endswith("_ms"):
            return f"{value:.1f} ms"
        case _:
            return str(value)


def write_chart(results: Results, path: Path) -> None:
    """Draw milliseconds per port, serial against batched, as PNG or SVG by the file's ending."""
    serial, batched = results.serial, results.batched
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    labels = [f"one call each\n({serial.ports} ports)", f"one call for all\n({batched.ports} ports)"]
    answered = [serial.api_p50_ms, batched.api_ms / batched.ports]
    in_force = [serial.in_force_p50_ms, batched.all_in_force_ms / batched.ports]
    for offset, values, colour, name in (
        (0.19, answered, SERIAL_COLOUR, "until the API answered"),
        (-0.19, in_force, BATCH_COLOUR, "until in force on the hosts"),
    ):
        bars = axes.barh([index + offset for index in (1, 0)], values, height=0.36, color=colour, label=name)
        axes.bar_label(bars, fmt="%.2f ms", padding=3)
    axes.set_yticks([1, 0], labels)
    axes.set_xlabel("milliseconds per port (median)")
    axes.set_title(f"Provisioning latency, {results.hosts} hosts, {results.data_plane} data plane")
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _show_bars(results: Results, console: Console) -> None:
    serial, batched = results.serial, results.batched
    rows = [
        ("serial, answered", serial.api_p50_ms, "blue"),
        ("serial, in force", serial.in_force_p50_ms, "yellow"),
        ("batched, answered", batched.api_ms / batched.ports, "blue"),
        ("batched, in force", batched.all_in_force_ms / batched.ports, "yellow"),
    ]
    longest = max(value for _, value, _ in rows) or 1.0
    console.print("\nMilliseconds per port")
    for label, value, colour in rows:
        cells = max(1, round(BAR_CELLS * value / longest))
        console.print(f"  {label:<18} [{colour}]{'█' * cells}[/] {value:.2f}")
    console.print()
