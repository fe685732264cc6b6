"""Counts what something takes: lines, because a loop calls nothing; bytes, as a copy is one line; calls."""

import gc
import inspect
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, FunctionType
from typing import NamedTuple

LITTLE, MUCH = 10, (500, 600)
COPY_B = 3_000  # a copy of 500 entries takes 4,000 at least


def assert_same_work(prepare: Callable[[int], Callable[[], object]]) -> None:
    """Let the work that `prepare` gives be the same with little and with much of something.

    A table that has just no room left grows, which is paid for by all entries together: so not at both sizes.
    """
    little = work_of(lambda: prepare(LITTLE))
    much = [work_of(lambda count=count: prepare(count)) for count in MUCH]  # type: ignore[misc]
    assert {work.lines for work in much} == {little.lines}
    assert min(work.bytes_most for work in much) <= little.bytes_most + COPY_B


class Work(NamedTuple):
    """What something took. `bytes_most`: how much more memory than before it had at once."""

    lines: int
    bytes_most: int


def work_of(prepare: Callable[[], Callable[[], object]]) -> Work:
    """Count twice, from the beginning: tracing needs memory. The collector would come whenever its time is."""
    gc.disable()
    try:
        return Work(_lines_of(prepare()), _bytes_of(prepare()))
    finally:
        gc.enable()


def _lines_of(work: Callable[[], object]) -> int:
    count = 0

    def on_event(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        nonlocal count
        count += event in ("line", "call")  # a generator that goes on is called
        return on_event

    before = sys.gettrace()
    sys.settrace(on_event)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def _bytes_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@contextmanager
def counted_calls(*functions: FunctionType) -> Iterator[Counter[str]]:
    """Count how often these are called meanwhile, by name. What they are kept by is looked through."""
    names = {inspect.unwrap(function).__code__: function.__name__ for function in functions}
    counts = Counter(dict.fromkeys(names.values(), 0))

    def on_event(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in names:
            counts[names[frame.f_code]] += 1

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        yield counts
    finally:
        sys.setprofile(before)
