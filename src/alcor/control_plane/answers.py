"""What the controller answers the API: `contracts.convergence.Convergence`, at once and from memory."""

from collections.abc import Sequence

from alcor.contracts.convergence import HostStatus, NetworkProgress, PortState, Receipt, ResyncProgress, Until
from alcor.control_plane.controller import Controller
from alcor.model.ids import HostId, PortId
from alcor.model.records import Host, Port


class Answers:
    """Implements `Convergence` for this process."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def port_states(self, ports: Sequence[Port]) -> list[PortState]:
        return self._controller.convergence.port_states(ports)

    async def wait(
        self,
        port_ids: Sequence[PortId],
        *,
        revision: int,
        until: Until,
        timeout_s: float,
    ) -> bool:
        return await self._controller.convergence.wait(
            port_ids, revision=revision, until=until, timeout_s=timeout_s
        )

    async def wait_revision(self, revision: int, *, timeout_s: float) -> bool:
        return await self._controller.convergence.wait_revision(revision, timeout_s=timeout_s)

    async def receipt(self, revision: int) -> Receipt | None:
        return self._controller.convergence.receipt(revision)

    async def hosts(self) -> list[HostStatus]:
        return self._controller.convergence.hosts()

    async def host(self, host_id: HostId) -> HostStatus | None:
        return self._controller.convergence.host(host_id)

    async def host_records(self) -> list[Host]:
        return self._controller.convergence.host_records()

    async def live_hosts(self) -> list[HostId]:
        return self._controller.convergence.live_hosts()

    async def resync(self) -> ResyncProgress:
        return self._controller.resync()

    async def resync_networks(self) -> list[NetworkProgress]:
        return self._controller.resync_networks()
