"""What the demonstration shows of single paths, each after the main job: `alcor demo --show NAME`."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from alcor.demo import show_paths, show_rescue
from alcor.demo.stage import Stage

ALL = "all"
Show = Callable[[Stage], Awaitable[msgspec.Struct]]
SHOWS: dict[str, Show] = {
    "fast": show_paths.show_fast,
    "queue": show_paths.show_queue,
    "rescue": show_rescue.show,
}


def chosen(name: str | None) -> Sequence[str]:
    """Name the shows that an option asks for, in the order in which they are run."""
    if name is None:
        return ()
    return tuple(SHOWS) if name == ALL else (name,)
