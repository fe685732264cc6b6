"""Floating IPs on the wire: there are none.

Clients of routers (Nova for each server, Horizon for each page) ask for them without looking at the
extensions first, and take 404 for a mistake.
"""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from alcor.management_plane.api import described_resource, gate, listing, policy
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import JSON
from alcor.management_plane.api.described import described_as
from alcor.management_plane.api.hosts import NoFields
from alcor.management_plane.api.standard import STANDARD, Answer
from alcor.model.records import Port

_OWN = (
    "floating_ip_address",
    "floating_network_id",
    "fixed_ip_address",
    "port_id",
    "router_id",
    "status",
)

RESOURCE = Resource(
    singular="floatingip",
    plural="floatingips",
    kind=Port,
    fields=NoFields,
    attributes=(*STANDARD, *(Attribute(name=name, filterable=True, sortable=True) for name in _OWN)),
)


class FloatingIpAnswer(Answer, kw_only=True):
    """A floating IP as it would be shown."""

    floating_ip_address: str
    floating_network_id: str
    fixed_ip_address: str | None
    port_id: str | None
    router_id: str | None
    status: str


class FloatingIpCollection:
    """Serves the list."""

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the route."""
        return [entrance.route("/v2.0/floatingips", policy=policy.TENANT, get=self.list)]

    @described_as(described_resource.listing(RESOURCE, FloatingIpAnswer))
    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the floating IPs."""
        nothing: list[msgspec.Struct] = []
        page = listing.listed_from(RESOURCE, call, nothing)
        return Response(listing.encoded(RESOURCE, page), media_type=JSON)
