"""How far the restart of the region is, as a whole and per network. For administrators."""

from collections.abc import Mapping

from starlette.responses import Response
from starlette.routing import Route

from alcor.contracts.convergence import Convergence
from alcor.management_plane.api import form, gate
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import written


class ResyncCollection:
    """Serves the progress of hosts that are synchronised after a restart."""

    def __init__(self, convergence: Convergence) -> None:
        self._convergence = convergence

    def routes(self, entrance: gate.Gate) -> list[Route]:
        """Give the routes; nothing here can be changed by clients."""
        return [
            entrance.route("/v2.0/resync", get=self.show),
            entrance.route("/v2.0/resync/networks", get=self.list_networks),
        ]

    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the region's progress."""
        _require_admin(call)
        return written({"resync": self._convergence.resync()}, 200)

    async def list_networks(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET each network's progress; with `?incomplete` only of those that are not complete."""
        _require_admin(call)
        networks = self._convergence.resync_networks()
        if any(name == "incomplete" for name, _ in call.parameters):
            networks = [network for network in networks if network.hosts_done < network.hosts]
        return written({"networks": networks}, 200)


def _require_admin(call: Call) -> None:
    if not call.caller.is_admin:
        raise form.forbidden("resync")
