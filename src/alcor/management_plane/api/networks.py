"""Networks on the wire."""

import asyncio
from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import validation
from alcor.management_plane.api.attribute import IGNORED, Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection
from alcor.management_plane.api.standard import ADMIN_STATE_UP, STANDARD, Answer, shared_by_admin, standard
from alcor.management_plane.network.decisions import VNI_MAX, NetworkFields
from alcor.management_plane.network.service import Contents, NetworkService
from alcor.management_plane.zones import ZoneBook
from alcor.model.records import Network, RecordSet

_NOT_EXTERNAL = validation.only(False, "external networks are not supported yet.")

RESOURCE = Resource(
    singular="network",
    plural="networks",
    kind=Network,
    fields=NetworkFields,
    attributes=(
        *STANDARD,
        ADMIN_STATE_UP,
        Attribute(name="status", filterable=True, sortable=True),
        Attribute(name="subnets"),
        Attribute(name="ipv4_address_scope"),
        Attribute(name="ipv6_address_scope"),
        Attribute(
            name="mtu", parse=validation.integer(0, 65535), post=True, put=True, filterable=True, sortable=True
        ),
        Attribute(name="port_security_enabled", parse=validation.boolean, post=True, put=True, filterable=True),
        shared_by_admin(put=True),
        Attribute(
            name="router:external", field=IGNORED, parse=_NOT_EXTERNAL, post=True, put=True, filterable=True
        ),
        Attribute(
            name="provider:network_type",
            field=IGNORED,
            parse=validation.choice("vxlan"),
            post=True,
            admin_only=True,
            filterable=True,
        ),
        Attribute(
            name="provider:segmentation_id",
            field="vni",
            parse=validation.integer(1, VNI_MAX),
            post=True,
            admin_only=True,
            filterable=True,
            column="vni",
            to_column=int,
        ),
        Attribute(name="provider:physical_network", filterable=True),
        Attribute(
            name="availability_zone_hints",
            field="zone_hints",
            parse=validation.zone_hints,
            post=True,
            sortable=True,
        ),
        Attribute(name="availability_zones"),
    ),
)


class NetworkAnswer(
    Answer,
    kw_only=True,
    rename={
        "router_external": "router:external",
        "provider_network_type": "provider:network_type",
        "provider_physical_network": "provider:physical_network",
        "provider_segmentation_id": "provider:segmentation_id",
    },
):
    """A network as it is shown; provider attributes to administrators only."""

    admin_state_up: bool
    mtu: int
    port_security_enabled: bool
    subnets: list[str]
    shared: bool
    ipv4_address_scope: str | None
    availability_zone_hints: tuple[str, ...]
    availability_zones: tuple[str, ...]
    ipv6_address_scope: str | None
    status: str = "ACTIVE"
    router_external: bool = False
    provider_network_type: str | UnsetType = UNSET
    provider_physical_network: str | UnsetType | None = UNSET
    provider_segmentation_id: int | UnsetType = UNSET


def collection(store: Store, service: NetworkService, zones: ZoneBook) -> Collection[NetworkFields]:
    """Serve networks."""

    async def answers(call: Call, networks: Sequence[Network]) -> list[NetworkAnswer]:
        contents, shared = await asyncio.gather(
            service.contents(networks), access.shared_ids(store, call.caller, networks)
        )
        known, is_admin = await zones.names(), call.caller.is_admin
        return [
            _answer(network, contents[network.id], known, shared=network.id in shared, is_admin=is_admin)
            for network in networks
        ]

    async def as_made(call: Call, made: RecordSet) -> list[NetworkAnswer]:
        shared = {policy.object_id for policy in made.rbac_policies}
        known, is_admin = await zones.names(), call.caller.is_admin
        return [
            _answer(network, Contents([]), known, shared=network.id in shared, is_admin=is_admin)
            for network in made.networks
        ]

    return Collection(RESOURCE, store, service, answers, create=service.create, as_made=as_made)


def _answer(
    network: Network, contents: Contents, zones: tuple[str, ...], *, shared: bool, is_admin: bool
) -> NetworkAnswer:
    answer = NetworkAnswer(
        **standard(network),  # type: ignore[arg-type]  # the common part, by name
        admin_state_up=network.admin_state_up,
        mtu=network.mtu,
        port_security_enabled=network.port_security_enabled,
        subnets=contents.subnet_ids,
        shared=shared,
        ipv4_address_scope=contents.scope_ids.get(4),
        ipv6_address_scope=contents.scope_ids.get(6),
        availability_zone_hints=network.zone_hints,
        availability_zones=zones,
    )
    if is_admin:
        answer.provider_network_type = "vxlan"
        answer.provider_physical_network = None
        answer.provider_segmentation_id = network.vni
    return answer
