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


def with_refused(change: FlowChange, refused: Sequence[AnyFlow], program: FlowProgram) -> FlowChange:
    """Try flows again that the switch refused: the program takes them for installed. O(change, refused)."""
    if not refused:
        return change
    named = {flow.key for flow in change.install}
    wanted = (program.wanted_instead(flow) for flow in refused if flow.key not in named)
    return change._replace(install=[*change.install, *(flow for flow in wanted if flow is not None)])
