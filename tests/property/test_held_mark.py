"""The mark of what is held depends on that alone, not on how it came to be."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.model.goal_state import SectionKey
from alcor.model.held_mark import NOTHING, SIZE, HeldMark
from alcor.model.version import Version

STEPS = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 3))), max_size=60)


def made(steps: list[tuple[int, int | None]]) -> tuple[HeldMark, dict[int, int]]:
    mark, held = HeldMark(), dict[int, int]()
    for name, revision in steps:
        key = SectionKey(f"network:{name}")
        if revision is None:
            mark.drop(key)
            held.pop(name, None)
        else:
            mark.hold(key, Version(1, revision))
            held[name] = revision
    return mark, held


@given(STEPS, STEPS)
def test_equal_marks_mean_equal_versions(
    one: list[tuple[int, int | None]], other: list[tuple[int, int | None]]
) -> None:
    (first, held), (second, also_held) = made(one), made(other)
    assert (first.value == second.value) == (held == also_held)
    assert len(first.value) == SIZE
    assert (first.value == NOTHING) == (not held)
