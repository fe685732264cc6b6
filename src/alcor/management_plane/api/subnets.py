"""Subnets on the wire."""

from collections.abc import Sequence

from msgspec import UNSET

from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import validation
from alcor.management_plane.api.accepts import accepts, list_of, or_null, schema_of
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection
from alcor.management_plane.api.standard import STANDARD, Answer, reference, standard
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.management_plane.subnet.service import SubnetService
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_to_text
from alcor.model.records import IPV6_MODES, Subnet

SERVICE_TYPES_MAX = 32
_DELEGATED = "prefix_delegation"  # in place of a pool: some router outside gives the prefix
_OWNERS = ("network:", "neutron:", "compute:", "baremetal:", "trunk:")  # how device owners begin


@accepts(or_null(validation.IP))
def _gateway(value: object) -> object:
    return None if value is None else validation.ip(value)


@accepts(or_null(schema_of(validation.pools) or {}))
def _pools(value: object) -> object:
    return UNSET if value is None else validation.pools(value)


@accepts(or_null(validation.UUID))
def _pool_id(value: object) -> object:
    if value == _DELEGATED:
        raise ValueError("IPv6 prefix delegation is not supported.")
    return None if value is None else validation.uuid_text(value)


@accepts({"enum": [*IPV6_MODES, None]})
def _mode(value: object) -> object:
    return "" if value is None else validation.choice(*IPV6_MODES)(value)


@accepts(or_null(list_of(validation.string(), most=SERVICE_TYPES_MAX)))
def _service_types(value: object) -> object:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("Subnet service types must be a list.")
    parse = validation.text()
    for each in value:
        if not isinstance(each, str) or not each.startswith(_OWNERS):
            raise errors.Invalid(
                f"Subnet service type {each} does not correspond to a valid device owner.",
                reason="InvalidSubnetServiceType",
            )
        parse(each)
    if len(value) > SERVICE_TYPES_MAX:
        raise ValueError(f"more than {SERVICE_TYPES_MAX} service types.")
    return tuple(dict.fromkeys(value))


RESOURCE = Resource(
    singular="subnet",
    plural="subnets",
    kind=Subnet,
    fields=SubnetFields,
    attributes=(
        *STANDARD,
        reference("network_id"),
        Attribute(
            name="ip_version",
            parse=validation.ip_version,
            post=True,
            required=True,
            filterable=True,
            sortable=True,
            column="ip_version",
            to_column=int,
        ),
        Attribute(
            name="cidr", parse=validation.optional(validation.cidr), post=True, filterable=True, sortable=True
        ),
        Attribute(name="gateway_ip", parse=_gateway, post=True, put=True, filterable=True, sortable=True),
        Attribute(name="allocation_pools", field="pools", parse=_pools, post=True, put=True),
        Attribute(name="dns_nameservers", parse=validation.nameservers, post=True, put=True),
        Attribute(name="host_routes", parse=validation.host_routes, post=True, put=True),
        Attribute(
            name="enable_dhcp", parse=validation.boolean, post=True, put=True, filterable=True, sortable=True
        ),
        Attribute(name="service_types", parse=_service_types, post=True, put=True),
        Attribute(
            name="subnetpool_id",
            parse=_pool_id,
            post=True,
            filterable=True,
            sortable=True,
            column="subnetpool_id",
        ),
        Attribute(name="use_default_subnetpool", parse=validation.boolean, post=True),
        Attribute(name="prefixlen", parse=validation.integer(0, 128), post=True),
        Attribute(
            name="ipv6_ra_mode", field="ra_mode", parse=_mode, post=True, filterable=True, column="ra_mode"
        ),
        Attribute(
            name="ipv6_address_mode",
            field="address_mode",
            parse=_mode,
            post=True,
            filterable=True,
            column="address_mode",
        ),
        Attribute(name="shared", filterable=True),
    ),
)


class SubnetAnswer(Answer, kw_only=True):
    """A subnet as it is shown."""

    network_id: str
    cidr: str
    gateway_ip: str | None
    allocation_pools: list[dict[str, str]]
    dns_nameservers: tuple[str, ...]
    host_routes: list[dict[str, str]]
    enable_dhcp: bool
    service_types: tuple[str, ...]
    shared: bool  # as its network is
    subnetpool_id: str | None
    ip_version: int
    ipv6_ra_mode: str | None
    ipv6_address_mode: str | None


def collection(store: Store, service: SubnetService) -> Collection[SubnetFields]:
    """Serve subnets."""

    async def answers(call: Call, subnets: Sequence[Subnet]) -> list[SubnetAnswer]:
        shared = await access.shared_ids(store, call.caller, subnets)
        return [_answer(subnet, shared=subnet.network_id in shared) for subnet in subnets]

    return Collection(RESOURCE, store, service, answers, create=service.create)


def _answer(subnet: Subnet, *, shared: bool) -> SubnetAnswer:
    return SubnetAnswer(
        **standard(subnet),  # type: ignore[arg-type]  # the common part, by name
        network_id=subnet.network_id,
        cidr=str(Cidr(*subnet.cidr)),
        gateway_ip=None if subnet.gateway_ip is None else ip_to_text(subnet.gateway_ip),
        allocation_pools=[{"start": ip_to_text(start), "end": ip_to_text(end)} for start, end in subnet.pools],
        dns_nameservers=subnet.dns_nameservers,
        host_routes=[{"destination": cidr, "nexthop": hop} for cidr, hop in subnet.host_routes],
        enable_dhcp=subnet.enable_dhcp,
        service_types=subnet.service_types,
        shared=shared,
        subnetpool_id=subnet.subnetpool_id,
        ip_version=subnet.ip_version,
        ipv6_ra_mode=subnet.ra_mode or None,
        ipv6_address_mode=subnet.address_mode or None,
    )
