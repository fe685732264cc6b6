"""Projects: read, decide, commit. A project without a record has the defaults."""

import msgspec

from alcor.contracts.store import Query, Store, Taken, Unchanged, Write
from alcor.management_plane import settlement
from alcor.management_plane.caller import Caller
from alcor.model.ids import ProjectId
from alcor.model.records import Project, RecordSet
from alcor.runtime.clock import Clock


class ProjectService:
    """Keeps what the operator says of tenants."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def all(self) -> list[Project]:
        """Give the projects that something was said of."""
        return await self._store.select(Project, Query())

    async def one(self, project_id: str) -> Project:
        """Give a project; the defaults when nothing was said of it."""
        stored = (await self._store.get(Project, [project_id])).get(project_id)
        return stored or _default(ProjectId(project_id))

    async def set_priority(
        self, caller: Caller, project_id: str, priority: int, *, expected: int | None
    ) -> tuple[int, Project]:
        """Say whose hosts go first; give the revision that holds it."""

        async def attempt() -> tuple[int, Project]:
            before = await self.one(project_id)
            settlement.check_expected(before, expected)
            return await self.replace(caller, before, priority=priority)

        return await settlement.settle(attempt)

    async def replace(self, caller: Caller, before: Project, **changes: object) -> tuple[int, Project]:
        """Say something of a project as it was read. Raises Stale, Again: to be read again."""
        after = settlement.revised(before, self._clock.now_us(), **changes)
        try:
            return await self._store.commit(_write(caller, before, after)), after
        except Taken as taken:
            raise settlement.Again from taken  # another said something of it meanwhile


def _default(project_id: ProjectId) -> Project:
    return Project(id=project_id, project_id=project_id)


def _write(caller: Caller, before: Project, after: Project) -> Write:
    if before.revision_number:
        return Write(
            request_id=caller.request_id,
            actor=caller.actor,
            project_id=after.project_id,
            updates=RecordSet(projects=(after,)),
            guards=(Unchanged("project", after.id, before.revision_number),),
        )
    new = msgspec.structs.replace(after, created_at=after.updated_at)
    return Write(
        request_id=caller.request_id,
        actor=caller.actor,
        project_id=after.project_id,
        inserts=RecordSet(projects=(new,)),
    )
