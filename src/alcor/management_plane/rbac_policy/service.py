"""RBAC policies: read, decide, commit."""

from collections.abc import Mapping, Sequence

from alcor.contracts.store import Exists, Guard, NotBorrowed, Query, Stale, Store, Taken, Write
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.rbac_policy import decisions
from alcor.management_plane.rbac_policy.decisions import PolicyFields
from alcor.model.records import (
    EVERYBODY,
    AddressScope,
    AnyRecord,
    Network,
    RbacPolicy,
    RecordSet,
    SubnetPool,
)
from alcor.runtime.clock import Clock, new_ids


class PolicyService:
    """Makes, changes and removes policies."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, caller: Caller, asks: Sequence[PolicyFields]) -> tuple[int, list[RbacPolicy]]:
        """Make policies, all or none; give the revision and the records in order."""
        ids = new_ids(len(asks))

        async def attempt() -> tuple[int, list[RbacPolicy]]:
            shared = await self._objects(caller, asks)
            now_us = self._clock.now_us()
            policies = [
                decisions.create(
                    fields, shared[str(fields.object_id)], caller, policy_id=policy_id, now_us=now_us
                )
                for fields, policy_id in zip(asks, ids, strict=True)
            ]
            revised, guards = self._revised(list(shared.values()))
            guards += await self._scope_guards(policies, shared)
            write = writes.making(
                caller,
                inserts=RecordSet(rbac_policies=tuple(policies)),
                updates=revised,
                guards=(
                    *guards,
                    *(Exists(decisions.kind_name(policy), policy.object_id) for policy in policies),
                ),
                within=("rbac_policy",),
            )
            return await self._commit(write), policies

        return await settlement.settle(attempt)

    async def update(
        self, caller: Caller, policy_id: str, fields: PolicyFields, *, expected: int | None
    ) -> tuple[int, RbacPolicy]:
        """Give a policy another target. Raises Conflict RbacPolicyInUse while the former one depends on it."""

        async def attempt() -> tuple[int, RbacPolicy]:
            before = await access.fetch_own(self._store, caller, RbacPolicy, policy_id, "update_rbac_policy")
            settlement.check_expected(before, expected)
            shared, others = await self._surroundings(before)
            decisions.check_owner(shared, caller)
            after = decisions.update(before, fields, caller, now_us=self._clock.now_us())
            revised, guards = self._revised([shared], rbac_policies=(after,))
            write = writes.changing(
                caller,
                before,
                updates=revised,
                guards=(
                    *guards,
                    *decisions.without(before, shared, others, instead=after.target),
                ),
            )
            return await self._commit(write, ends=before), after

        return await settlement.settle(attempt)

    async def delete(self, caller: Caller, policy_id: str, *, expected: int | None) -> int:
        """Remove a policy. Raises Conflict RbacPolicyInUse while a project depends on it."""

        async def attempt() -> int:
            policy = await access.fetch_own(self._store, caller, RbacPolicy, policy_id, "delete_rbac_policy")
            settlement.check_expected(policy, expected)
            shared, others = await self._surroundings(policy)
            revised, guards = self._revised([shared])
            write = writes.removing(
                caller,
                policy,
                updates=revised,
                deletes=RecordSet(rbac_policies=(policy,)),
                guards=(*guards, *decisions.without(policy, shared, others)),
            )
            return await self._commit(write, ends=policy)

        return await settlement.settle(attempt)

    async def _objects(self, caller: Caller, asks: Sequence[PolicyFields]) -> dict[str, AnyRecord]:
        """Read what is to be shared. Raises Missing for what the caller does not see."""
        shared: dict[str, AnyRecord] = {}
        for object_type in sorted({str(fields.object_type) for fields in asks}):
            ids = sorted({str(fields.object_id) for fields in asks if fields.object_type == object_type})
            shared |= await access.fetch(self._store, caller, decisions.OBJECTS[object_type], ids)
        return shared

    async def _scope_guards(
        self, policies: Sequence[RbacPolicy], shared: Mapping[str, AnyRecord]
    ) -> tuple[Guard, ...]:
        """Hold the policies on pools against those on the pools' scopes. Raises Conflict."""
        scope_of: dict[str, str] = {
            each.id: each.address_scope_id
            for each in shared.values()
            if isinstance(each, SubnetPool) and each.address_scope_id is not None
        }
        if not scope_of:
            return ()
        ids = sorted(set(scope_of.values()))
        targets = sorted({EVERYBODY, *(policy.target for policy in policies)})
        query = Query(where={"object_id": ids, "target": targets})
        on_scopes = await self._store.select(RbacPolicy, query)
        scopes = await self._store.get(AddressScope, ids)
        found: list[Guard] = []
        for policy in policies:
            scope = scopes.get(scope_of.get(policy.object_id, ""))
            found += decisions.scope_guard(policy, scope, on_scopes)
        return tuple(found)

    async def _surroundings(self, policy: RbacPolicy) -> tuple[AnyRecord, list[RbacPolicy]]:
        """Read the policy's object and what else may let others use it."""
        found = await self._store.get(decisions.OBJECTS[policy.object_type], [policy.object_id])
        if not found:  # it went, and the policy with it, since the policy was read
            raise access.missing(RbacPolicy, policy.id)
        where: dict[str, tuple[str, ...]] = {"object_id": (policy.object_id,)}
        if policy.target != EVERYBODY:
            where["target"] = (EVERYBODY,)
        others = await self._store.select(RbacPolicy, Query(where=where))
        return found[policy.object_id], [other for other in others if other.id != policy.id]

    def _revised(
        self, shared: Sequence[AnyRecord], *, rbac_policies: tuple[RbacPolicy, ...] = ()
    ) -> tuple[RecordSet, tuple[Guard, ...]]:
        """Give the networks among the objects a revision with their policies, as in Neutron; no others."""
        networks = [each for each in shared if isinstance(each, Network)]
        now_us = self._clock.now_us()
        updates = RecordSet(
            networks=tuple(settlement.revised(each, now_us) for each in networks), rbac_policies=rbac_policies
        )
        return updates, writes.unchanged(networks)

    async def _commit(self, write: Write, *, ends: RbacPolicy | None = None) -> int:
        try:
            return await self._store.commit(write)
        except Taken as taken:
            if taken.constraint != "policy":
                raise
            raise decisions.duplicate() from taken
        except Stale as stale:
            if ends is not None and isinstance(stale.guard, NotBorrowed):
                raise decisions.in_use(ends) from stale
            raise
