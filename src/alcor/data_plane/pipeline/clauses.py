"""Clauses of conjunctions: OpenFlow holds one flow for each match, so those with the same match become one."""

from collections.abc import Iterable

from alcor.data_plane.pipeline.flow import AnyFlow, Conjunction, Flow

BETWEEN_ORIGINS = "; "


def is_clause(flow: AnyFlow) -> bool:
    """Is the flow there for conjunctions? They are all of its actions then."""
    actions = flow.actions
    return bool(actions) and isinstance(actions[0], Conjunction)


def merged(clauses: Iterable[AnyFlow]) -> AnyFlow:
    """Make one flow of clauses that have the same key, whatever their order. O(conjunctions)."""
    ordered = sorted(clauses, key=_order)
    if len(ordered) == 1:
        return ordered[0]
    conjunctions = sorted({conjunction for flow in ordered for conjunction in _conjunctions(flow)})
    origins = dict.fromkeys(origin for flow in ordered for origin in flow.origin.split(BETWEEN_ORIGINS))
    actions = tuple(Conjunction(*conjunction) for conjunction in conjunctions)
    return Flow(ordered[0].key, actions, BETWEEN_ORIGINS.join(origins))


def _order(flow: AnyFlow) -> tuple[list[tuple[int, int, int]], str]:
    return _conjunctions(flow), flow.origin


def _conjunctions(flow: AnyFlow) -> list[tuple[int, int, int]]:
    return [(it.id, it.clause, it.clauses) for it in flow.actions if isinstance(it, Conjunction)]
