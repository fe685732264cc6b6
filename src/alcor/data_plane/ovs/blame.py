"""Says which sections of goal state a refused flow belongs to. Pure."""

from collections.abc import Iterable, Sequence

from alcor.contracts.data_plane import Refusal
from alcor.data_plane.ovs.flow_table import RefusedByBridge
from alcor.model import goal_state
from alcor.model.goal_state import (
    AddressesChange,
    GroupChange,
    NetworkChange,
    RouterChange,
    SectionKey,
    SectionUpdate,
)


def refusals(refused: Sequence[RefusedByBridge], updates: Sequence[SectionUpdate]) -> list[Refusal]:
    """Name the sections that hold what the refused flows come from, each with its first reason.

    A flow whose origin is in none of them blames all: better one confirmation too few than one too many.
    """
    reasons: dict[SectionKey, str] = {}
    names = {update.key: set(_names(update)) for update in updates}
    for flow, reason in refused:
        words = set(flow.origin.replace(",", " ").replace(":", " ").split())
        blamed = [key for key in names if names[key] & words] or list(names)
        for key in blamed:
            reasons.setdefault(key, f"the switch refuses a flow of {flow.origin or 'the pipeline'}: {reason}")
    return [Refusal(key, reasons[key]) for key in sorted(reasons)]


def _names(update: SectionUpdate) -> Iterable[str]:
    yield goal_state.parse_key(update.key).id
    match update.change:
        case NetworkChange(set_ports=ports, set_placements=placements):
            yield from (port.id for port in ports)
            yield from (placement.port_id for placement in placements)
        case RouterChange(set_interfaces=interfaces):
            yield from (interface.port_id for interface in interfaces)
        case GroupChange(set_rules=rules):
            yield from (rule.id for rule in rules)
        case AddressesChange() | None:
            return
