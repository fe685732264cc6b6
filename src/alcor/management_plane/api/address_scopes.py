"""Address scopes on the wire."""

from collections.abc import Sequence

from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.address_scope.decisions import AddressScopeFields
from alcor.management_plane.address_scope.service import AddressScopeService
from alcor.management_plane.api import validation
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection
from alcor.management_plane.api.standard import STANDARD, Answer, shared_by_admin, standard
from alcor.model.records import AddressScope, RecordSet

RESOURCE = Resource(
    singular="address_scope",
    plural="address_scopes",
    kind=AddressScope,
    fields=AddressScopeFields,
    attributes=(
        *STANDARD,
        Attribute(
            name="ip_version",
            parse=validation.ip_version,
            post=True,
            required=True,
            filterable=True,
            sortable=True,
        ),
        shared_by_admin(put=True),
    ),
)


class AddressScopeAnswer(Answer, kw_only=True):
    """An address scope as it is shown."""

    ip_version: int
    shared: bool


def collection(store: Store, service: AddressScopeService) -> Collection[AddressScopeFields]:
    """Serve address scopes."""

    async def answers(call: Call, scopes: Sequence[AddressScope]) -> list[AddressScopeAnswer]:
        shared = await access.shared_ids(store, call.caller, scopes)
        return [_answer(scope, shared=scope.id in shared) for scope in scopes]

    async def as_made(call: Call, made: RecordSet) -> list[AddressScopeAnswer]:
        shared = {policy.object_id for policy in made.rbac_policies}
        return [_answer(scope, shared=scope.id in shared) for scope in made.address_scopes]

    return Collection(RESOURCE, store, service, answers, create=service.create, as_made=as_made)


def _answer(scope: AddressScope, *, shared: bool) -> AddressScopeAnswer:
    return AddressScopeAnswer(
        **standard(scope),  # type: ignore[arg-type]  # the common part, by name
        ip_version=scope.ip_version,
        shared=shared,
    )
