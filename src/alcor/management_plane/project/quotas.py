"""Quotas: what a project may have and what it has. A kind of which nothing was said has the default limit."""

from collections.abc import Mapping

import msgspec

from alcor.contracts.store import Store
from alcor.management_plane import settlement
from alcor.management_plane.caller import Caller
from alcor.management_plane.project.service import ProjectService
from alcor.model import errors, quota
from alcor.model.records import Project


class Quota(msgspec.Struct, frozen=True):
    """One kind of one project."""

    limit: int
    used: int


class QuotaService:
    """Shows and changes limits, which are the projects': `Project.quotas`."""

    def __init__(self, store: Store, projects: ProjectService) -> None:
        self._store = store
        self._projects = projects

    @property
    def defaults(self) -> Mapping[str, int]:
        """The limits by kind where nothing else was said."""
        return self._store.limits

    async def all(self) -> list[tuple[Project, dict[str, int]]]:
        """Give the projects with limits of their own, and all their limits."""
        return [(project, self._limits(project)) for project in await self._projects.all() if project.quotas]

    async def limits(self, project_id: str) -> dict[str, int]:
        """Give a project's limits by kind."""
        return self._limits(await self._projects.one(project_id))

    async def details(self, project_id: str) -> dict[str, Quota]:
        """Give a project's limits and how much of them is used."""
        used = await self._store.usage(project_id)
        return {kind: Quota(limit, used[kind]) for kind, limit in (await self.limits(project_id)).items()}

    async def change(
        self, caller: Caller, project_id: str, limits: Mapping[str, int], *, check: bool
    ) -> tuple[int, dict[str, int]]:
        """Set limits, the others stay; give the revision. Raises Invalid, if `check`, for less than is used."""

        async def attempt() -> tuple[int, dict[str, int]]:
            before = await self._projects.one(project_id)
            if check:
                _check_used(limits, await self._store.usage(project_id))
            own = dict(before.quotas) | dict(limits)
            revision, after = await self._projects.replace(
                caller, before, quotas=tuple((kind, own[kind]) for kind in sorted(own))
            )
            return revision, self._limits(after)

        return await settlement.settle(attempt)

    async def forget(self, caller: Caller, project_id: str) -> int:
        """Go back to the defaults. Raises Missing when the project has no limits of its own."""

        async def attempt() -> int:
            before = await self._projects.one(project_id)
            if not before.quotas:
                raise errors.Missing(
                    f"Quota for tenant {project_id} could not be found.", reason="TenantQuotaNotFound"
                )
            return (await self._projects.replace(caller, before, quotas=()))[0]

        return await settlement.settle(attempt)

    def _limits(self, project: Project) -> dict[str, int]:
        own = dict(project.quotas)
        return {kind: own.get(kind, limit) for kind, limit in self.defaults.items()}


def _check_used(limits: Mapping[str, int], used: Mapping[str, int]) -> None:
    for kind, limit in limits.items():
        if quota.is_over(used[kind], limit):
            raise errors.Invalid(
                f"Quota limit {limit} for {kind} must be greater than or equal to already used {used[kind]}"
            )
