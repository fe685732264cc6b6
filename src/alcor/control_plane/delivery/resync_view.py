"""How far the synchronisation of all hosts is, worked out when somebody asks: nothing is counted meanwhile."""

from collections.abc import Mapping

from alcor.contracts.convergence import NetworkProgress, ResyncProgress
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.delivery.admission import Admission
from alcor.control_plane.delivery.paths import HostSession
from alcor.control_plane.nodes import NetworkNode
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import NetworkKey, SectionKey
from alcor.model.ids import HostId


class ResyncView:
    """Reads the region, what hosts want, their sessions and whose turn it is."""

    def __init__(
        self,
        region: Region,
        interest: Interest,
        sessions: Mapping[HostId, HostSession],
        admission: Admission,
    ) -> None:
        self._region = region
        self._interest = interest
        self._sessions = sessions
        self._admission = admission

    def summary(self, epoch: int) -> ResyncProgress:
        """Add up the region. O(hosts + networks + sections of hosts that are not done)."""
        introduced = [host for host, node in self._region.hosts.items() if node.record is not None]
        networks = sum(map(self._is_held, self._region.networks.values()))
        incomplete = {
            key
            for host, wanted in self._interest.wanted.items()
            if host not in self._admission.done
            for key in wanted
            if goal_state.is_of_network(key)
        }
        return ResyncProgress(
            epoch=epoch,
            hosts=len(introduced),
            away=sum(host not in self._sessions for host in introduced),
            waiting=self._admission.waiting,
            synchronising=self._admission.synchronising,
            done=len(self._admission.done),
            networks=networks,
            networks_complete=networks - len(incomplete),
            bytes_left=self._admission.bytes_left,
        )

    def networks(self) -> list[NetworkProgress]:
        """Give each network that a host must hold, by id. O(sections of all hosts)."""
        return [
            NetworkProgress(parsed.id, hosts, done)
            for key, (hosts, done) in sorted(self._networks().items())
            if isinstance(parsed := goal_state.parse_key(key), NetworkKey)
        ]

    def _is_held(self, node: NetworkNode) -> bool:
        return bool(node.hosts) or any(self._region.routers[id_].hosts for id_ in node.routers)

    def _networks(self) -> dict[SectionKey, tuple[int, int]]:
        hosts: dict[SectionKey, int] = {}
        done: dict[SectionKey, int] = {}
        for host, wanted in self._interest.wanted.items():
            is_done = host in self._admission.done
            for key in wanted:
                if goal_state.is_of_network(key):
                    hosts[key] = hosts.get(key, 0) + 1
                    done[key] = done.get(key, 0) + is_done
        return {key: (count, done[key]) for key, count in hosts.items()}
