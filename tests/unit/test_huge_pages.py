"""Which memory is asked to be in huge pages."""

import errno
import itertools
import mmap
from pathlib import Path

import pytest

from alcor.runtime import huge_pages
from alcor.runtime.huge_pages import HUGE, Mapping

SMAPS = """\
555500000000-555500600000 rw-p 00000000 00:00 0                          [heap]
Size:               6144 kB
Rss:                6144 kB
AnonHugePages:      2048 kB
VmFlags: rd wr mr mw me ac
7f0000000000-7f0000800000 rw-p 00000000 00:00 0 
Size:               8192 kB
Rss:                  64 kB
AnonHugePages:         0 kB
7f1000000000-7f1000400000 r-xp 00000000 fe:00 1234                       /usr/lib/libpython3.11.so.1.0
Size:               4096 kB
Rss:                4096 kB
AnonHugePages:         0 kB
"""  # noqa: W291 - as the kernel writes it


def test_only_private_memory_without_a_file_is_read() -> None:
    heap, stack = huge_pages.mappings(SMAPS)
    assert heap == Mapping(0x555500000000, 0x555500600000, 6 << 20, 2 << 20)
    assert stack.resident == 64 << 10


def test_a_stack_of_which_little_is_used_is_left_alone() -> None:
    heap, stack = huge_pages.mappings(SMAPS)
    assert not stack.wants_huge
    assert not heap.wants_huge, "its ends are no whole huge pages, and the rest is one"


def test_huge_pages_begin_at_their_own_boundaries() -> None:
    mapping = Mapping(HUGE - 4096, 5 * HUGE + 4096, 4 * HUGE + 8192, 0)
    assert mapping.wants_huge
    assert list(mapping.spans()) == [HUGE, 2 * HUGE, 3 * HUGE, 4 * HUGE]


def test_memory_that_is_full_comes_to_be_in_huge_pages() -> None:
    def huge() -> int:
        return sum(each.huge for each in huge_pages.mappings(Path("/proc/self/smaps").read_text()))

    memory = mmap.mmap(-1, 16 * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"\1" * 16 * HUGE)
    before = huge()
    if not huge_pages.collapse():
        pytest.skip("this kernel makes no huge pages when it is asked to")
    assert huge() - before >= 12 * HUGE
    assert memory[:] == b"\1" * 16 * HUGE


@pytest.mark.parametrize(
    ("answers", "goes_on"),
    [
        ([errno.EINVAL, errno.EINVAL], False),
        ([errno.ENOMEM, errno.EINVAL], True),
        ([errno.EAGAIN], True),
        ([0], True),
    ],
)
def test_only_a_kernel_that_does_not_know_the_question_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, answers: list[int], goes_on: bool
) -> None:
    memory = mmap.mmap(-1, 16 * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"\1" * 16 * HUGE)
    following = itertools.cycle(answers)
    monkeypatch.setattr(huge_pages, "_madvise", lambda _libc, _start: next(following))
    assert huge_pages.collapse() is goes_on
