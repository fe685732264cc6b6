"""Quotas as rows: one counter for each project and kind, moved in the commit that makes or removes records.

No counter is touched by anybody who does not hold the revision's row, so that none is a lock of its own: what
serialises commits already serialises these (docs/decisions/0012-quotas.md).
"""

from collections import defaultdict
from collections.abc import Sequence

import asyncpg

from alcor.adapters.postgres.rows import Encoded
from alcor.contracts import quota_use
from alcor.contracts.quota_use import Use
from alcor.contracts.store import OverQuota
from alcor.model import quota
from alcor.model.records import Project

ADD = "ON CONFLICT (project_id, kind) DO UPDATE SET used = q.used + excluded.used"
_COUNT = f"""
INSERT INTO quotas AS q (project_id, kind, used)
SELECT * FROM unnest($1::text[], $2::text[], $3::int8[]) {ADD} RETURNING project_id, kind, used, ceiling
"""
_FORGET_CEILINGS = """
UPDATE quotas SET ceiling = NULL WHERE project_id = ANY($1::text[]) AND ceiling IS NOT NULL
"""
_SET_CEILINGS = """
INSERT INTO quotas AS q (project_id, kind, used, ceiling)
SELECT it.project_id, it.kind, 0, it.ceiling FROM unnest($1::text[], $2::text[], $3::int8[])
    AS it(project_id, kind, ceiling)
ON CONFLICT (project_id, kind) DO UPDATE SET ceiling = excluded.ceiling
"""


def arrays(uses: Sequence[Use]) -> tuple[list[str], list[str], list[int], list[int | None]]:
    """Give the uses as a statement takes them."""
    return (
        [use.project_id for use in uses],
        [use.kind for use in uses],
        [use.count for use in uses],
        [use.ceiling for use in uses],
    )


def over(first: int) -> str:
    """Name the uses that go beyond a quota, as FROM and WHERE. `first`: the place of the first of `arrays`."""
    places = ", ".join(
        f"${first + number}::{type_}[]" for number, type_ in enumerate(("text", "text", "int8", "int8"))
    )
    # One look-up by primary key for each use, whatever the planner thinks of the arrays' size.
    return f"""
FROM unnest({places}) AS it(project_id, kind, count, ceiling)
WHERE it.ceiling IS NOT NULL AND NOT COALESCE((
    SELECT COALESCE(q.ceiling, it.ceiling) < 0 OR q.used + it.count <= COALESCE(q.ceiling, it.ceiling)
    FROM quotas q WHERE q.project_id = it.project_id AND q.kind = it.kind
), it.ceiling < 0 OR it.count <= it.ceiling)"""


_OVER = f"SELECT it.project_id, it.kind {over(1)}"


async def refuse_early(session: asyncpg.Connection, batch: Sequence[Encoded]) -> None:
    """Raise OverQuota if it can be seen already: before thousands of rows are written in vain."""
    uses = quota_use.together(use for one in batch for use in one.uses)
    if any(use.ceiling is not None for use in uses):
        _refuse([(row[0], row[1]) for row in await session.fetch(_OVER, *arrays(uses))])


async def count(session: asyncpg.Connection, batch: Sequence[Encoded]) -> None:
    """Move the counters. Raises OverQuota; the revision's row must be held."""
    uses = quota_use.together(use for one in batch for use in one.uses)
    if not uses:
        return
    ceilings = {(use.project_id, use.kind): use.ceiling for use in uses}
    over_quota = []
    for project_id, kind, used, own in await session.fetch(_COUNT, *arrays(uses)[:3]):
        ceiling = ceilings[project_id, kind]
        if ceiling is not None and quota.is_over(used, ceiling if own is None else own):
            over_quota.append((project_id, kind))
    _refuse(over_quota)


async def follow_projects(session: asyncpg.Connection, batch: Sequence[Encoded]) -> None:
    """Keep the ceilings as the projects' records say. The revision's row must be held."""
    puts: dict[str, Project] = {}
    for one in batch:
        for part in (one.inserts, one.updates):
            puts |= {
                project.id: project
                for project in part.get(Project, ((), ()))[0]
                if isinstance(project, Project)
            }
    gone = {record.id for one in batch for record in one.deletes.get(Project, ())}
    if not puts and not gone:
        return
    await session.execute(_FORGET_CEILINGS, sorted({*puts, *gone}))
    rows = [(project.id, kind, limit) for project in puts.values() for kind, limit in project.quotas]
    if rows:
        await session.execute(_SET_CEILINGS, *(list(values) for values in zip(*rows, strict=True)))


def _refuse(over_quota: Sequence[tuple[str, str]]) -> None:
    by_project: dict[str, list[str]] = defaultdict(list)
    for project_id, kind in over_quota:
        by_project[project_id].append(kind)
    if by_project:
        project_id = min(by_project)
        raise OverQuota(project_id, tuple(sorted(by_project[project_id])))
