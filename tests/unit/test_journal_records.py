"""The journal's bytes, without a disk."""

import msgspec
import pytest

from alcor.contracts.agent_channel import Update
from alcor.host_agent import inbox, journal
from alcor.model.goal_state import HostState, SectionUpdate
from alcor.model.version import Version
from doubles.agent import delta, full, key, removal


def state_after(*updates: SectionUpdate) -> HostState:
    state = HostState()
    for update in updates:
        inbox.receive(state, update)
    return state


def test_a_snapshot_gives_back_sections_versions_and_tombstones() -> None:
    state = state_after(full("a", 1, "p"), full("b", 2), delta("a", 1, 3, "q"), removal("b", 4))
    again, length = journal.replay(journal.snapshot(state))
    assert again.full_updates() == state.full_updates()
    assert again.versions == state.versions == {key("a"): Version(1, 3), key("b"): Version(1, 4)}
    assert length == len(journal.snapshot(state))


def test_an_empty_journal_is_an_empty_state() -> None:
    state, length = journal.replay(b"")
    assert (state.versions, length) == ({}, 0)


@pytest.mark.parametrize("body", [b"\xc1", msgspec.msgpack.encode(["beat", 1]), msgspec.msgpack.encode(7)])
def test_a_whole_record_that_is_no_update_ends_the_reading(body: bytes) -> None:
    good = journal.snapshot(state_after(full("a", 1)))
    state, length = journal.replay(good + journal.record(body) + good)
    assert length == len(good)
    assert set(state.sections) == {key("a")}


def test_a_record_is_the_frame_as_it_came() -> None:
    frame = msgspec.msgpack.encode(Update(5, (full("a", 1, "p"),)))
    assert journal.record(frame).endswith(frame)
    assert journal.replay(journal.record(frame))[0].full_updates() == [full("a", 1, "p")]
