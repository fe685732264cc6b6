"""What address groups may be, and what is in them. Pure."""

import uuid
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.caller import Caller
from alcor.management_plane.settlement import given, revised
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.ids import AddressGroupEntryId, AddressGroupId
from alcor.model.records import AddressGroup, AddressGroupEntry

ADDRESSES_MAX = 20_000  # of one group: an answer shows all of them


class AddressGroupFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of an address group. UNSET: not said. `addresses` in its first call only."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    project_id: str | UnsetType = UNSET
    addresses: tuple[Cidr, ...] = ()


def create(fields: AddressGroupFields, *, group_id: str, caller: Caller, now_us: int) -> AddressGroup:
    """Make the record of a new address group. Raises Conflict for too many addresses."""
    group = AddressGroup(
        id=AddressGroupId(group_id),
        size=_checked_size(len(set(fields.addresses))),
        project_id=caller.project_id,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    said = given(fields)
    del said["addresses"]
    return msgspec.structs.replace(group, **said)


def update(group: AddressGroup, fields: AddressGroupFields, *, now_us: int) -> AddressGroup:
    """Give the group with another name or description."""
    said = given(fields)
    del said["addresses"]
    return revised(group, now_us, **said)


def entry_id(group_id: str, address: Cidr) -> AddressGroupEntryId:
    """Name what an address is in a group: the same for the same, so that nothing is in it twice."""
    return AddressGroupEntryId(str(uuid.uuid5(uuid.UUID(group_id), str(address))))


def entries(group: AddressGroup, addresses: Iterable[Cidr], *, now_us: int) -> tuple[AddressGroupEntry, ...]:
    """Make what is to be in a group, each address once."""
    return tuple(
        AddressGroupEntry(
            id=entry_id(group.id, address),
            project_id=group.project_id,
            created_at=now_us,
            updated_at=now_us,
            revision_number=1,
            address_group_id=group.id,
            prefix=address,
        )
        for address in sorted(set(addresses))
    )


def added(
    group: AddressGroup, addresses: Sequence[Cidr], found: Mapping[str, AddressGroupEntry], *, now_us: int
) -> tuple[AddressGroup, tuple[AddressGroupEntry, ...]]:
    """Give the group with more addresses, and their entries. `found`: which of them are in it already.

    Raises Invalid when some are, Conflict when it would have too many.
    """
    there = sorted(str(Cidr(*entry.prefix)) for entry in found.values())
    if there:
        raise errors.Invalid(
            f"Addresses {there} already exist in the address group {group.id}.", reason="AddressesAlreadyExist"
        )
    made = entries(group, addresses, now_us=now_us)
    return revised(group, now_us, size=_checked_size(group.size + len(made))), made


def removed(
    group: AddressGroup, addresses: Sequence[Cidr], found: Mapping[str, AddressGroupEntry], *, now_us: int
) -> AddressGroup:
    """Give the group without the addresses. `found`: which of them are in it. Raises Missing."""
    absent = sorted({str(address) for address in addresses if entry_id(group.id, address) not in found})
    if absent:
        raise errors.Missing(
            f"Addresses {absent} not found in the address group {group.id}.", reason="AddressesNotFound"
        )
    return revised(group, now_us, size=group.size - len(found))


def in_use(group_id: str) -> errors.Conflict:
    """Make the error for removing what a rule is about."""
    return errors.Conflict(
        f"Address group {group_id} is in use on one or more security group rules.", reason="AddressGroupInUse"
    )


def _checked_size(size: int) -> int:
    if size > ADDRESSES_MAX:
        raise errors.Conflict(
            f"An address group may have at most {ADDRESSES_MAX} addresses.", reason="AddressGroupTooLarge"
        )
    return size
