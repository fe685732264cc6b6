"""Joins simulated hosts: what one sends into the tunnel, the other receives."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.pipeline.networks import PortScope
from alcor.data_plane.pipeline.unknown import ASKING
from alcor.data_plane.simulated.host import TUNNEL_PORT, SimulatedHost
from alcor.data_plane.simulated.packet import Packet
from alcor.data_plane.simulated.switch import Passage, Step
from alcor.model import errors
from alcor.model.ids import HostId, PortId

LATE_MAX = 1_000


class Delivery(NamedTuple):
    """A packet at the workload that it reached."""

    port_id: PortId
    packet: Packet


class Visit(NamedTuple):
    """One table's part in a packet's way, and on which host."""

    host: HostId
    step: Step


@dataclass(frozen=True)
class Verdict:
    """What became of one packet. Neither delivered, returned nor handed over: the last visit dropped it."""

    delivered: tuple[Delivery, ...]
    returned: tuple[Packet, ...]  # to the sender: ARP and ping answered on the host
    handed_over: bool  # to the agent of the sender's host, or of the receiver's to ask for the sender
    answers: tuple[bytes, ...]  # frames that the agent sent back
    visits: tuple[Visit, ...]

    @property
    def dropped_by(self) -> str | None:
        """Say which flow dropped it, if only by its meter; None when it was not dropped."""
        if self.delivered or self.returned or self.handed_over:
            return None
        decision = self.visits[-1].step.decision
        return "no flow matched" if decision is None else decision.flow.origin


class Late(NamedTuple):
    """A packet that had to wait, by its sender; None: it came from another host."""

    port_id: PortId | None
    verdict: Verdict


class Fabric:
    """Owns the hosts and knows them by tunnel endpoint."""

    def __init__(self) -> None:
        self._hosts: dict[int, SimulatedHost] = {}
        self.late: deque[Late] = deque(maxlen=LATE_MAX)  # what became of packets that waited for an address

    def join(self, host: SimulatedHost) -> None:
        """Add a host; one with the same endpoint is replaced."""
        self._hosts[int.from_bytes(host.facts.vtep, "big")] = host

    def leave(self, host: SimulatedHost) -> None:
        """Take a host away."""
        vtep = int.from_bytes(host.facts.vtep, "big")
        if self._hosts.get(vtep) is host:
            del self._hosts[vtep]

    def host_of(self, port_id: PortId) -> SimulatedHost:
        """Find where a workload is plugged. Raises Missing when it is nowhere."""
        for host in self._hosts.values():
            if host.ofport(port_id) is not None:
                return host
        raise errors.Missing(f"the workload of port {port_id} is not plugged anywhere")

    def host_named(self, name: HostId) -> SimulatedHost:
        """Find a host by name. Raises Missing when it has not joined."""
        for host in self._hosts.values():
            if host.facts.host == name:
                return host
        raise errors.Missing(f"host {name} has not joined")

    def scope_of(self, port_id: PortId) -> PortScope:
        """Give a plugged port with its network and subnets. Raises Missing when its host does not know it."""
        scope = self.host_of(port_id).engine().program.port_scope(port_id)
        if scope is None:
            raise errors.Missing(f"the host of port {port_id} does not know it")
        return scope

    def inject(self, port_id: PortId, packet: Packet) -> Verdict:
        """Send a packet from a plugged workload and follow it to its end."""
        host = self.host_of(port_id)
        return self._follow(host, host.send(port_id, packet), host.ofport(port_id))

    def follow_late(self, host: SimulatedHost, passage: Passage, in_port: int) -> None:
        """Follow a packet that goes on after it has waited for its address; `late` keeps what became of it."""
        port_id = host.sender_of(passage, in_port)
        if port_id is not None or in_port == TUNNEL_PORT:
            self.late.append(Late(port_id, self._follow(host, passage, in_port)))

    def _follow(self, host: SimulatedHost, passage: Passage, in_port: int | None) -> Verdict:
        delivered: list[Delivery] = []
        returned: list[Packet] = []
        answers: list[bytes] = []
        visits = [Visit(host.facts.host, step) for step in passage.steps]
        handed_over = False
        sender = None if in_port is None else host.sender_of(passage, in_port)
        for emission in passage.emissions:
            if emission.port is None and emission.table in ASKING:
                handed_over = True
                host.ask(emission, in_port or 0)
            elif emission.port is None:
                handed_over = handed_over or not passage.is_copied(emission)
                answers.extend(host.answer(emission))
            elif emission.port != TUNNEL_PORT:
                arrived = _delivery(host, emission.port, emission.packet)
                if arrived is not None and arrived.port_id == sender:
                    returned.append(arrived.packet)
                elif arrived is not None:
                    delivered.append(arrived)
            elif (far := self._hosts.get(emission.tunnel_destination)) is not None:
                arrival = far.receive(emission.packet, emission.tunnel_id)
                visits.extend(Visit(far.facts.host, step) for step in arrival.steps)
                for last in arrival.emissions:
                    if last.port is None and last.table in ASKING:
                        handed_over = True
                        far.ask(last, TUNNEL_PORT)
                    elif last.port is not None and (came := _delivery(far, last.port, last.packet)) is not None:
                        delivered.append(came)
        return Verdict(tuple(delivered), tuple(returned), handed_over, tuple(answers), tuple(visits))


def _delivery(host: SimulatedHost, ofport: int, packet: Packet) -> Delivery | None:
    port_id = host.port_at(ofport, packet.get(Field.VLAN_VID))
    return None if port_id is None else Delivery(port_id, packet)
