"""The flows of all units, and what one change of some units does to the switch.

A unit is what is rendered together: a placement, a port, an interface, a clause. Its flows are any collection
that gives the same each time: those of placements, which are many, are made anew whenever they are looked at.
Two units may claim one flow key for a moment (an address moved from port to port and only half of it is known):
the smallest unit has it, whatever the order of arrival, so that the outcome depends on the state alone. Clauses
of conjunctions may have a match in common for as long as they like: they are merged.

Claims are kept by the identity of a key, a hash: keys are large, and many. Should two keys share one, they are
looked at together, and each is settled by itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from alcor.data_plane.pipeline.clauses import is_clause, merged
from alcor.data_plane.pipeline.flow import AnyFlow, FlowChange, FlowKey, Pattern, PatternFlow

Unit: TypeAlias = tuple[Any, ...]  # the kind's name, then what tells it from others of its kind; sortable in it
_Claims: TypeAlias = dict[FlowKey, dict[Unit, AnyFlow]]


class FlowUnits:
    """Owns what the wanted flows are made of, and knows which unit each comes from."""

    def __init__(self) -> None:
        self._units: dict[Unit, Iterable[AnyFlow]] = {}
        self._claims: dict[
            int, Unit | list[Unit]
        ] = {}  # identity -> the unit; a list where there may be several
        self._contested: set[int] = set()  # identities with a list

    def __iter__(self) -> Iterator[AnyFlow]:
        """Give the flows that are wanted, one for each key. O(flows)."""
        for flows in self._units.values():
            for flow in flows:
                if not self._contested or flow.identity not in self._contested:
                    yield flow
        claims: _Claims = {}
        for identity in self._contested:
            self._add_claims(claims, identity)
        yield from map(_in_force, claims.values())

    def instead(self, flow: AnyFlow) -> AnyFlow | None:
        """Give the flow that is wanted under the key of this one. O(flows of the units that claim it)."""
        claims: _Claims = {}
        self._add_claims(claims, flow.identity)
        return _in_force(claims[flow.key]) if flow.key in claims else None

    def find(self, pattern: Pattern, *where: int) -> PatternFlow | None:
        """Give the flow of a pattern that matches on these numbers. O(flows of its unit)."""
        claims: _Claims = {}
        self._add_claims(claims, pattern.identity(*where))
        for by_unit in claims.values():
            flow = _in_force(by_unit)
            if isinstance(flow, PatternFlow) and flow.pattern is pattern and flow.where == where:
                return flow
        return None

    def replace(self, rendered: Mapping[Unit, Iterable[AnyFlow]]) -> FlowChange:
        """Give units their new flows (an empty list: forget the unit). O(flows of these units).

        Nothing is installed for a flow that only changed its origin.
        """
        before = {unit: self._units.pop(unit) for unit in rendered if unit in self._units}
        held: dict[int, AnyFlow] = {}  # in force until now, and not yet again
        disputed: dict[int, None] = {}
        for unit, flows in before.items():
            for flow in flows:
                claim = self._claims.pop(flow.identity)
                if isinstance(claim, list):
                    claim.remove(unit)
                    self._claims[flow.identity] = claim
                    disputed[flow.identity] = None
                else:
                    held[flow.identity] = flow
        change = FlowChange([], [], [])
        install, claims = change.install, self._claims  # bound: all flows of a host may pass here
        for unit, flows in rendered.items():
            if not flows:
                continue
            self._units[unit] = flows
            for flow in flows:
                identity = flow.identity
                old = held.get(identity) if held else None
                if identity in claims or (old is not None and not _share_key(old, flow)):
                    claims[identity] = [unit, *self._claimants(identity)]
                    disputed[identity] = None
                    continue
                claims[identity] = unit
                if old is None:
                    install.append(flow)
                else:
                    change.follow(old, flow)
                    del held[identity]
        change.remove.extend(held.values())
        return self._settle(change, before, rendered, disputed) if disputed else change

    def _settle(
        self,
        change: FlowChange,
        before: Mapping[Unit, Iterable[AnyFlow]],
        rendered: Mapping[Unit, Iterable[AnyFlow]],
        disputed: Mapping[int, None],
    ) -> FlowChange:
        """Let the smallest unit win each disputed key. Rare, so it may start over for these keys."""
        settled = FlowChange(*([flow for flow in flows if flow.identity not in disputed] for flows in change))
        was: _Claims = {}
        now: _Claims = {}
        for unit, flows in before.items():
            for flow in flows:
                if flow.identity in disputed:
                    was.setdefault(flow.key, {})[unit] = flow
        for identity in disputed:
            self._add_claims(now, identity)
            self._note_contest(identity)
        for key, by_unit in now.items():
            for unit, flow in by_unit.items():
                if unit not in rendered:
                    was.setdefault(key, {})[unit] = flow
        for key in was | now:
            settled.follow(
                _in_force(was[key]) if key in was else None, _in_force(now[key]) if key in now else None
            )
        return settled

    def _add_claims(self, claims: _Claims, identity: int) -> None:
        for unit in self._claimants(identity):
            for flow in self._units[unit]:
                if flow.identity == identity:
                    claims.setdefault(flow.key, {})[unit] = flow

    def _claimants(self, identity: int) -> Sequence[Unit]:
        claim = self._claims.get(identity, [])
        return claim if isinstance(claim, list) else [claim]

    def _note_contest(self, identity: int) -> None:
        """Keep a list of units only where there are several."""
        claim = self._claims[identity]
        assert isinstance(claim, list), "disputed"
        if len(claim) > 1:
            self._contested.add(identity)
            return
        self._contested.discard(identity)
        if claim:
            self._claims[identity] = claim.pop()
        else:
            del self._claims[identity]


def _share_key(one: AnyFlow, other: AnyFlow) -> bool:
    if isinstance(one, PatternFlow) and isinstance(other, PatternFlow):
        return one.pattern is other.pattern and one.where == other.where
    return one.key == other.key


def _in_force(by_unit: Mapping[Unit, AnyFlow]) -> AnyFlow:
    smallest = by_unit[min(by_unit)]
    return merged(by_unit.values()) if is_clause(smallest) else smallest
