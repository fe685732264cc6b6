"""What workloads do at random: they come and go, ask and send, and say which addresses are their own."""

import random
from collections.abc import Iterable

from alcor.contracts.store import Query
from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.matching import IP_VERSIONS
from alcor.data_plane.pipeline.networks import PortScope
from alcor.data_plane.simulated import packet as packets
from alcor.data_plane.simulated.packet import Packet
from alcor.model.addressing import ip_to_int
from alcor.model.goal_state import LocalPort
from alcor.model.ids import PortId
from alcor.model.records import ROUTER_INTERFACE, Port
from alcor.simulation.cloud import Cloud
from alcor.simulation.compute_host import ComputeHost
from alcor.simulation.operations import Operation

_IPV4_BYTES, _IPV6_BYTES = 4, 16


class Workloads:
    """Draws what they do, on hosts drawn too."""

    def __init__(self, cloud: Cloud, chance: random.Random, *, asks: bool = False) -> None:
        """`asks`: they resolve each other, so that hosts ask for their neighbours."""
        self._cloud = cloud
        self._chance = chance
        self._asks = asks

    @property
    def table(self) -> list[tuple[int, Operation]]:
        """Give all they do, with weights."""
        resolving = [(90, self.resolve)] if self._asks else []
        return [(60, self.plug), (30, self.unplug), (15, self.announce), (60, self.send), *resolving]

    async def plug(self) -> None:
        """Attach a workload; now and then one that nobody knows of, or that is not there."""
        bound = [port for port in await self._ports() if port.host in self._cloud.hosts]
        if bound and self._chance.random() < 0.95:
            port = self._chance.choice(bound)
            self._cloud.hosts[port.host].plug(port.id)
        else:
            self._host().plug(self._chance.choice(bound).id if bound else PortId("unknown"))

    async def unplug(self) -> None:
        """Take a workload away."""
        host = self._host()
        if host.switch.workloads:
            host.unplug(self._chance.choice(host.switch.workloads))

    async def announce(self) -> None:
        """A workload says that an address of its port's pairs is its own, as VRRP does."""
        host = self._host()
        scopes = [scope for scope in self._scopes(host) if scope.port.pairs]
        if not scopes:
            return
        scope = self._chance.choice(scopes)
        pair = self._chance.choice(scope.port.pairs)
        ip = ip_to_int(pair.network) + self._chance.randrange(
            1 << min(2, 8 * len(pair.network) - pair.prefix_len)
        )
        say = packets.arp_request if len(pair.network) == _IPV4_BYTES else packets.neighbour_advertisement
        self._send(host, scope.port.id, say(pair.mac, ip, ip))

    async def resolve(self) -> None:
        """A workload asks who has an address: mostly a port's of its own network."""
        host = self._host()
        scopes = self._scopes(host)
        if not scopes:
            return
        scope = self._chance.choice(scopes)
        ports = [port for port in await self._ports() if port.network_id == scope.network.id]
        length, ask = self._chance.choice(
            ((_IPV4_BYTES, packets.arp_request), (_IPV6_BYTES, packets.neighbour_solicitation))
        )
        own, others = _ips_of([scope.port], length), _ips_of(ports, length)
        if own and others:
            asked = self._chance.choice(others) + self._chance.choice((0, 0, 0, 1))
            self._send(host, scope.port.id, ask(scope.port.mac, own[0], asked))

    async def send(self) -> None:
        """A workload sends a datagram to one of any network, straight or by a router of its own."""
        host = self._host()
        scopes = self._scopes(host)
        if not scopes:
            return
        scope, version = self._chance.choice(scopes), self._chance.choice(IP_VERSIONS)
        ports = await self._ports()
        own = _ips_of([scope.port], version.bits // 8)
        plugged = {port_id for each in self._cloud.hosts.values() for port_id in each.switch.plugged}
        others = [port for port in ports if port.id in plugged and _ips_of([port], version.bits // 8)]
        if not own or not others:
            return
        beside = [port for port in others if port.network_id == scope.network.id]
        target = self._chance.choice(beside if beside and self._chance.random() < 0.5 else others)
        routers = [
            port.mac
            for port in ports
            if port.network_id == scope.network.id and port.device_owner == ROUTER_INTERFACE
        ]
        macs = scope.port.mac, self._chance.choice([target.mac, *routers])
        ends = own[0], self._chance.choice(_ips_of([target], version.bits // 8))
        self._send(host, scope.port.id, packets.ip(version, macs, ends, matching.UDP, udp_src=9, udp_dst=9))

    def _send(self, host: ComputeHost, port_id: PortId, packet: Packet) -> None:
        """Send if the workload is still there; whoever writes to the switch is asked, and by its clock."""
        fabric, witness = self._cloud.fabric, self._cloud.witness
        if host.fence.master is None or host.switch.ofport(port_id) is None:
            return
        verdict = host.writer_part(host.fence.master).run(fabric.inject, port_id, packet)
        for arrived in verdict.delivered:
            witness.arrived(port_id, arrived.port_id)
        while fabric.late:
            sender, verdict = fabric.late.popleft()
            for arrived in verdict.delivered if sender is not None else ():
                assert sender is not None, "nothing is asked of what came through the tunnel"
                witness.arrived(sender, arrived.port_id)

    def _scopes(self, host: ComputeHost) -> list[PortScope]:
        """Give what the host knows of the workloads that are plugged."""
        program = host.switch.engine().program
        found = (program.port_scope(port_id) for port_id in host.switch.plugged)
        return [scope for scope in found if scope is not None]

    def _host(self) -> ComputeHost:
        return self._cloud.hosts[self._chance.choice(list(self._cloud.hosts))]

    async def _ports(self) -> list[Port]:
        return await self._cloud.store.select(Port, Query())


def _ips_of(ports: Iterable[Port | LocalPort], length: int) -> list[int]:
    """Give the addresses of so many bytes that ports have, as numbers: of each version apart."""
    return [ip_to_int(fixed.ip) for port in ports for fixed in port.fixed_ips if len(fixed.ip) == length]
