"""Network IP availability on the wire, as Neutron shows it. For administrators: others see none."""

from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response

from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import described_resource, gate, listing, policy
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import JSON, written
from alcor.management_plane.api.described import described_as
from alcor.management_plane.api.hosts import NoFields
from alcor.management_plane.network import availability
from alcor.management_plane.network.availability import SubnetUse
from alcor.model.addressing import Cidr
from alcor.model.records import Network

RESOURCE = Resource(
    singular="network_ip_availability",
    plural="network_ip_availabilities",
    kind=Network,
    fields=NoFields,
    attributes=(
        Attribute(name="network_id", filterable=True, sortable=True, column="id"),
        Attribute(name="network_name", filterable=True, column="name"),
        Attribute(name="project_id", filterable=True, column="project_id"),
        Attribute(name="ip_version", filterable=True),
    ),
)


class SubnetUseAnswer(msgspec.Struct, frozen=True):
    """A subnet's share."""

    subnet_id: str
    subnet_name: str
    cidr: str
    ip_version: int
    total_ips: int
    used_ips: int


class AvailabilityAnswer(msgspec.Struct, frozen=True):
    """A network's addresses."""

    network_id: str
    network_name: str
    project_id: str
    tenant_id: str
    total_ips: int
    used_ips: int
    subnet_ip_availability: list[SubnetUseAnswer]

    @property
    def id(self) -> str:
        """What pages are marked by; not shown."""
        return self.network_id

    @property
    def ip_version(self) -> list[int]:
        """What lists are filtered by; not shown."""
        return [subnet.ip_version for subnet in self.subnet_ip_availability]


class AvailabilityCollection:
    """Serves the availability of networks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes; nothing here can be changed by clients."""
        path = "/v2.0/network-ip-availabilities"
        return [
            entrance.route(path, policy=policy.TENANT, get=self.list),
            entrance.route(path + "/{id}", policy=policy.TENANT, get=self.show),
        ]

    @described_as(described_resource.listing(RESOURCE, AvailabilityAnswer))
    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the availability of all networks; callers who are no administrators see none."""
        if call.caller.is_admin:
            page = await listing.listed(RESOURCE, call, self._store, self._answers)
        else:
            page = listing.listed_from(RESOURCE, call, [])
        return Response(listing.encoded(RESOURCE, page), media_type=JSON)

    @described_as(described_resource.showing(RESOURCE, AvailabilityAnswer))
    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the availability of one network."""
        if not call.caller.is_admin:
            raise access.missing(Network, path["id"])
        network = await access.fetch_one(self._store, call.caller, Network, path["id"])
        answer = (await self._answers([network]))[0]
        return written({RESOURCE.singular: listing.shown(call, answer)}, 200)

    async def _answers(self, networks: Sequence[Network]) -> Sequence[AvailabilityAnswer]:
        uses = await availability.by_network(self._store, networks)
        return [_answer(network, uses[network.id]) for network in networks]


def _answer(network: Network, uses: Sequence[SubnetUse]) -> AvailabilityAnswer:
    return AvailabilityAnswer(
        network_id=network.id,
        network_name=network.name,
        project_id=network.project_id,
        tenant_id=network.project_id,
        total_ips=sum(use.total for use in uses),
        used_ips=sum(use.used for use in uses),
        subnet_ip_availability=[_subnet(use) for use in uses],
    )


def _subnet(use: SubnetUse) -> SubnetUseAnswer:
    cidr = Cidr(*use.subnet.cidr)
    return SubnetUseAnswer(
        subnet_id=use.subnet.id,
        subnet_name=use.subnet.name,
        cidr=str(cidr),
        ip_version=4 if len(cidr.network) == 4 else 6,
        total_ips=use.total,
        used_ips=use.used,
    )
