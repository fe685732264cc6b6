"""Who provides the services of the API, as Neutron lists it: Alcor itself."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from alcor.management_plane.api import described_resource, gate, listing, policy
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import JSON
from alcor.management_plane.api.described import described_as
from alcor.management_plane.api.hosts import NoFields
from alcor.model.records import Host

RESOURCE = Resource(
    singular="service_provider",
    plural="service_providers",
    kind=Host,
    fields=NoFields,
    attributes=(
        Attribute(name="name", filterable=True, sortable=True),
        Attribute(name="service_type", filterable=True, sortable=True),
        Attribute(name="default", filterable=True, sortable=True),
    ),
)


class ProviderAnswer(msgspec.Struct, frozen=True):
    """A provider of a service."""

    service_type: str
    name: str
    default: bool

    @property
    def id(self) -> str:
        """What pages are marked by; not shown."""
        return f"{self.service_type}/{self.name}"


_PROVIDERS = (ProviderAnswer("L3_ROUTER_NAT", "alcor", True),)


class ServiceProviderCollection:
    """Serves the providers."""

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the route."""
        return [entrance.route("/v2.0/service-providers", policy=policy.TENANT, get=self.list)]

    @described_as(described_resource.listing(RESOURCE, ProviderAnswer))
    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the providers."""
        page = listing.listed_from(RESOURCE, call, _PROVIDERS)
        return Response(listing.encoded(RESOURCE, page), media_type=JSON)
