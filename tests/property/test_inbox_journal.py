"""Whatever happens to the journal's bytes, what is read is the state of an earlier moment."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.contracts.agent_channel import Update
from alcor.host_agent import inbox, journal
from alcor.model.goal_state import HostState, SectionKey, SectionUpdate
from alcor.model.version import Version
from doubles.agent import delta, full, removal

STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["full", "delta", "removal"]), st.sampled_from("pqr")),
    min_size=1,
    max_size=8,
)
Moment = tuple[list[SectionUpdate], dict[SectionKey, Version]]


def moment(state: HostState) -> Moment:
    return state.full_updates(), dict(state.versions)


def history(steps: list[tuple[str, str, str]]) -> tuple[bytes, list[Moment]]:
    """Write the steps as records; give the bytes and the state after each of them."""
    state = HostState()
    data = b""
    moments = [moment(state)]
    for revision, (name, kind, port) in enumerate(steps, start=1):
        held = state.versions.get(full(name, 0).key, Version(1, 0)).revision
        if kind == "removal":
            update = removal(name, revision)
        elif kind == "delta":
            update = delta(name, held, revision, port)
        else:
            update = full(name, revision, port)
        inbox.receive(state, update)
        data += journal.record(msgspec.msgpack.encode(Update(revision, (update,))))
        moments.append(moment(state))
    return data, moments


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, data=st.data())
def test_a_journal_cut_anywhere_gives_the_state_before_the_cut(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    written, moments = history(steps)
    cut = data.draw(st.integers(0, len(written)), label="cut")
    state, length = journal.replay(written[:cut])
    assert moment(state) in moments
    assert length <= cut
    assert moment(journal.replay(written[:length])[0]) == moment(state)
    if cut == len(written):
        assert moment(state) == moments[-1]


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, data=st.data())
def test_bytes_that_changed_end_the_reading_at_an_earlier_moment(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    written, moments = history(steps)
    where = data.draw(st.integers(0, len(written) - 1), label="where")
    mask = data.draw(st.integers(1, 255), label="mask")
    damaged = bytearray(written)
    damaged[where] ^= mask
    state, length = journal.replay(bytes(damaged))
    assert moment(state) in moments
    assert length <= where


@settings(max_examples=200, deadline=None)
@given(garbage=st.binary(max_size=200))
def test_any_bytes_at_all_are_read_without_an_exception(garbage: bytes) -> None:
    _, length = journal.replay(garbage)
    assert 0 <= length <= len(garbage)
