"""RBAC policies on the wire."""

from collections.abc import Sequence

import msgspec

from alcor.contracts.store import Store
from alcor.management_plane.api import moments, validation
from alcor.management_plane.api.accepts import Accepting, accepts
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection
from alcor.management_plane.api.standard import STANDARD, reference
from alcor.management_plane.rbac_policy.decisions import OBJECTS, PROJECT_LENGTH_MAX, PolicyFields
from alcor.management_plane.rbac_policy.service import PolicyService
from alcor.model import errors
from alcor.model.records import ACCESS_AS_SHARED, RbacPolicy


@accepts({"anyOf": [{"enum": list(OBJECTS)}, {"type": "string"}]})
def _object_type(value: object) -> str:
    lowered = value.strip().lower() if isinstance(value, str) else ""
    if lowered not in OBJECTS:
        raise errors.Invalid(
            f"Invalid input for operation: '{value}' is not a valid RBAC object type.", reason="InvalidInput"
        )
    return lowered


@accepts(validation.string(PROJECT_LENGTH_MAX, length_min=1))
def _target(value: object) -> str:
    # Not only UUIDs, as in Neutron: what projects are called is for whoever knows the callers to say.
    if not isinstance(value, str) or not 0 < len(value) <= PROJECT_LENGTH_MAX or not value.isprintable():
        raise ValueError(f"'{value}' is not a valid target project ID, nor '*'.")
    return value


_ACTION = Accepting(validation.text(), {"enum": [ACCESS_AS_SHARED]})  # which, the kind of object decides


def _target_named(name: str) -> Attribute:
    return Attribute(
        name=name, parse=_target, post=True, put=True, filterable=True, sortable=True, column="target"
    )


RESOURCE = Resource(
    singular="rbac_policy",
    plural="rbac_policies",
    kind=RbacPolicy,
    fields=PolicyFields,
    attributes=(
        *(attribute for attribute in STANDARD if attribute.name not in ("name", "description", "tags")),
        Attribute(
            name="object_type",
            parse=_object_type,
            post=True,
            required=True,
            filterable=True,
            sortable=True,
            column="object_type",
        ),
        reference("object_id"),
        Attribute(name="action", parse=_ACTION, post=True, required=True, filterable=True, sortable=True),
        *map(_target_named, ("target_tenant", "target_project")),
    ),
)


class PolicyAnswer(msgspec.Struct, kw_only=True):
    """A policy as it is shown."""

    id: str
    object_type: str
    object_id: str
    action: str
    target_tenant: str
    target_project: str
    project_id: str
    tenant_id: str
    created_at: str
    updated_at: str
    revision_number: int


def collection(store: Store, service: PolicyService) -> Collection[PolicyFields]:
    """Serve policies: to those who made them."""

    async def answers(call: Call, policies: Sequence[RbacPolicy]) -> list[PolicyAnswer]:
        return [_answer(policy) for policy in policies]

    return Collection(RESOURCE, store, service, answers, create=service.create)


def _answer(policy: RbacPolicy) -> PolicyAnswer:
    return PolicyAnswer(
        id=policy.id,
        object_type=policy.object_type,
        object_id=policy.object_id,
        action=policy.action,
        target_tenant=policy.target,
        target_project=policy.target,
        project_id=policy.project_id,
        tenant_id=policy.project_id,
        created_at=moments.text(policy.created_at),
        updated_at=moments.text(policy.updated_at),
        revision_number=policy.revision_number,
    )
