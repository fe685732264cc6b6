"""One flow table: tuple space search, and conjunctions as Open vSwitch has them (ovs-actions(7)).

Flows that look at the same bits with the same priority live in one hash table, so that a lookup costs the
number of such spaces, not of flows: a host has dozens of the one and tens of thousands of the other.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple, TypeAlias

from alcor.data_plane.pipeline.clauses import is_clause
from alcor.data_plane.pipeline.flow import AnyFlow, Conjunction, Field, Match, Pattern, PatternFlow

_Values: TypeAlias = tuple[int, ...]


class _Space(NamedTuple):
    """What flows of one hash table have in common; they differ in their values under the masks."""

    priority: int
    constants: Match  # of a pattern, none of them masked
    masks: tuple[tuple[Field, int | None], ...]


class Decision(NamedTuple):
    """The flow that a table applies, and the clauses when a conjunction led to it."""

    flow: AnyFlow
    clauses: tuple[AnyFlow, ...] = ()


class Classifier:
    """Owns the flows of one table."""

    def __init__(self) -> None:
        self._spaces: dict[_Space, dict[_Values, AnyFlow]] = {}

    def install(self, flow: AnyFlow) -> None:
        """Add a flow, replacing the one with the same key."""
        space, values = _split(flow)
        self._spaces.setdefault(space, {})[values] = flow

    def remove(self, flow: AnyFlow) -> None:
        """Take the flow with the same key away, if it is there."""
        space, values = _split(flow)
        held = self._spaces.get(space, {})
        if held.pop(values, None) is not None and not held:
            del self._spaces[space]

    def flows(self) -> list[AnyFlow]:
        """Give all flows, in no order."""
        return [flow for held in self._spaces.values() for flow in held.values()]

    def look_up(self, packet: Mapping[Field, int]) -> Decision | None:
        """Find the flow for a packet: O(spaces)."""
        hard: AnyFlow | None = None
        floor = -1
        soft: dict[int, list[AnyFlow]] = {}
        for priority, flow in self._matching(packet):
            if is_clause(flow):
                soft.setdefault(priority, []).append(flow)
            elif priority > floor:
                hard, floor = flow, priority
        for priority in sorted(soft, reverse=True):
            if priority <= floor:
                break
            for number, clauses in _satisfied(soft[priority]):
                found = self._hard({**packet, Field.CONJ_ID: number})
                if found is not None:
                    return Decision(found, clauses)
        return None if hard is None else Decision(hard)

    def _hard(self, packet: Mapping[Field, int]) -> AnyFlow | None:
        found = [(priority, flow) for priority, flow in self._matching(packet) if not is_clause(flow)]
        return max(found, key=_priority)[1] if found else None

    def _matching(self, packet: Mapping[Field, int]) -> Iterator[tuple[int, AnyFlow]]:
        """Give the flows that match, with their priorities."""
        for (priority, constants, masks), held in self._spaces.items():
            if any(packet.get(term.field) != term.value for term in constants):
                continue
            values = []
            for name, mask in masks:
                value = packet.get(name)
                if value is None:
                    break
                values.append(value if mask is None else value & mask)
            else:
                flow = held.get(tuple(values))
                if flow is not None:
                    yield priority, flow


def _satisfied(flows: list[AnyFlow]) -> list[tuple[int, tuple[AnyFlow, ...]]]:
    """Name the conjunctions of which every clause is there, ascending, with these clauses."""
    seen: dict[int, dict[int, AnyFlow]] = {}
    wanted: dict[int, int] = {}
    for flow in flows:
        for action in flow.actions:
            if isinstance(action, Conjunction):
                seen.setdefault(action.id, {}).setdefault(action.clause, flow)
                wanted[action.id] = action.clauses
    return [
        (number, tuple(clauses[clause] for clause in sorted(clauses)))
        for number, clauses in sorted(seen.items())
        if len(clauses) == wanted[number]
    ]


def _split(flow: AnyFlow) -> tuple[_Space, _Values]:
    if isinstance(flow, PatternFlow):
        return _space_of(flow.pattern), flow.where
    _, priority, match = flow.key
    masks = tuple((term.field, term.mask) for term in match)
    return _Space(priority, (), masks), tuple(term.value for term in match)


@cache
def _space_of(pattern: Pattern) -> _Space:
    return _Space(pattern.priority, pattern.constants, tuple((field, None) for field in pattern.slots))


def _priority(found: tuple[int, AnyFlow]) -> int:
    return found[0]
