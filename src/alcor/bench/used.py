"""What another process has used so far (proc(5))."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def processor_s(pid: int) -> float:
    """Give the seconds of processor time, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def running_s(pid: int) -> float:
    """Give the same to the nanosecond, as the scheduler counts it: for what takes less than a tick."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_mib(pid: int) -> float:
    """Give the resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20


def written_bytes(pid: int) -> int:
    """Give how much it wrote, to files and streams."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])


def family(pid: int) -> list[int]:
    """Name a process and all that descend from it, ascending: a region's servers are its children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, ())
    return sorted(found)


def peak_memory_mib(pid: int) -> float:
    """Give the most resident memory that it ever had; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


class Usage(msgspec.Struct, frozen=True):
    """What a process, or a family of processes, needed while it was measured."""

    name: str
    processor_s: float
    memory_mib: float  # resident now, each process counted whole
    peak_memory_mib: float


def in_words(used: Sequence[Usage]) -> str:
    """Say what each needed, for a caption."""
    return "used: " + "; ".join(
        f"{each.name} {each.processor_s:.1f} s of a core, {each.memory_mib:.0f} MiB" for each in used
    )


class Meter:
    """Owner of the readings at the start, of families of processes by name.

    Of a family within another one, only the inner counts it: a benchmark's own process is the parent of all.
    """

    def __init__(self, roots: Mapping[str, Sequence[int]]) -> None:
        self._roots = dict(roots)
        self._before = {name: self._processor_s(name) for name in self._roots}

    def read(self) -> tuple[Usage, ...]:
        """Give what each family has used since the start. Children that ended are not counted."""
        found = []
        for name in self._roots:
            pids = self._pids(name)
            found.append(
                Usage(
                    name,
                    round(self._processor_s(name) - self._before[name], 2),
                    round(sum(map(memory_mib, pids)), 1),
                    round(sum(map(peak_memory_mib, pids)), 1),
                )
            )
        return tuple(found)

    def _pids(self, name: str) -> list[int]:
        found = {pid for root in self._roots[name] for pid in family(root)}
        for other, roots in self._roots.items():
            if other != name and found.issuperset(roots):
                found.difference_update(pid for root in roots for pid in family(root))
        return sorted(found)

    def _processor_s(self, name: str) -> float:
        return sum(map(processor_s, self._pids(name)))
