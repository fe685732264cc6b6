"""What a write takes of its projects' quotas, the same for all stores. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from alcor.contracts import columns
from alcor.contracts.store import Write
from alcor.model.records import KINDS


class Use(msgspec.Struct, frozen=True):
    """How many more records of a kind a project has after a write; fewer: negative.

    `ceiling`: the default limit to hold the project to, if the operator set no other; None: only counted.
    """

    project_id: str
    kind: str
    count: int
    ceiling: int | None


def of_write(write: Write, limits: Mapping[str, int]) -> tuple[Use, ...]:
    """Give what a write takes and gives back, by project and kind in order. O(records).

    `limits`: by default, for every kind that is counted.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for records, sign in ((write.inserts, 1), (write.deletes, -1)):
        for kind, group in zip(KINDS, columns.groups(records), strict=True):
            if group and kind in limits:
                for project_id, number in Counter([record.project_id for record in group]).items():
                    counts[project_id, kind] += sign * number
    return tuple(
        Use(project_id, kind, count, limits[kind] if count > 0 and kind in write.within else None)
        for (project_id, kind), count in sorted(counts.items())
        if count
    )


def together(uses: Iterable[Use]) -> list[Use]:
    """Add up what several writes take, by project and kind in order."""
    added: dict[tuple[str, str], Use] = {}
    for use in uses:
        key = (use.project_id, use.kind)
        before = added.get(key)
        if before is not None:
            ceiling = use.ceiling if before.ceiling is None else before.ceiling
            use = Use(use.project_id, use.kind, before.count + use.count, ceiling)
        added[key] = use
    return [added[key] for key in sorted(added)]
