"""Has the kernel keep a large process's memory in huge pages.

A million ports lie all over a gigabyte, and each look at one of them walks page tables first, if its page is
one of 4 KiB; in a virtual machine, twice. Linux makes huge pages where it is asked to (its usual setting,
`madvise`), and Python's allocator never asks. Where the kernel cannot (before 6.1, see madvise(2),
MADV_COLLAPSE) or does not find the room, all stays as it is.
"""

import asyncio
import contextlib
import ctypes
import errno
import re
from pathlib import Path
from typing import NamedTuple

LOOK_S = 5.0
GROWN = 64 << 20  # bytes more than at the last time: less is not worth a look
HUGE = 2 << 20
FULL = 0.9  # of a mapping that is in memory: to fill the holes of others (stacks of threads) would cost memory
_MADV_COLLAPSE = 25
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(\[heap\])?$")


class Mapping(NamedTuple):
    """Private memory of the process that no file backs. Sizes in bytes."""

    start: int
    end: int
    resident: int
    huge: int

    @property
    def wants_huge(self) -> bool:
        """Is it full, and not in huge pages yet?"""
        size = self.end - self.start
        return size >= HUGE and self.resident >= FULL * size and self.huge < FULL * (size - 2 * HUGE)

    def spans(self) -> range:
        """Give where huge pages may begin in it."""
        return range(-(-self.start // HUGE) * HUGE, self.end - HUGE + 1, HUGE)


def mappings(smaps: str) -> list[Mapping]:
    """Read /proc/PID/smaps (proc_pid_smaps(5))."""
    found: list[Mapping] = []
    here: tuple[int, int] | None = None
    resident = 0
    for line in smaps.splitlines():
        name, _, rest = line.partition(":")
        if name == "Rss":
            resident = int(rest.split()[0]) << 10
        elif name == "AnonHugePages":
            if here is not None:
                found.append(Mapping(*here, resident, int(rest.split()[0]) << 10))
        elif name.partition("-")[0].isalnum() and "-" in name:
            match = _MAPPING.match(line)
            here = None if match is None else (int(match[1], 16), int(match[2], 16))
    return found


async def keep() -> None:
    """Look now and then, and ask for what has come since, in a thread. Forever, or until it is of no use."""
    looked_at = 0
    while True:
        with contextlib.suppress(OSError):  # no file may be opened just now: nothing that anything ends for
            resident = _resident()
            if resident - looked_at >= GROWN:
                if not await asyncio.to_thread(collapse):
                    return
                looked_at = resident
        await asyncio.sleep(LOOK_S)


def collapse() -> bool:
    """Ask for every span of every mapping that wants it; False: this kernel does not know the question.

    A span for which there is no room just now, or that is gone since it was read, stays as it is.
    """
    libc = ctypes.CDLL(None, use_errno=True)  # lets go of the interpreter during a call
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    wanted = [each for each in mappings(Path("/proc/self/smaps").read_text()) if each.wants_huge]
    answers = {_madvise(libc, start) for each in wanted for start in each.spans()}
    return answers != {errno.EINVAL}


def _madvise(libc: ctypes.CDLL, start: int) -> int:
    """Give 0, or the error's number."""
    return 0 if libc.madvise(start, HUGE, _MADV_COLLAPSE) == 0 else ctypes.get_errno()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
