"""Joins the controller, which knows what hosts hold, with the simulated pipeline, which follows packets."""

from alcor.contracts.convergence import TraceResult
from alcor.contracts.data_plane import HostFacts, facts_of
from alcor.control_plane.compiler import entries
from alcor.control_plane.controller import Controller
from alcor.data_plane.simulated import trace
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.goal_state import HostState, NetworkChange, NetworkSection, RouterSection
from alcor.model.ids import HostId, PortId


class RegionTracer:
    """Implements `contracts.convergence.Tracer`."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def trace(
        self, *, port_id: PortId, to_ip: bytes, protocol: str, dst_port: int, icmp_type: int | None
    ) -> TraceResult:
        """Follow a packet through the sender's host and those that may have the address."""
        region = self._controller.region
        row = region.ports.get(port_id)
        if row is None:
            raise errors.Missing(f"Port {port_id} could not be found.", reason="PortNotFound")
        if not row.host:
            raise errors.Invalid(f"port {port_id} is not bound to a host: bind it, then trace")
        sender = self._controller.held_state(row.host)
        towards = {to_ip, *_next_hops(sender, to_ip)}
        for ip in sorted(towards):
            self._learn(sender, ip)
        far_ends = _endpoints_of(sender, towards)
        hosts = {row.host: sender}
        for name in region.hosts:
            if name != row.host and region.vtep(name) in far_ends:
                hosts[name] = self._controller.held_state(name)
                for ip in row.ips:
                    self._learn(hosts[name], ip)
        return trace.trace(
            {name: (self._facts(name), state) for name, state in hosts.items()},
            port_id=port_id,
            to_ip=to_ip,
            protocol=protocol,
            dst_port=dst_port,
            icmp_type=icmp_type,
        )

    def _learn(self, state: HostState, ip: bytes) -> None:
        """Give the host what its first packet to or from the address would make it ask for."""
        region = self._controller.region
        for section in state.sections.values():
            if not isinstance(section, NetworkSection) or section.network is None:
                continue
            row = region.find(section.network.vni, ip) if section.network.on_demand else None
            placement = entries.placement(row, region.vtep(row.host)) if row is not None else None
            if placement is not None:
                section.apply(NetworkChange(set_placements=(placement,)))

    def _facts(self, host: HostId) -> HostFacts:
        vtep = self._controller.region.vtep(host)
        if not vtep:
            raise errors.Invalid(f"host {host} is not known yet: start its agent, then trace")
        return facts_of(host, vtep)


def _next_hops(state: HostState, ip: bytes) -> set[bytes]:
    """Name the next hops of all extra routes that lead towards the address."""
    return {
        route.next_hop
        for section in state.sections.values()
        if isinstance(section, RouterSection)
        for route in section.routes
        if Cidr(*route.destination).contains(ip)
    }


def _endpoints_of(state: HostState, ips: set[bytes]) -> set[bytes]:
    """Give the tunnel endpoints behind which one of the addresses is, in any network that the host knows."""
    return {
        placement.vtep
        for section in state.sections.values()
        if isinstance(section, NetworkSection)
        for placement in section.placements.values()
        if not ips.isdisjoint((*placement.ips, *placement.announced, *(it.network for it in placement.pairs)))
    }
