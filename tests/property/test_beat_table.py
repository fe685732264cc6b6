"""The table of sessions that beat, against sets and dictionaries: whatever comes, in whatever order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.adapters.beat_table import BeatTable
from alcor.contracts import beat_datagram
from alcor.contracts.beat_datagram import AGENT, CONTROLLER, HELD_MAX, BeatKey, sealed

HELD = st.sampled_from([b"", b"\0", b"held", b"held\0", bytes(8), bytes(HELD_MAX)])
STEP = st.one_of(
    st.tuples(st.just("begin"), st.none(), st.none(), st.none()),
    st.tuples(st.just("end"), st.integers(0, 5), st.none(), st.none()),
    st.tuples(st.just("beat"), st.integers(0, 5), st.integers(1, 6), HELD),
    st.tuples(st.just("pass on"), st.integers(0, 5), st.none(), st.none()),
)


@settings(max_examples=300)
@given(steps=st.lists(STEP, max_size=60))
def test_a_beat_counts_if_its_session_lives_and_its_number_is_greater_than_all_before(
    steps: list[tuple[str, int, int, bytes]],
) -> None:
    table = BeatTable()
    keys: list[BeatKey] = []
    newest: dict[int, int] = {}  # of sessions that live
    passed_on: dict[int, bytes] = {}
    for at, (step, which, number, held) in enumerate(steps, start=1):
        if step == "begin":
            keys.append(table.begin())
            newest[keys[-1].session] = 0
            times, place = table.times(keys[-1].session)
            assert times[place] == 0.0
        if step == "begin" or which >= len(keys):
            continue
        key = keys[which]
        if step == "end":
            table.end(key.session)
            newest.pop(key.session, None)
        elif step == "pass on" and key.session in newest:
            table.pass_on(key.session)
            passed_on.pop(key.session, None)
        elif step == "beat":
            counts = number > newest.get(key.session, number)
            assert table.hear(sealed(key, number, held, by=AGENT), float(at)) == (key.session if counts else 0)
            if counts:
                newest[key.session] = number
                times, place = table.times(key.session)
                assert times[place] == at
                assert table.is_new(key.session, held) is (passed_on.get(key.session) != held)
                assert not table.is_new(key.session, held)
                passed_on[key.session] = held
                answer = table.answer(key.session)
                assert beat_datagram.is_sealed(answer, key.key, by=CONTROLLER)
                assert not table.hear(answer, float(at))
    assert len({key.session for key in keys}) == len({key.key for key in keys}) == len(keys)


def test_an_answer_is_due_once_in_a_while() -> None:
    table = BeatTable()
    session = table.begin().session
    assert [table.is_due(session, now_s, 1.5) for now_s in (10.0, 11.0, 11.4, 11.5, 12.9, 13.0)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip


def test_places_are_used_again_and_what_they_held_is_another_s_no_longer() -> None:
    table = BeatTable()
    first = table.begin()
    assert table.hear(sealed(first, 9, b"held", by=AGENT), 5.0)
    assert table.is_new(first.session, b"held")
    table.end(first.session)
    table.end(first.session)  # again: nothing
    second, third = table.begin(), table.begin()
    assert {first.session & 0xFFFFFF, second.session & 0xFFFFFF} == {0}
    assert third.session & 0xFFFFFF == 1
    assert not table.hear(sealed(first, 10, b"held", by=AGENT), 6.0)
    assert table.hear(sealed(second, 1, b"held", by=AGENT), 6.0) == second.session
    assert table.is_new(second.session, b"held")
