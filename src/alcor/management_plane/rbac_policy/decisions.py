"""What may be shared with whom, and when that may end. Pure."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.contracts.store import Guard, NotBorrowed
from alcor.management_plane import access, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.settlement import revised
from alcor.model import errors
from alcor.model.ids import PolicyId, ProjectId
from alcor.model.records import (
    ACCESS_AS_SHARED,
    EVERYBODY,
    KIND_OF,
    AddressGroup,
    AddressScope,
    AnyRecord,
    Network,
    RbacPolicy,
    SecurityGroup,
    SubnetPool,
)

# Kinds of objects that policies share, as clients name them. `columns.SHARED_BY` has them, too.
OBJECTS: dict[str, type[AnyRecord]] = {
    "network": Network,
    "security_group": SecurityGroup,
    "subnetpool": SubnetPool,
    "address_scope": AddressScope,
    "address_group": AddressGroup,
}
PROJECT_LENGTH_MAX = 255


class PolicyFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a policy. UNSET: not said. `target_tenant` is Neutron's older name."""

    object_type: str | UnsetType = UNSET
    object_id: str | UnsetType = UNSET
    action: str | UnsetType = UNSET
    target_tenant: str | UnsetType = UNSET
    target_project: str | UnsetType = UNSET
    project_id: str | UnsetType = UNSET

    @property
    def target(self) -> str | UnsetType:
        """Give whom the client names, by whichever name. Raises Invalid when the two disagree."""
        if self.target_tenant is UNSET or self.target_project in (UNSET, self.target_tenant):
            return self.target_project if self.target_tenant is UNSET else self.target_tenant
        raise errors.Invalid("'target_project' and 'target_tenant' do not match")


def create(
    fields: PolicyFields, shared: AnyRecord, caller: Caller, *, policy_id: str, now_us: int
) -> RbacPolicy:
    """Make the record of a new policy on an object that the caller sees. Raises Invalid."""
    object_type = str(fields.object_type)
    _check_action(str(fields.action), object_type)
    target = fields.target
    if target is UNSET:
        raise errors.Invalid("Failed to parse request. Required attribute 'target_tenant' not specified")
    check_owner(shared, caller)
    _check_target(target, caller, "create")
    return made(
        object_type,
        shared,
        target,
        project_id=caller.project_id if fields.project_id is UNSET else fields.project_id,
        policy_id=policy_id,
        now_us=now_us,
    )


def made(
    object_type: str, shared: AnyRecord, target: str, *, project_id: str, policy_id: str, now_us: int
) -> RbacPolicy:
    """Make the record of a new policy."""
    return RbacPolicy(
        id=PolicyId(policy_id),
        project_id=ProjectId(project_id),
        object_type=object_type,
        object_id=shared.id,
        target=target,
        action=ACCESS_AS_SHARED,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )


def scope_guard(
    policy: RbacPolicy, scope: AddressScope | None, policies: Sequence[RbacPolicy]
) -> tuple[Guard, ...]:
    """Name what must hold for a pool to be shared: its target may use the pool's scope. Raises Conflict.

    `policies`: those on scopes.
    """
    if scope is None or policy.target == scope.project_id:
        return ()
    for other in policies:
        if other.object_id == scope.id and other.target in (policy.target, EVERYBODY):
            return writes.unchanged([other])
    raise errors.Conflict(
        f"Failed to create RBAC policy on object {policy.object_id} because target project doesn't have access "
        "to associated address scope.",
        reason="RbacPolicyInitError",
    )


def opening(shared: AnyRecord, policy_id: str, now_us: int) -> RbacPolicy:
    """Make the policy that shares an object with everybody: `shared` is a view of it."""
    return made(
        object_type_of(type(shared)),
        shared,
        EVERYBODY,
        project_id=shared.project_id,
        policy_id=policy_id,
        now_us=now_us,
    )


def update(policy: RbacPolicy, fields: PolicyFields, caller: Caller, *, now_us: int) -> RbacPolicy:
    """Give the policy with the target that the client wants. Raises Invalid."""
    target = fields.target
    if target is UNSET:
        return revised(policy, now_us)
    _check_target(target, caller, "update")
    return revised(policy, now_us, target=target)


def check_owner(shared: AnyRecord, caller: Caller) -> None:
    """Raise Invalid unless the object is the caller's to share."""
    if not caller.owns(shared):
        what = "networks" if isinstance(shared, Network) else "objects"
        raise errors.Invalid(
            f"Invalid input for operation: Only admins can manipulate policies on {what} they do not own.",
            reason="InvalidInput",
        )


def without(
    policy: RbacPolicy, shared: AnyRecord, others: Sequence[RbacPolicy], *, instead: str = ""
) -> tuple[Guard, ...]:
    """Name what must hold for a policy to end: nobody uses the object who may not do so by another one.

    `others`: the other policies on the object; where the policy is for one project, those for everybody are
    enough. `instead`: the target that the policy has from now on.
    """
    if instead == EVERYBODY or policy.target in (instead, shared.project_id):
        return ()
    for other in others:
        if other.target == EVERYBODY:
            return writes.unchanged([other])
    if policy.target != EVERYBODY:
        return (NotBorrowed(shared.id, policy.target),)
    allowed = sorted({instead, shared.project_id, *(other.target for other in others)} - {""})
    return (*writes.unchanged(others), NotBorrowed(shared.id, EVERYBODY, tuple(allowed)))


def in_use(policy: RbacPolicy) -> errors.Conflict:
    """Make the error for a policy that may not end yet."""
    details = f"project_id={policy.target}"
    if OBJECTS[policy.object_type] is Network:
        details = sharing_in_use(policy.object_id).message
    return errors.Conflict(
        f"RBAC policy on object {policy.object_id} cannot be removed because other objects depend on it.\n"
        f"Details: {details}",
        reason="RbacPolicyInUse",
    )


def sharing_in_use(network_id: str) -> errors.Conflict:
    """Make the error for a network that others use."""
    return errors.Conflict(
        f"Unable to reconfigure sharing settings for network {network_id}. Multiple projects are using it.",
        reason="InvalidSharedSetting",
    )


def duplicate() -> errors.Conflict:
    """Make the error for a policy that there is."""
    return errors.Conflict("An RBAC policy already exists with those values.", reason="DuplicateRbacPolicy")


def object_type_of(kind: type[AnyRecord]) -> str:
    """Give what clients call a kind that can be shared."""
    return next(name for name, shared in OBJECTS.items() if shared is kind)


def kind_name(policy: RbacPolicy) -> str:
    """Give what the store calls the kind of a policy's object."""
    return KIND_OF[OBJECTS[policy.object_type]]


def _check_action(action: str, object_type: str) -> None:
    if action != ACCESS_AS_SHARED:
        why = " External networks are not supported yet." if action == "access_as_external" else ""
        raise errors.Invalid(
            f"Invalid action '{action}' for object type '{object_type}'. "
            f"Valid actions: ('{ACCESS_AS_SHARED}',).{why}",
            reason="InvalidActionForType",
        )


def _check_target(target: str, caller: Caller, verb: str) -> None:
    if target == EVERYBODY and not caller.is_admin:
        raise access.forbidden(f"{verb}_rbac_policy", "target_tenant")
