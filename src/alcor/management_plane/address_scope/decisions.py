"""What an address scope may be. Pure."""

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.caller import Caller
from alcor.management_plane.settlement import given, revised
from alcor.model import errors
from alcor.model.ids import AddressScopeId
from alcor.model.records import AddressScope


class AddressScopeFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of an address scope. UNSET: not said."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    ip_version: int | UnsetType = UNSET
    shared: bool | UnsetType = UNSET  # with everybody, by a policy
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET


def create(fields: AddressScopeFields, *, scope_id: str, caller: Caller, now_us: int) -> AddressScope:
    """Make the record of a new scope."""
    scope = AddressScope(
        id=AddressScopeId(scope_id),
        project_id=caller.project_id,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    said = given(fields)
    said.pop("shared", None)
    return msgspec.structs.replace(scope, **said)


def update(scope: AddressScope, fields: AddressScopeFields, *, now_us: int) -> AddressScope:
    """Give the scope as the client wants it."""
    said = given(fields)
    said.pop("shared", None)
    return revised(scope, now_us, **said)


def still_shared(scope: AddressScope) -> errors.Invalid:
    """Make the error for a scope that others use, and which is to be shared no longer."""
    return errors.Invalid(
        f"Unable to update address scope {scope.id} : Shared address scope can't be unshared while other "
        "projects use it.",
        reason="AddressScopeUpdateError",
    )


def in_use(scope: AddressScope) -> errors.Conflict:
    """Make the error for removing a scope that pools are in."""
    return errors.Conflict(
        f"Unable to complete operation on address scope {scope.id}. "
        "There are one or more subnet pools in use on the address scope.",
        reason="AddressScopeInUse",
    )
