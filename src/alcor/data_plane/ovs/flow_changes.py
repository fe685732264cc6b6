"""Changes of flows that are made of others. Pure."""

from collections.abc import Sequence
from itertools import chain

from alcor.data_plane.pipeline.flow import AnyFlow, FlowChange, FlowKey
from alcor.data_plane.pipeline.program import FlowProgram


def joined(changes: Sequence[FlowChange]) -> FlowChange:
    """Make one change of several in a row: what comes later decides about a key."""
    first: dict[FlowKey, AnyFlow | None] = {}
    last: dict[FlowKey, AnyFlow | None] = {}
    for change in changes:
        came = {flow.key: flow for flow in change.install}
        gone = {flow.key: flow for flow in chain(change.remove, change.replaced)}
        for key in gone | came:
            first.setdefault(key, gone.get(key))
            last[key] = came.get(key)
    joined = FlowChange([], [], [])
    for key, held in first.items():
        joined.follow(held, last[key])
    return joined


def with_refused(change: FlowChange, refused: Sequence[FlowKey], program: FlowProgram) -> FlowChange:
    """Try flows again that the switch refused: the program takes them for installed."""
    if not refused:
        return change
    wanted, named = program.flows, {flow.key for flow in change.install}
    again = [wanted[key] for key in refused if key in wanted and key not in named]
    return change._replace(install=[*change.install, *again])
