"""The flows of all units, and what one change of some units does to the switch.

A unit is what is rendered together: a placement, a port, an interface, a clause. Two units may claim one flow
key for a moment (an address moved from port to port and only half of it is known): the smallest unit has it,
whatever the order of arrival, so that the outcome depends on the state alone.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from alcor.data_plane.pipeline.flow import Flow, FlowChange, FlowKey

Unit: TypeAlias = tuple[Any, ...]  # the kind's name, then what tells it from others of its kind; sortable in it


class FlowUnits:
    """Owns the wanted flows and knows which unit each comes from."""

    def __init__(self) -> None:
        self._flows: dict[FlowKey, Flow] = {}
        self._owner: dict[FlowKey, Unit] = {}
        self._units: dict[Unit, list[Flow]] = {}
        self._contested: dict[FlowKey, dict[Unit, Flow]] = {}

    @property
    def flows(self) -> Mapping[FlowKey, Flow]:
        return self._flows

    def replace(self, rendered: Mapping[Unit, list[Flow]]) -> FlowChange:
        """Give units their new flows (none: forget the unit). O(flows of these units).

        Nothing is installed for a flow that only changed its origin.
        """
        before: dict[FlowKey, Flow] = {}
        for unit in rendered:
            for flow in self._units.pop(unit, ()):
                self._withdraw(unit, flow.key, before)
        install: list[Flow] = []
        disputed: set[FlowKey] = {key for key in before if key in self._contested}
        for unit, flows in rendered.items():
            if flows:
                self._units[unit] = flows
            for flow in flows:
                key = flow.key
                if self._flows.setdefault(key, flow) is not flow or key in disputed:
                    self._contest(unit, flow, before)
                    disputed.add(key)
                    continue
                self._owner[key] = unit
                held = before.pop(key, None) if before else None
                if held is None or held.actions != flow.actions:
                    install.append(flow)
        if disputed:
            return self._settle(install, before, disputed)
        return FlowChange(install, list(before))

    def _withdraw(self, unit: Unit, key: FlowKey, before: dict[FlowKey, Flow]) -> None:
        claims = self._contested.get(key)
        if claims is not None:
            claims.pop(unit, None)
        if self._owner.get(key) == unit:
            before[key] = self._flows.pop(key)
            del self._owner[key]

    def _contest(self, unit: Unit, flow: Flow, before: dict[FlowKey, Flow]) -> None:
        """Note a claim on a key that another unit has, or had until now."""
        key = flow.key
        claims = self._contested.setdefault(key, {})
        owner = self._owner.get(key)
        if owner is not None:
            claims.setdefault(owner, self._flows[key])
            before.setdefault(key, self._flows[key])
        claims[unit] = flow

    def _settle(self, install: list[Flow], before: dict[FlowKey, Flow], disputed: set[FlowKey]) -> FlowChange:
        """Let the smallest unit win each disputed key. Rare, so it may start over for these keys."""
        settled = [flow for flow in install if flow.key not in disputed]
        fresh = {flow.key for flow in install} & disputed  # was not there before this change
        for key in sorted(disputed):
            claims = self._contested[key]
            held = None if key in fresh else before.pop(key, None)
            before.pop(key, None)
            self._flows.pop(key, None)
            self._owner.pop(key, None)
            if claims:
                unit = min(claims)
                self._flows[key] = claims[unit]
                self._owner[key] = unit
                if held is None or held.actions != claims[unit].actions:
                    settled.append(claims[unit])
            elif held is not None:
                before[key] = held
            if len(claims) < 2:
                del self._contested[key]
        return FlowChange(settled, list(before))
