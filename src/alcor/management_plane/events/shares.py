"""What others share with a follower of events, kept up to date by the events themselves. Pure."""

from collections import Counter
from collections.abc import Iterable, Set

from alcor.contracts.store import Change
from alcor.model.records import EVERYBODY, RbacPolicy


class Shares:
    """What is shared with a project, as far as its stream has come. Owner: the stream.

    Read when the stream begins, which may be further on in the log than the stream: what was taken back in
    between it does not know, but for the policy that ends.
    """

    def __init__(self, project_id: str, policies: Iterable[RbacPolicy] = ()) -> None:
        self._project_id = project_id
        self._objects: dict[str, str] = {}  # by policy
        self._policies: Counter[str] = Counter()  # by object
        for policy in policies:
            self._put(policy)

    def has(self, object_id: str) -> bool:
        """Is the object shared with the project now? O(1)."""
        return object_id in self._policies

    def reaches(self, policy: RbacPolicy) -> bool:
        """Does the policy share something with the project?"""
        return policy.target in (self._project_id, EVERYBODY)

    def left(self, change: Change) -> tuple[RbacPolicy, ...]:
        """Give the policies that a change gives another target, so that they reach the project no longer."""
        return tuple(
            policy
            for policy in change.puts.rbac_policies
            if policy.id in self._objects and not self.reaches(policy)
        )

    def ending(self, change: Change) -> Set[str]:
        """Name what was shared until this change: the objects of the policies that it removes."""
        return frozenset(policy.object_id for policy in change.deletes.rbac_policies if self.reaches(policy))

    def fold(self, change: Change) -> None:
        """Take note of a change. O(policies in it)."""
        for policy in change.puts.rbac_policies:
            self._drop(policy)
            self._put(policy)
        for policy in change.deletes.rbac_policies:
            self._drop(policy)

    def _put(self, policy: RbacPolicy) -> None:
        if self.reaches(policy):
            self._objects[policy.id] = policy.object_id
            self._policies[policy.object_id] += 1

    def _drop(self, policy: RbacPolicy) -> None:
        object_id = self._objects.pop(policy.id, None)
        if object_id is not None:
            self._policies[object_id] -= 1
            if not self._policies[object_id]:
                del self._policies[object_id]
