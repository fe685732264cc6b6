"""One rule of the inbox a test."""

import pytest

from alcor.host_agent import inbox
from alcor.host_agent.inbox import Decision
from alcor.model.goal_state import (
    GroupChange,
    HostState,
    NetworkChange,
    NetworkEntry,
    Placement,
    RouterChange,
    SectionKey,
    SectionUpdate,
    router_key,
)
from alcor.model.ids import NetworkId, PortId, RuleId, Vni
from alcor.model.version import NEVER, Version

KEY = SectionKey("network:n")
NETWORK = NetworkEntry(NetworkId("n"), Vni(7), 1450, True)


def version(revision: int, *, epoch: int = 1) -> Version:
    return Version(epoch, revision)


def placement(name: str) -> Placement:
    return Placement(PortId(name), 1, (b"\x0a\x00\x00\x01",), b"\x7f\x00\x00\x01")


def full(revision: int, *names: str, epoch: int = 1) -> SectionUpdate:
    change = NetworkChange(network=NETWORK, set_placements=tuple(map(placement, names)))
    return SectionUpdate(KEY, None, version(revision, epoch=epoch), change)


def delta(base: int, revision: int, *names: str) -> SectionUpdate:
    change = NetworkChange(set_placements=tuple(map(placement, names)))
    return SectionUpdate(KEY, version(base), version(revision), change)


def removal(revision: int) -> SectionUpdate:
    return SectionUpdate(KEY, None, version(revision), None)


def holding(*updates: SectionUpdate) -> HostState:
    state = HostState()
    for update in updates:
        inbox.receive(state, update)
    return state


def names(state: HostState) -> list[str]:
    change = state.sections[KEY].full()
    assert isinstance(change, NetworkChange)
    return [entry.port_id for entry in change.set_placements]


def test_a_full_section_is_taken_from_nothing() -> None:
    state = HostState()
    assert inbox.receive(state, full(3, "a")) is Decision.APPLY
    assert names(state) == ["a"]
    assert state.versions == {KEY: version(3)}


def test_a_newer_full_section_replaces_the_whole() -> None:
    state = holding(full(3, "a", "b"))
    assert inbox.receive(state, full(4, "c")) is Decision.APPLY
    assert names(state) == ["c"]


@pytest.mark.parametrize("late", [full(2, "z"), full(3, "a"), delta(1, 2, "z"), delta(1, 3, "z"), removal(2)])
def test_what_is_not_newer_changes_nothing_and_counts_as_held(late: SectionUpdate) -> None:
    state = holding(full(3, "a"))
    assert inbox.receive(state, late) is Decision.HELD
    assert names(state) == ["a"]
    assert state.versions[KEY] == version(3)


@pytest.mark.parametrize(("whole", "left"), [(full(3, "z"), ["z"]), (removal(3), [])])
def test_the_whole_of_what_is_held_otherwise_at_that_version_mends_it(
    whole: SectionUpdate, left: list[str]
) -> None:
    """A version means one content: what differs was damaged, and whoever compared digests sends it whole."""
    state = holding(full(3, "a"))
    assert inbox.receive(state, whole) is Decision.APPLY
    assert (names(state) if left else list(state.sections)) == left
    assert state.versions[KEY] == version(3)
    assert inbox.receive(state, whole) is Decision.HELD


def test_a_removed_section_is_not_brought_back_at_the_version_of_its_removal() -> None:
    state = holding(full(3, "a"))
    inbox.receive(state, removal(4))
    assert inbox.receive(state, full(4, "a")) is Decision.HELD
    assert not state.sections


def test_a_higher_epoch_is_newer_whatever_its_revision() -> None:
    state = holding(full(9, "a"))
    assert inbox.receive(state, full(1, "b", epoch=2)) is Decision.APPLY
    assert names(state) == ["b"]


def test_a_delta_from_the_version_held_is_taken() -> None:
    state = holding(full(3, "a"))
    assert inbox.receive(state, delta(3, 5, "b")) is Decision.APPLY
    assert names(state) == ["a", "b"]
    assert state.versions[KEY] == version(5)


@pytest.mark.parametrize("base", [2, 4])
def test_a_delta_from_any_other_version_is_answered_send_all(base: int) -> None:
    state = holding(full(3, "a"))
    assert inbox.receive(state, delta(base, 5, "b")) is Decision.SEND_ALL
    assert names(state) == ["a"]
    assert state.versions[KEY] == version(3)


def test_a_delta_to_a_section_never_seen_is_answered_send_all() -> None:
    state = HostState()
    assert inbox.receive(state, delta(0, 1, "a")) is Decision.SEND_ALL
    assert not state.versions


def test_an_empty_delta_confirms_the_content_at_a_later_version() -> None:
    state = holding(full(3, "a"))
    assert inbox.receive(state, delta(3, 5)) is Decision.CONFIRM
    assert names(state) == ["a"]
    assert state.versions[KEY] == version(5)


def test_a_removal_leaves_a_tombstone_that_late_sections_do_not_pass() -> None:
    state = holding(full(3, "a"))
    assert inbox.receive(state, removal(6)) is Decision.APPLY
    assert inbox.receive(state, full(5, "a")) is Decision.HELD
    assert inbox.receive(state, delta(6, 7, "a")) is Decision.SEND_ALL
    assert not state.sections
    assert inbox.receive(state, full(7, "a")) is Decision.APPLY


def test_a_removal_of_what_is_not_held_leaves_only_the_tombstone() -> None:
    state = HostState()
    assert inbox.receive(state, removal(6)) is Decision.CONFIRM
    assert inbox.receive(state, full(5, "a")) is Decision.HELD


def test_a_removal_with_a_base_is_no_removal() -> None:
    state = holding(full(3, "a"))
    assert inbox.receive(state, SectionUpdate(KEY, version(3), version(4), None)) is Decision.SEND_ALL
    assert names(state) == ["a"]


def test_a_delta_of_another_kind_is_answered_send_all() -> None:
    state = holding(full(3, "a"))
    other = SectionUpdate(KEY, version(3), version(4), RouterChange())
    assert inbox.receive(state, other) is Decision.SEND_ALL


@pytest.mark.parametrize(
    ("key", "start", "change"),
    [
        (router_key("r"), RouterChange(), RouterChange(admin_state_up=False)),
        (SectionKey("group:g"), GroupChange(), GroupChange(stateful=False)),
        (SectionKey("group:g"), GroupChange(), GroupChange(gone_rules=(RuleId("r"),))),
    ],
)
def test_a_delta_that_changes_one_value_is_more_than_a_confirmation(
    key: SectionKey, start: RouterChange | GroupChange, change: RouterChange | GroupChange
) -> None:
    state = holding(SectionUpdate(key, None, version(1), start))
    assert inbox.receive(state, SectionUpdate(key, version(1), version(2), start)) is Decision.CONFIRM
    assert inbox.receive(state, SectionUpdate(key, version(2), version(3), change)) is Decision.APPLY


def test_only_the_newest_tombstones_are_kept() -> None:
    state = HostState()
    for revision in range(1, 6):
        inbox.receive(state, SectionUpdate(SectionKey(f"group:{revision}"), None, version(revision), None))
    inbox.receive(state, full(1, "a"))
    inbox.forget_tombstones(state, keep=2)
    assert sorted(state.versions) == ["group:4", "group:5", KEY]


def test_the_newest_version_counts_tombstones() -> None:
    assert inbox.newest(HostState()) == NEVER
    assert inbox.newest(holding(full(3, "a"), removal(6))) == version(6)
