"""Charts of benchmarks: bars, each measurement beside its floor or its aim. PNG or SVG by the file's ending."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, assert_never

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alcor.bench.api import Api
from alcor.bench.beats import Beats
from alcor.bench.big_network import BigNetwork
from alcor.bench.group import Group
from alcor.bench.neighbours import Neighbours
from alcor.bench.on_demand import OnDemand
from alcor.bench.paths import Paths
from alcor.bench.provisioning import Provisioning
from alcor.bench.resync import Resync
from alcor.bench.sustained import Sustained
from alcor.bench.vpc_size import VpcSize

Results: TypeAlias = (
    Provisioning
    | OnDemand
    | VpcSize
    | Paths
    | Group
    | Resync
    | BigNetwork
    | Sustained
    | Neighbours
    | Api
    | Beats
)
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b8b8b8")
AIM_COLOUR = "#d62728"
DPI = 150
PANEL_INCHES = (4.6, 4.0)


class Panel(msgspec.Struct, frozen=True):
    """One set of axes. `series`: name -> one value a label; `aim`: a line that should not be passed."""

    title: str
    unit: str
    labels: tuple[str, ...]
    series: Mapping[str, Sequence[float]]
    aim: float | None = None
    is_log: bool = False


def panels(results: Results) -> list[Panel]:
    """Give what a benchmark's results look like."""
    match results:
        case Provisioning():
            return _provisioning(results)
        case OnDemand():
            return _on_demand(results)
        case VpcSize():
            return _vpc_size(results)
        case Paths():
            return _paths(results)
        case Group():
            return _group(results)
        case Resync():
            return _resync(results)
        case BigNetwork():
            return _big_network(results)
        case Sustained():
            return _sustained(results)
        case Neighbours():
            return _neighbours(results)
        case Api():
            return _api(results)
        case Beats():
            return _beats(results)
        case _:
            assert_never(results)


def write(results: Results, path: Path) -> None:
    """Draw all panels side by side."""
    where, drawn = results.environment, panels(results)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * len(drawn), height), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        _draw(axes, panel)
    figure.suptitle(f"{type(results).__name__}, {where.commit}, {where.cores} cores", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def _draw(axes: Axes, panel: Panel) -> None:
    count = len(panel.series)
    width = 0.8 / count
    for number, (name, values) in enumerate(panel.series.items()):
        places = [index + (number - (count - 1) / 2) * width for index in range(len(values))]
        bars = axes.bar(places, values, width=width * 0.94, color=COLOURS[number % len(COLOURS)], label=name)
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
    if panel.aim is not None:
        axes.axhline(panel.aim, color=AIM_COLOUR, linestyle="--", linewidth=1, label=f"aim: {panel.aim:g}")
    if panel.is_log:
        axes.set_yscale("log")
    axes.set_xticks(range(len(panel.labels)), panel.labels, fontsize=8)
    axes.set_ylabel(panel.unit)
    axes.set_title(panel.title, fontsize=10)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)


def _provisioning(results: Provisioning) -> list[Panel]:
    rows = [(each, batch) for each in results.measured for batch in each.batches]
    labels = tuple(f"{batch.ports}\n{each.hosts} {each.data_plane}" for each, batch in rows)
    each_port = {
        "answered": [each.serial_answered.p50 for each in results.measured],
        "in force": [each.serial_in_force.p50 for each in results.measured],
        "in force p99": [each.serial_in_force.p99 for each in results.measured],
    }
    batches = {
        "answered": [batch.answered_ms for _, batch in rows],
        "in force": [batch.in_force_ms for _, batch in rows],
        "raw COPY": [batch.copy_floor_ms for _, batch in rows],
    }
    hosts = tuple(f"{each.hosts} {each.data_plane}" for each in results.measured)
    return [
        Panel("one port", "ms", hosts, each_port),
        Panel("ports in a call", "ms", labels, batches, is_log=True),
    ]


def _on_demand(results: OnDemand) -> list[Panel]:
    rates = {
        "look-ups": [each.look_ups_per_s for each in results.look_ups],
        "per processor second": [each.look_ups_per_processor_s for each in results.look_ups],
        "echo": [each.echo_per_s for each in results.look_ups],
    }
    labels = tuple(f"{each.ports_per_network}\nby {each.addresses_per_ask}" for each in results.look_ups)
    pings = {
        "first": [each.first.p50 for each in results.first_packets],
        "second": [each.second.p50 for each in results.first_packets],
    }
    planes = tuple(each.data_plane for each in results.first_packets)
    return [
        Panel("look-ups, by ports in the VPC", "per second", labels, rates, aim=20_000, is_log=True),
        Panel("ping of a new pair", "ms", planes, pings, is_log=True),
    ]


def _vpc_size(results: VpcSize) -> list[Panel]:
    labels = tuple(f"{each.ports}" for each in results.sizes)
    times = {
        "in force p50": [each.in_force.p50 for each in results.sizes],
        "reachable p50": [each.reachable.p50 for each in results.sizes],
        "reachable p99": [each.reachable.p99 for each in results.sizes],
    }
    ratio = {
        "95 % from": [each.reachable_ratio.low for each in results.sizes],
        "reachable": [each.reachable_ratio.value for each in results.sizes],
        "95 % to": [each.reachable_ratio.high for each in results.sizes],
    }
    return [
        Panel("one port more, by ports in the VPC", "ms", labels, times),
        Panel("against the smallest VPC", "ratio of medians", labels, ratio, aim=1.1),
    ]


def _paths(results: Paths) -> list[Panel]:
    labels = tuple(each.path for each in results.measured)
    one = {
        "p50": [each.one_port.p50 for each in results.measured],
        "p99": [each.one_port.p99 for each in results.measured],
        "raw stream": [results.floor.one_ms] * len(labels),
    }
    every = {
        "all agents": [each.all_agents_ms for each in results.measured],
        "raw streams": [results.floor.all_ms] * len(labels),
    }
    agents = results.measured[0].agents
    return [
        Panel(f"one port, {agents} agents", "ms to acknowledgement", labels, one, aim=50, is_log=True),
        Panel(f"one change for {agents} agents", "ms", labels, every, aim=3 * results.floor.all_ms),
    ]


def _group(results: Group) -> list[Panel]:
    times = {
        "in force on all": [results.in_force_everywhere.p50, results.in_force_everywhere.p99],
        "a port on one host": [results.floor_one_host.p50, results.floor_one_host.p99],
    }
    title = f"one member more of {results.members}, {results.hosts} hosts"
    return [
        Panel(title, "ms", ("p50", "p99"), times),
        Panel("to each host", "bytes", ("one member more",), {"bytes": [results.bytes_per_host]}, aim=200),
    ]


def _resync(results: Resync) -> list[Panel]:
    phases = {"cold": results.cold}
    phases |= {f"warm {number}": phase for number, phase in enumerate(results.warm, start=1)}
    times = {
        "all synchronised": [phase.all_s for phase in phases.values()],
        "raw streams": [phase.floor_s for phase in phases.values()],
    }
    worked = {
        "region": [phase.region_processor_s for phase in phases.values()],
        "agents": [phase.agents_processor_s for phase in phases.values()],
    }
    labels = tuple(phases)
    return [
        Panel(f"{results.hosts} agents, {results.ports} ports", "s", labels, times),
        Panel("processor", "s", labels, worked),
    ]


def _big_network(results: BigNetwork) -> list[Panel]:
    times = {
        "": [results.answered_s, results.in_force_s, results.copy_floor_s, results.streams_floor_s],
    }
    labels = tuple(part.name for part in results.used)
    worked = {
        "processor s": [part.processor_s for part in results.used],
        "GiB": [part.memory_mib / 1024 for part in results.used],
    }
    steps = ("answered", "in force", "raw COPY", "raw streams")
    return [
        Panel(f"{results.ports} ports, {results.hosts} hosts", "s", steps, times, aim=20),
        Panel("used", "", labels, worked),
    ]


def _sustained(results: Sustained) -> list[Panel]:
    sides = (results.empty, results.full)
    labels = tuple(f"{side.ports_before}\nstored" for side in sides)
    rates = {
        "wall": [side.ports_per_s.median for side in sides],
        "region's processor": [side.ports_per_processor_s.median for side in sides],
    }
    slow, worked = results.slowdown, results.processor_slowdown
    ratio = {
        "95 % from": [slow.low, worked.low],
        "full to empty": [slow.value, worked.value],
        "95 % to": [slow.high, worked.high],
    }
    return [
        Panel("batches of 10,000", "ports per second", labels, rates, aim=20_000),
        Panel("slower when full", "ratio", ("time", "processor"), ratio, aim=1.1),
    ]


def _neighbours(results: Neighbours) -> list[Panel]:
    times = {
        "p50": results.in_force.p50,
        "highest": results.in_force.highest,
        "raw stream": results.floor_ms,
        "flows": results.flows_ms,
    }
    memory = {"as told": results.bytes_per_neighbour, "with flows": results.bytes_per_neighbour_with_flows}
    if (switch := results.on_switch) is not None:
        times |= {"Open vSwitch": switch.in_force.p50, "raw bundle": switch.floor_ms}
        memory |= {"Open vSwitch": switch.bytes_per_neighbour}
    title = f"{results.neighbours} neighbours into one agent"
    return [
        Panel(title, "ms", tuple(times), {"": [*times.values()]}, aim=200),
        Panel("agent memory", "bytes a neighbour", tuple(memory), {"": [*memory.values()]}, aim=1024),
    ]


def _api(results: Api) -> list[Panel]:
    small, large = (f"{stored} stored" for stored in results.stored)
    by_name = {kind.name: kind for kind in results.kinds}
    floors = {floor.name: floor for floor in results.floors}
    quick = [kind for kind in results.kinds if not kind.name.startswith("list")]
    worked = {
        small: [kind.small.api_ms for kind in quick],
        large: [kind.large.api_ms for kind in quick],
    }
    listed = by_name["list 1,000"]
    long = {"": [listed.small.api_ms, listed.large.api_ms, floors["empty answer: list 1,000"].processor_ms]}
    slower = {
        "time": [kind.slowdown.value for kind in results.kinds],
        "processor": [kind.processor_slowdown.value for kind in results.kinds],
    }
    labels = tuple(kind.name.replace(" ", "\n") for kind in quick)
    return [
        Panel("API process, each request", "ms of a core", labels, worked, aim=1000 / 3000),
        Panel("list of 1,000 ports", "ms of a core", (small, large, "empty answer"), long, aim=30),
        Panel(
            f"{results.stored[1]} stored to {results.stored[0]}",
            "ratio",
            tuple(kind.name.replace(" ", "\n") for kind in results.kinds),
            slower,
            aim=1.2,
        ),
    ]


def _beats(results: Beats) -> list[Panel]:
    shares = {"": [results.controller_core_percent, results.floor_core_percent]}
    return [
        Panel(f"beats of {results.hosts} hosts", "% of a core", ("controller", "bare streams"), shares, aim=20)
    ]
