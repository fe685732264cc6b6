"""How far the restart of the region is, as a whole and per network. For administrators."""

from collections.abc import Mapping

from starlette.responses import Response

from alcor.contracts.convergence import Convergence, NetworkProgress, ResyncProgress
from alcor.management_plane.api import described_resource, gate, listing, policy
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import written
from alcor.management_plane.api.described import describes, gives, takes


class ResyncCollection:
    """Serves the progress of hosts that are synchronised after a restart."""

    def __init__(self, convergence: Convergence) -> None:
        self._convergence = convergence

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes; nothing here can be changed by clients."""
        return [
            entrance.route("/v2.0/resync", policy=policy.OPERATOR, get=self.show),
            entrance.route("/v2.0/resync/networks", policy=policy.OPERATOR, get=self.list_networks),
        ]

    @describes(gives(200, "resync", of=ResyncProgress), summary="Show how far the region's restart is")
    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the region's progress."""
        return written({"resync": await self._convergence.resync()}, 200)

    @describes(
        gives(200, "networks", of=NetworkProgress, is_many=True, links="networks_links"),
        summary="Show how far each network's hosts are",
        takes=(
            takes("incomplete", "Only the networks that are not complete.", {"type": "string"}),
            *described_resource.PAGE,
        ),
    )
    async def list_networks(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET each network's progress; with `?incomplete` only of those that are not complete."""
        networks = await self._convergence.resync_networks()
        if any(name == "incomplete" for name, _ in call.parameters):
            networks = [network for network in networks if network.hosts_done < network.hosts]
        return written(listing.cut(call, "networks", networks, lambda each: each.network_id), 200)
