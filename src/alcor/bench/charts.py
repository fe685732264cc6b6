"""Charts of benchmarks: bars, each measurement beside its floor or its aim. PNG or SVG by the file's ending."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alcor.bench.report import Panel, Results

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b8b8b8")
AIM_COLOUR = "#d62728"
DPI = 150
PANEL_INCHES = (4.6, 4.0)


def write(results: Results, path: Path) -> None:
    """Draw all panels side by side."""
    where, drawn = results.environment, results.panels()
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
