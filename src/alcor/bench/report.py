"""What every benchmark's JSON file says about where it was made, and how to read it."""

import os
import platform
import subprocess
from pathlib import Path

import msgspec


class Environment(msgspec.Struct, frozen=True):
    """Where figures come from: without it they mean nothing."""

    commit: str
    cores: int
    machine: str
    python: str
    load_before: float  # one-minute load average: these machines are shared


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
