"""Address groups on the wire, and the actions that change what is in them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from starlette.responses import Response

from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.address_group.decisions import AddressGroupFields
from alcor.management_plane.address_group.service import AddressGroupService
from alcor.management_plane.api import form, gate, policy, validation
from alcor.management_plane.api.accepts import accepts, list_of, object_of, or_null, schema_of
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection
from alcor.management_plane.api.described import IF_MATCH, describes, gives
from alcor.management_plane.api.standard import STANDARD, standard
from alcor.model.addressing import Cidr, prefix_from_text
from alcor.model.records import AddressGroup, RecordSet

_ONE = "/v2.0/address-groups/{id}"


@accepts(or_null(list_of(validation.CIDR)))
def address_list(value: object) -> tuple[Cidr, ...]:
    """Accept a list of networks; null is the empty one."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"'{value}' is not a list")
    return tuple(_address(entry) for entry in value)


def _address(value: object) -> Cidr:
    if not isinstance(value, str):
        raise ValueError(f"'{value}' is not a valid IP subnet")
    try:
        text, cidr = prefix_from_text(value)
    except ValueError:
        raise ValueError(f"'{value}' is not a valid IP subnet") from None
    if "/" not in value or (len(cidr.network) == 4 and text != value):
        raise ValueError(f"'{value}' isn't a recognized IP subnet cidr, '{cidr}' is recommended")
    return cidr


RESOURCE = Resource(
    singular="address_group",
    plural="address_groups",
    kind=AddressGroup,
    fields=AddressGroupFields,
    attributes=(
        *(attribute for attribute in STANDARD if attribute.name != "tags"),
        Attribute(name="addresses", parse=address_list, post=True),
        Attribute(name="shared", filterable=True),
    ),
)

_ADDRESSES = object_of({"addresses": schema_of(address_list) or {}}, "addresses")
Change = Callable[..., Awaitable[tuple[int, AddressGroup]]]


class AddressGroupAnswer(msgspec.Struct, kw_only=True):
    """An address group as it is shown. Like Neutron's it has no tags."""

    id: str
    name: str
    project_id: str
    tenant_id: str
    description: str
    created_at: str
    updated_at: str
    revision_number: int
    addresses: list[str]
    shared: bool


class AddressGroupCollection(Collection[AddressGroupFields]):
    """Serves address groups."""

    def __init__(self, store: Store, service: AddressGroupService) -> None:
        async def answers(call: Call, groups: Sequence[AddressGroup]) -> list[AddressGroupAnswer]:
            addresses = await service.addresses_of(groups)
            shared = await access.shared_ids(store, call.caller, groups)
            return [_answer(group, addresses[group.id], shared=group.id in shared) for group in groups]

        super().__init__(RESOURCE, store, service, answers, create=service.create, as_made=_as_made)
        self._groups = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        return [
            *super().routes(entrance),
            entrance.route(f"{_ONE}/add_addresses", policy=policy.TENANT, put=self.add_addresses),
            entrance.route(f"{_ONE}/remove_addresses", policy=policy.TENANT, put=self.remove_addresses),
        ]

    @describes(
        gives(200, "address_group", of=AddressGroupAnswer),
        summary="Add addresses to an address group",
        takes=(IF_MATCH,),
        body=_ADDRESSES,
        refuses=(404, 409, 412),
    )
    async def add_addresses(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT add_addresses."""
        return await self._changed(call, path["id"], self._groups.add_addresses)

    @describes(
        gives(200, "address_group", of=AddressGroupAnswer),
        summary="Remove addresses from an address group",
        takes=(IF_MATCH,),
        body=_ADDRESSES,
        refuses=(404, 409, 412),
    )
    async def remove_addresses(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT remove_addresses."""
        return await self._changed(call, path["id"], self._groups.remove_addresses)

    async def _changed(self, call: Call, group_id: str, change: Change) -> Response:
        addresses = _said(call.body)
        revision, group = await change(call.caller, group_id, addresses, expected=call.expected_revision)
        return await self.updated(call, group, revision)


def _said(body: bytes) -> tuple[Cidr, ...]:
    """Read `{"addresses": [...]}`. Raises Invalid."""
    document = form.decoded(body)
    form.check_known(document, ("addresses",))
    if "addresses" not in document:
        raise form.invalid_input("addresses", "it is missing.")
    try:
        return address_list(document["addresses"])
    except ValueError as reason:
        raise form.invalid_input("addresses", reason) from None


async def _as_made(call: Call, made: RecordSet) -> list[AddressGroupAnswer]:
    addresses: dict[str, list[Cidr]] = {group.id: [] for group in made.address_groups}
    for entry in made.address_group_entries:
        addresses[entry.address_group_id].append(Cidr(*entry.prefix))
    return [_answer(group, addresses[group.id], shared=False) for group in made.address_groups]


def _answer(group: AddressGroup, addresses: Sequence[Cidr], *, shared: bool) -> AddressGroupAnswer:
    common = standard(group)
    del common["tags"]
    return AddressGroupAnswer(
        **common,  # type: ignore[arg-type]  # the common part, by name
        addresses=[str(address) for address in addresses],
        shared=shared,
    )
