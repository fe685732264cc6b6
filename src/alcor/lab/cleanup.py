"""Removes labs: one's own at its end, and what labs left behind whose process was killed.

A lab belongs to the process whose id and start time are in its `owner` file: a process id alone comes back.
"""

import contextlib
import os
import shutil
import signal
from pathlib import Path

from alcor.lab import namespaces
from alcor.lab.host import DATABASE, SWITCH, daemon_pid, wait_gone

LABS = Path("/run/alcor-labs")
OWNER = "owner"
_START_TIME = 21  # field of /proc/<pid>/stat, counted from 0


def own_mark() -> str:
    """Say who this process is, for the `owner` file of its lab."""
    return _mark(os.getpid())


def remove_dead_labs() -> list[str]:
    """Remove the labs whose process is gone, and name them."""
    if not LABS.is_dir():
        return []
    dead = [entry for entry in sorted(LABS.iterdir()) if not _is_alive(entry)]
    for directory in dead:
        remove_lab(directory)
    return [directory.name for directory in dead]


def remove_lab(directory: Path) -> None:
    """Kill a lab's daemons, delete its namespaces and its directory."""
    hosts = sorted(entry for entry in directory.iterdir() if entry.is_dir())
    daemons = [daemon_pid(host, daemon) for host in hosts for daemon in (SWITCH, DATABASE)]
    running = [pid for pid in daemons if pid is not None]
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in running:
        wait_gone(pid)
    namespaces.delete(namespaces.existing(f"{directory.name}-"))
    shutil.rmtree(directory, ignore_errors=True)


def _is_alive(directory: Path) -> bool:
    try:
        mark = (directory / OWNER).read_text()
    except OSError:
        return _is_young(directory)
    pid = mark.split(" ")[0]
    return pid.isdecimal() and _mark(int(pid)) == mark


def _is_young(directory: Path) -> bool:
    """A lab writes its owner right after it made its directory: give it the moment."""
    try:
        made = directory.stat().st_mtime
    except OSError:
        return True
    return Path("/proc/self").stat().st_mtime - made < 5.0


def _mark(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return f"{pid} gone"
    # The command's name may hold spaces and brackets: count from its end.
    return f"{pid} {stat.rpartition(')')[2].split()[_START_TIME - 2]}"
