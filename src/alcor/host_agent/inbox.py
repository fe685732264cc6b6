"""What an agent makes of a section update: put it in force, it is held already, or send all. Pure.

Newer wins (law 2): whatever is delivered late, twice or out of order, the state never goes back, and ends as
the last version sent once "send all" was answered. One version means one content: where the whole of a section
comes at the version that is held and differs, what is held was damaged, and is replaced.
"""

from enum import Enum

from alcor.model.goal_state import (
    AddressesChange,
    AddressesSection,
    GroupChange,
    GroupSection,
    HostState,
    NetworkChange,
    NetworkSection,
    RouterChange,
    RouterSection,
    Section,
    SectionChange,
    SectionUpdate,
    apply_change,
    empty_section_for,
)
from alcor.model.version import NEVER, Version

TOMBSTONES_MAX = 4096  # far more removals than can be under way at once


class Decision(Enum):
    """What becomes of one update."""

    APPLY = "apply"  # the state has it now; the data plane must
    CONFIRM = "confirm"  # only the version moved; the data plane need not know
    HELD = "held"  # this version or a newer one is held
    SEND_ALL = "send_all"  # it leads from a version that is not held


def decide(held: Version | None, section: Section | None, update: SectionUpdate) -> Decision:
    """Judge an update against the version and section held. `section` None with a version is a tombstone."""
    if held is not None and update.version <= held:
        return Decision.APPLY if update.version == held and _mends(section, update) else Decision.HELD
    if update.change is None:
        if update.base is not None:
            return Decision.SEND_ALL
        return Decision.APPLY if section is not None else Decision.CONFIRM
    if update.base is None:
        return Decision.APPLY
    if section is None or update.base != held or not _fits(section, update.change):
        return Decision.SEND_ALL
    return Decision.CONFIRM if _changes_nothing(section, update.change) else Decision.APPLY


def receive(state: HostState, update: SectionUpdate) -> Decision:
    """Judge an update and make it part of the state. Cost: O(entries in the update)."""
    section = state.sections.get(update.key)
    decision = decide(state.versions.get(update.key), section, update)
    if decision is Decision.HELD or decision is Decision.SEND_ALL:
        return decision
    state.versions[update.key] = update.version
    if decision is Decision.CONFIRM:
        return decision
    if update.change is None:
        del state.sections[update.key]
        return decision
    if update.base is None or section is None:
        section = empty_section_for(update.change)
        state.sections[update.key] = section
    apply_change(section, update.change)
    return decision


def forget_tombstones(state: HostState, *, keep: int = TOMBSTONES_MAX) -> None:
    """Drop the oldest tombstones beyond `keep`, so that removals do not pile up for ever (law 9)."""
    tombstones = [key for key in state.versions if key not in state.sections]
    if len(tombstones) <= keep:
        return
    tombstones.sort(key=lambda key: (state.versions[key], key))
    for key in tombstones[: len(tombstones) - keep]:
        del state.versions[key]


def newest(state: HostState) -> Version:
    """Give the highest version held, tombstones included; NEVER when there is none."""
    return max(state.versions.values(), default=NEVER)


def _mends(section: Section | None, update: SectionUpdate) -> bool:
    """Is it the whole of a section that is held otherwise? O(its entries)."""
    if section is None or update.base is not None:
        return False
    if update.change is None:
        return True
    whole = empty_section_for(update.change)
    apply_change(whole, update.change)
    return whole.full() != section.full()


def _fits(section: Section, change: SectionChange) -> bool:
    match change:
        case NetworkChange():
            return isinstance(section, NetworkSection)
        case RouterChange():
            return isinstance(section, RouterSection)
        case GroupChange():
            return isinstance(section, GroupSection)
        case AddressesChange():
            return isinstance(section, AddressesSection)


def _changes_nothing(section: Section, change: SectionChange) -> bool:
    """Is it a delta without entries, whose single values are as held?"""
    match section, change:
        case NetworkSection(), NetworkChange():
            return change == _NO_NETWORK_CHANGE
        case RouterSection(), RouterChange():
            return (
                section.admin_state_up == change.admin_state_up
                and section.routes == change.routes
                and not change.set_interfaces
                and not change.gone_interfaces
            )
        case GroupSection(), GroupChange():
            return section.stateful == change.stateful and not (change.set_rules or change.gone_rules)
        case AddressesSection(), AddressesChange():
            return change == AddressesChange()
        case _:
            return False


_NO_NETWORK_CHANGE = NetworkChange()
