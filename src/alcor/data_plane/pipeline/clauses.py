"""Clauses of conjunctions: OpenFlow holds one flow for each match, so those with the same match become one."""

from collections.abc import Iterable

from alcor.data_plane.pipeline.flow import AnyFlow, Conjunction, Flow, PatternFlow

BETWEEN_ORIGINS = "; "


def is_clause(flow: AnyFlow) -> bool:
    """Is the flow there for conjunctions? They are all of its actions then."""
    actions = flow.actions
    return bool(actions) and isinstance(actions[0], Conjunction)


def merged(clauses: Iterable[AnyFlow]) -> AnyFlow:
    """Make one flow of clauses that have the same key, whatever their order. O(conjunctions).

    Those of a pattern stay of it: the numbers of its actions are those of the conjunctions.
    """
    ordered = sorted(clauses, key=_order)
    first = ordered[0]
    if len(ordered) == 1:
        return first
    origins = dict.fromkeys(origin for flow in ordered for origin in flow.origin.split(BETWEEN_ORIGINS))
    origin = BETWEEN_ORIGINS.join(origins)
    if isinstance(first, PatternFlow):
        numbers = sorted({it for flow in ordered if isinstance(flow, PatternFlow) for it in flow.what})
        kind, _, name = origin.partition(" ")
        return PatternFlow(first.pattern, first.where, tuple(numbers), kind, name)
    conjunctions = sorted({conjunction for flow in ordered for conjunction in _conjunctions(flow)})
    return Flow(first.key, tuple(Conjunction(*conjunction) for conjunction in conjunctions), origin)


def _order(flow: AnyFlow) -> tuple[list[tuple[int, int, int]], str]:
    return _conjunctions(flow), flow.origin


def _conjunctions(flow: AnyFlow) -> list[tuple[int, int, int]]:
    return [(it.id, it.clause, it.clauses) for it in flow.actions if isinstance(it, Conjunction)]
