"""Clauses of many contributors, merged by match: OpenFlow holds one flow for each match."""

from collections.abc import Sequence

from alcor.data_plane.pipeline import security
from alcor.data_plane.pipeline.flow import Flow, FlowKey
from alcor.data_plane.pipeline.security import Clause
from alcor.data_plane.pipeline.units import Unit


class ClauseIndex:
    """Owns who contributes which clause, and gives the merged flows of the matches that changed."""

    def __init__(self) -> None:
        self._given: dict[Unit, Sequence[Clause]] = {}
        self._at: dict[FlowKey, dict[tuple[tuple[int, int, int], str], int]] = {}
        self._touched: set[FlowKey] = set()

    def replace(self, contributor: Unit, clauses: Sequence[Clause]) -> None:
        """Give a contributor its new clauses (none: forget it)."""
        held = self._given.pop(contributor, ())
        if clauses:
            self._given[contributor] = clauses
        if held == clauses:
            return
        for clause in held:
            self._count(clause, -1)
        for clause in clauses:
            self._count(clause, 1)

    def render(self) -> dict[Unit, list[Flow]]:
        """Give the flows of all matches touched since the last call."""
        rendered: dict[Unit, list[Flow]] = {}
        for key in self._touched:
            wanted = self._at.get(key)
            rendered["clause", key] = [security.clause_flow(key, wanted)] if wanted else []
        self._touched.clear()
        return rendered

    def _count(self, clause: Clause, change: int) -> None:
        wanted = self._at.setdefault(clause.key, {})
        entry = (clause.conjunction, clause.origin)
        wanted[entry] = wanted.get(entry, 0) + change
        if wanted[entry] == 0:
            del wanted[entry]
            if not wanted:
                del self._at[clause.key]
        self._touched.add(clause.key)
