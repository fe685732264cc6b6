"""One flow table: tuple space search, and conjunctions as Open vSwitch has them (ovs-actions(7)).

Flows with the same mask set live in one hash table, so that a lookup costs the number of mask sets, not of
flows: a host has dozens of the one and tens of thousands of the other.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from alcor.data_plane.pipeline.flow import Conjunction, Field, Flow, FlowKey, Match

_Masks: TypeAlias = tuple[tuple[Field, int | None], ...]
_Values: TypeAlias = tuple[int, ...]


class Decision(NamedTuple):
    """The flow that a table applies, and the clauses when a conjunction led to it."""

    flow: Flow
    clauses: tuple[Flow, ...] = ()


class Classifier:
    """Owns the flows of one table."""

    def __init__(self) -> None:
        self._spaces: dict[_Masks, dict[_Values, dict[int, Flow]]] = {}

    def install(self, flow: Flow) -> None:
        """Add a flow, replacing the one with the same key."""
        masks, values = _split(flow.key.match)
        self._spaces.setdefault(masks, {}).setdefault(values, {})[flow.key.priority] = flow

    def remove(self, key: FlowKey) -> None:
        """Take a flow away, if it is there."""
        masks, values = _split(key.match)
        space = self._spaces.get(masks)
        if space is None or values not in space:
            return
        space[values].pop(key.priority, None)
        if not space[values]:
            del space[values]
            if not space:
                del self._spaces[masks]

    def flows(self) -> list[Flow]:
        """Give all flows, in no order."""
        return [flow for space in self._spaces.values() for found in space.values() for flow in found.values()]

    def look_up(self, packet: Mapping[Field, int]) -> Decision | None:
        """Find the flow for a packet: O(mask sets)."""
        hard: Flow | None = None
        soft: dict[int, list[Flow]] = {}
        for flow in self._matching(packet):
            if flow.actions and isinstance(flow.actions[0], Conjunction):
                soft.setdefault(flow.key.priority, []).append(flow)
            elif hard is None or flow.key.priority > hard.key.priority:
                hard = flow
        floor = -1 if hard is None else hard.key.priority
        for priority in sorted(soft, reverse=True):
            if priority <= floor:
                break
            for number, clauses in _satisfied(soft[priority]):
                found = self._hard({**packet, Field.CONJ_ID: number})
                if found is not None:
                    return Decision(found, clauses)
        return None if hard is None else Decision(hard)

    def _hard(self, packet: Mapping[Field, int]) -> Flow | None:
        flows = (
            flow
            for flow in self._matching(packet)
            if not (flow.actions and isinstance(flow.actions[0], Conjunction))
        )
        return max(flows, key=_priority, default=None)

    def _matching(self, packet: Mapping[Field, int]) -> list[Flow]:
        found: list[Flow] = []
        for masks, space in self._spaces.items():
            values = []
            for name, mask in masks:
                value = packet.get(name)
                if value is None:
                    break
                values.append(value if mask is None else value & mask)
            else:
                found.extend(space.get(tuple(values), {}).values())
        return found


def _satisfied(flows: list[Flow]) -> list[tuple[int, tuple[Flow, ...]]]:
    """Name the conjunctions of which every clause is there, ascending, with these clauses."""
    seen: dict[int, dict[int, Flow]] = {}
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


def _split(match: Match) -> tuple[_Masks, _Values]:
    return (
        tuple((term.field, term.mask) for term in match),
        tuple(term.value for term in match),
    )


def _priority(flow: Flow) -> int:
    return flow.key.priority
