"""What the pipeline cannot enforce, so that the host says so instead of pretending (law 7)."""

from collections.abc import Sequence

from alcor.contracts.data_plane import Refusal
from alcor.data_plane.pipeline import security
from alcor.model.goal_state import GroupSection, HostState, Section, SectionUpdate


def refusals(state: HostState, updates: Sequence[SectionUpdate]) -> list[Refusal]:
    """Name the updated sections that are not in force as they stand; `state` has the updates already.

    What is refused is rendered as if it allowed nothing. O(rules of the updated groups).
    """
    keys = sorted({update.key for update in updates} & state.sections.keys())
    found = ((key, refusal_reason(state.sections[key])) for key in keys)
    return [Refusal(key, reason) for key, reason in found if reason is not None]


def refusal_reason(section: Section) -> str | None:
    """Say why a section cannot be put in force; None when it can."""
    if not isinstance(section, GroupSection):
        return None
    bad = [rule_id for rule_id, rule in section.rules.items() if not security.is_enforceable(rule)]
    if not bad:
        return None
    first = section.rules[min(bad)]
    return f"rule {first.id}: ports of protocol {first.protocol} cannot be matched"
