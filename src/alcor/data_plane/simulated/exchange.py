"""What workloads do: resolve, ping, connect. Request and reply both pass the fabric, so state counts."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.simulated import packet as packets
from alcor.data_plane.simulated.fabric import Delivery, Fabric, Verdict
from alcor.data_plane.simulated.packet import Packet
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.ids import PortId

_CLIENT_PORT = 40_000


class Exchange(NamedTuple):
    """How an attempt ended, and every packet's verdict in order."""

    succeeded: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Workload:
    """A workload's own idea of the network, as DHCP gave it: its first address and the gateway."""

    port_id: PortId
    mac: int
    ip: int
    cidr: tuple[bytes, int]
    gateway: int | None

    def next_hop(self, to_ip: int) -> int | None:
        """Say whose MAC address to ask for; None when there is no way."""
        if Cidr(*self.cidr).contains(to_ip.to_bytes(4, "big")):
            return to_ip
        return self.gateway


def workload(fabric: Fabric, port_id: PortId) -> Workload:
    """Configure a plugged workload. Raises Missing when its port is unknown or has no address."""
    port, _, subnets, _ = fabric.scope_of(port_id)
    if not subnets:
        raise errors.Missing(f"port {port_id} has no address")
    ip, subnet = port.fixed_ips[0].ip, subnets[0]
    gateway = None if subnet.gateway_ip is None else int.from_bytes(subnet.gateway_ip, "big")
    return Workload(port_id, port.mac, int.from_bytes(ip, "big"), subnet.cidr, gateway)


def resolve(fabric: Fabric, sender: Workload, to_ip: int) -> tuple[int | None, Verdict | None]:
    """Ask for the MAC address of the next hop; (None, verdict) when nobody answers."""
    hop = sender.next_hop(to_ip)
    if hop is None:
        return None, None
    verdict = fabric.inject(sender.port_id, packets.arp_request(sender.mac, sender.ip, hop))
    answered = [reply.fields[Field.ARP_SHA] for reply in verdict.returned]
    return (answered[0] if answered else None), verdict


def ping(fabric: Fabric, port_id: PortId, to_ip: int, *, identifier: int = 1) -> Exchange:
    """Ping an address from a workload: a port's or a router interface's."""
    sender = workload(fabric, port_id)
    request = _addressed(
        fabric, sender, to_ip, matching.ICMP, icmp_type=matching.ICMP_ECHO_REQUEST, icmp_code=0
    )
    if isinstance(request, Exchange):
        return request
    verdict = fabric.inject(port_id, replace(request, identifier=identifier))
    if any(reply.get(Field.ICMP_TYPE) == matching.ICMP_ECHO_REPLY for reply in verdict.returned):
        return Exchange(True, (verdict,))
    if not verdict.delivered:
        return Exchange(False, (verdict,))
    arrived = verdict.delivered[0]
    answerer = _addressee(fabric, arrived)
    answer = _addressed(
        fabric,
        answerer,
        arrived.packet.fields[Field.IP_SRC],
        matching.ICMP,
        icmp_type=matching.ICMP_ECHO_REPLY,
        icmp_code=0,
    )
    if isinstance(answer, Exchange):
        return Exchange(False, (verdict, *answer.verdicts))
    back = fabric.inject(answerer.port_id, replace(answer, identifier=identifier, is_opening=False))
    return Exchange(_reached(back, port_id), (verdict, back))


def ask(fabric: Fabric, port_id: PortId, to_ip: int, protocol: int, port: int = 0) -> Exchange:
    """Send a question in one packet of an IP protocol, and its answer. `port`: of SCTP; others have none."""
    sender = workload(fabric, port_id)
    question = _addressed(fabric, sender, to_ip, protocol, **_ports(protocol, _CLIENT_PORT, port))
    if isinstance(question, Exchange):
        return question
    verdict = fabric.inject(port_id, question)
    if not verdict.delivered:
        return Exchange(False, (verdict,))
    answerer = _addressee(fabric, verdict.delivered[0])
    answer = _addressed(fabric, answerer, sender.ip, protocol, **_ports(protocol, port, _CLIENT_PORT))
    if isinstance(answer, Exchange):
        return Exchange(False, (verdict, *answer.verdicts))
    back = fabric.inject(answerer.port_id, answer)
    return Exchange(_reached(back, port_id), (verdict, back))


class TcpConnection:
    """One TCP connection between two workloads. Owner of nothing but its addresses."""

    def __init__(self, fabric: Fabric, port_id: PortId, to_ip: int, dport: int, sport: int) -> None:
        self._fabric = fabric
        self._client = workload(fabric, port_id)
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
        segment = _addressed(
            self._fabric, self._server, self._client.ip, matching.TCP, tcp_src=self._dport, tcp_dst=self._sport
        )
        if isinstance(segment, Exchange):
            return segment
        verdict = self._fabric.inject(self._server.port_id, replace(segment, is_opening=False))
        return Exchange(_reached(verdict, self._client.port_id), (verdict,))


def connect_tcp(
    fabric: Fabric, port_id: PortId, to_ip: int, dport: int, *, sport: int = _CLIENT_PORT
) -> Exchange:
    """Open a TCP connection: succeeds when the handshake does."""
    return TcpConnection(fabric, port_id, to_ip, dport, sport).open()


def _addressed(fabric: Fabric, sender: Workload, to_ip: int, protocol: int, **more: int) -> Packet | Exchange:
    """Make a packet towards the next hop; a failed Exchange when that cannot be resolved."""
    mac, verdict = resolve(fabric, sender, to_ip)
    if mac is None:
        return Exchange(False, () if verdict is None else (verdict,))
    return packets.ipv4(sender.mac, mac, sender.ip, to_ip, protocol, **more)


def _ports(protocol: int, source: int, destination: int) -> dict[str, int]:
    return {"sctp_src": source, "sctp_dst": destination} if protocol == matching.SCTP else {}


def _addressee(fabric: Fabric, delivery: Delivery) -> Workload:
    """Give the workload that a packet reached, with the address that it was sent to."""
    return replace(workload(fabric, delivery.port_id), ip=delivery.packet.fields[Field.IP_DST])


def _reached(verdict: Verdict, port_id: PortId) -> bool:
    return any(delivery.port_id == port_id for delivery in verdict.delivered)
