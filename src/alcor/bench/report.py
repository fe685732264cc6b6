"""What all benchmarks give: where they were made, their figures, tables and charts."""

import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from rich.table import Table

Say = Callable[[str], None]  # hears of progress


class Environment(msgspec.Struct, frozen=True):
    """Where figures come from: without it they mean nothing."""

    commit: str
    cores: int
    machine: str
    python: str
    load_before: float  # one-minute load average: these machines are shared


class Panel(msgspec.Struct, frozen=True):
    """One set of axes. `series`: name -> one value a label; `aim`: a line that should not be passed."""

    title: str
    unit: str
    labels: tuple[str, ...]
    series: Mapping[str, Sequence[float]]
    aim: float | None = None
    is_log: bool = False


class Results(Protocol):
    """What every benchmark gives, and its JSON file holds."""

    @property
    def environment(self) -> Environment: ...

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""

    def panels(self) -> list[Panel]:
        """Give the chart."""


def environment() -> Environment:
    """Look at the machine and the checkout."""
    root = Path(__file__).resolve().parents[3]
    commit = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return Environment(
        commit=commit or "unknown",
        cores=os.cpu_count() or 0,
        machine=f"{_processor()}, {_memory_gib():.0f} GiB, {platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
