"""What workloads do: resolve, ping, connect. Request and reply both pass the fabric, so state counts.

An address is packed bytes, or the number of an IPv4 address.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.pipeline.matching import IPV4, IpVersion, version_of
from alcor.data_plane.simulated import packet as packets
from alcor.data_plane.simulated.fabric import Delivery, Fabric, Verdict
from alcor.data_plane.simulated.packet import Packet
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_int, ip_to_int
from alcor.model.ids import PortId

_CLIENT_PORT = 40_000

Address: TypeAlias = int | bytes


class Exchange(NamedTuple):
    """How an attempt ended, and every packet's verdict in order."""

    succeeded: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Workload:
    """A workload's own idea of the network, of one IP version: an address of its own and the gateway."""

    port_id: PortId
    mac: int
    ip: int
    cidr: tuple[bytes, int]
    gateway: int | None

    @property
    def version(self) -> IpVersion:
        return version_of(self.cidr[0])

    def next_hop(self, to_ip: Address) -> int | None:
        """Say whose MAC address to ask for; None when there is no way."""
        target = _packed(to_ip)
        if Cidr(*self.cidr).contains(target) or Cidr(*matching.LINK_LOCAL_PREFIX).contains(target):
            return ip_to_int(target)
        return self.gateway


def workload(
    fabric: Fabric, port_id: PortId, version: IpVersion = IPV4, towards: Address | None = None
) -> Workload:
    """Configure a plugged workload. Raises Missing when its port is unknown or has no such address.

    `towards`: whom it is to send to. It does so from its address in the same subnet, if it has one, else from
    its first that has a gateway (RFC 6724, section 5: the address that suits the next hop).
    """
    port, _, subnets, _ = fabric.scope_of(port_id)
    known = {subnet.id: subnet for subnet in subnets}
    own = [
        Workload(
            port_id,
            port.mac,
            ip_to_int(fixed.ip),
            known[fixed.subnet_id].cidr,
            None if (gateway := known[fixed.subnet_id].gateway_ip) is None else ip_to_int(gateway),
        )
        for fixed in port.fixed_ips
        if fixed.subnet_id in known and version_of(fixed.ip) is version
    ]
    if not own:
        raise errors.Missing(f"port {port_id} has no address of IPv{version.number}")
    if towards is None:
        return own[0]
    target = _packed(towards)
    return max(
        own, key=lambda it: (Cidr(*it.cidr).contains(target), it.gateway is not None)
    )  # the first of equals


def resolve(fabric: Fabric, sender: Workload, to_ip: Address) -> tuple[int | None, Verdict | None]:
    """Ask for the MAC address of the next hop; (None, verdict) when nobody answers."""
    hop = sender.next_hop(to_ip)
    if hop is None:
        return None, None
    is_ipv4 = sender.version is IPV4
    ask = packets.arp_request if is_ipv4 else packets.neighbour_solicitation
    verdict = fabric.inject(sender.port_id, ask(sender.mac, sender.ip, hop))
    answered = [reply.fields[Field.ARP_SHA if is_ipv4 else Field.ND_TLL] for reply in verdict.returned]
    return (answered[0] if answered else None), verdict


def ping(fabric: Fabric, port_id: PortId, to_ip: Address, *, identifier: int = 1) -> Exchange:
    """Ping an address from a workload: a port's or a router interface's."""
    version = version_of(_packed(to_ip))
    sender = workload(fabric, port_id, version, to_ip)
    request = _addressed(fabric, sender, to_ip, version.icmp, **_echo(version, version.echo_request))
    if isinstance(request, Exchange):
        return request
    verdict = fabric.inject(port_id, replace(request, identifier=identifier))
    if any(reply.get(version.icmp_type) == version.echo_reply for reply in verdict.returned):
        return Exchange(True, (verdict,))
    if not verdict.delivered:
        return Exchange(False, (verdict,))
    arrived = verdict.delivered[0]
    answerer = _addressee(fabric, arrived)
    asker = ip_from_int(arrived.packet.fields[version.source], length=version.bits // 8)
    answer = _addressed(fabric, answerer, asker, version.icmp, **_echo(version, version.echo_reply))
    if isinstance(answer, Exchange):
        return Exchange(False, (verdict, *answer.verdicts))
    back = fabric.inject(answerer.port_id, replace(answer, identifier=identifier, is_opening=False))
    return Exchange(_reached(back, port_id), (verdict, back))


def ask(fabric: Fabric, port_id: PortId, to_ip: Address, protocol: int, port: int = 0) -> Exchange:
    """Send a question in one packet of an IP protocol, and its answer. `port`: of SCTP; others have none."""
    sender = workload(fabric, port_id, version_of(_packed(to_ip)), to_ip)
    question = _addressed(fabric, sender, to_ip, protocol, **_ports(protocol, _CLIENT_PORT, port))
    if isinstance(question, Exchange):
        return question
    verdict = fabric.inject(port_id, question)
    if not verdict.delivered:
        return Exchange(False, (verdict,))
    answerer = _addressee(fabric, verdict.delivered[0])
    answer = _addressed(fabric, answerer, _own_ip(sender), protocol, **_ports(protocol, port, _CLIENT_PORT))
    if isinstance(answer, Exchange):
        return Exchange(False, (verdict, *answer.verdicts))
    back = fabric.inject(answerer.port_id, answer)
    return Exchange(_reached(back, port_id), (verdict, back))


class TcpConnection:
    """One TCP connection between two workloads. Owner of nothing but its addresses."""

    def __init__(self, fabric: Fabric, port_id: PortId, to_ip: Address, dport: int, sport: int) -> None:
        self._fabric = fabric
        self._client = workload(fabric, port_id, version_of(_packed(to_ip)), to_ip)
        self._to_ip = to_ip
        self._dport, self._sport = dport, sport
        self._server: Workload | None = None

    def open(self) -> Exchange:
        """Do the three-way handshake."""
        forth = self.send(is_opening=True)
        if not forth.succeeded:
            return forth
        back = self.answer()
        if not back.succeeded:
            return Exchange(False, (*forth.verdicts, *back.verdicts))
        last = self.send()
        return Exchange(last.succeeded, (*forth.verdicts, *back.verdicts, *last.verdicts))

    def send(self, *, is_opening: bool = False) -> Exchange:
        """Send one segment from client to server."""
        segment = _addressed(
            self._fabric, self._client, self._to_ip, matching.TCP, tcp_src=self._sport, tcp_dst=self._dport
        )
        if isinstance(segment, Exchange):
            return segment
        verdict = self._fabric.inject(self._client.port_id, replace(segment, is_opening=is_opening))
        if verdict.delivered:
            self._server = _addressee(self._fabric, verdict.delivered[0])
        return Exchange(bool(verdict.delivered), (verdict,))

    def answer(self) -> Exchange:
        """Send one segment from server to client. Only after one arrived there."""
        assert self._server is not None
        back = _own_ip(self._client)
        ports = {"tcp_src": self._dport, "tcp_dst": self._sport}
        segment = _addressed(self._fabric, self._server, back, matching.TCP, **ports)
        if isinstance(segment, Exchange):
            return segment
        verdict = self._fabric.inject(self._server.port_id, replace(segment, is_opening=False))
        return Exchange(_reached(verdict, self._client.port_id), (verdict,))


def connect_tcp(
    fabric: Fabric, port_id: PortId, to_ip: Address, dport: int, *, sport: int = _CLIENT_PORT
) -> Exchange:
    """Open a TCP connection: succeeds when the handshake does."""
    return TcpConnection(fabric, port_id, to_ip, dport, sport).open()


def _addressed(
    fabric: Fabric, sender: Workload, to_ip: Address, protocol: int, **more: int
) -> Packet | Exchange:
    """Make a packet towards the next hop; a failed Exchange when that cannot be resolved."""
    mac, verdict = resolve(fabric, sender, to_ip)
    if mac is None:
        return Exchange(False, () if verdict is None else (verdict,))
    ends = (sender.ip, ip_to_int(_packed(to_ip)))
    return packets.ip(sender.version, (sender.mac, mac), ends, protocol, **more)


def _packed(ip: Address) -> bytes:
    return ip if isinstance(ip, bytes) else ip_from_int(ip)


def _own_ip(sender: Workload) -> bytes:
    return ip_from_int(sender.ip, length=sender.version.bits // 8)


def _echo(version: IpVersion, kind: int) -> dict[str, int]:
    return {version.icmp_type.name.lower(): kind, version.icmp_code.name.lower(): 0}


def _ports(protocol: int, source: int, destination: int) -> dict[str, int]:
    return {"sctp_src": source, "sctp_dst": destination} if protocol == matching.SCTP else {}


def _addressee(fabric: Fabric, delivery: Delivery) -> Workload:
    """Give the workload that a packet reached, with the address that it was sent to."""
    fields = delivery.packet.fields
    version = matching.IPV6 if Field.IPV6_DST in fields else IPV4
    own = ip_from_int(fields[version.destination], length=version.bits // 8)
    return replace(workload(fabric, delivery.port_id, version, own), ip=ip_to_int(own))


def _reached(verdict: Verdict, port_id: PortId) -> bool:
    return any(delivery.port_id == port_id for delivery in verdict.delivered)
