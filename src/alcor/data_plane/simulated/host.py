"""One simulated host: its state, its workloads, and, from the first packet on, its switch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane import answering, frames
from alcor.data_plane.asking import Asking
from alcor.data_plane.pipeline.flow import VLAN_PRESENT, Field
from alcor.data_plane.pipeline.matching import ETHERTYPE_IPV6, IPV4, IPV6
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.pipeline.unknown import ASKING
from alcor.data_plane.simulated import packet as packets
from alcor.data_plane.simulated.packet import Packet
from alcor.data_plane.simulated.switch import Emission, Passage, Switch
from alcor.data_plane.sub_ports import SubPorts
from alcor.model.goal_state import HostState, NetworkChange, SectionUpdate
from alcor.model.ids import PortId, Vni

TUNNEL_PORT = 1
_FIRST_OFPORT = 10


class Engine(NamedTuple):
    """What forwarding needs: the flows' program and the switch that runs them, in step."""

    program: FlowProgram
    switch: Switch


class _HandedOver(NamedTuple):
    """A packet as the pipeline handed it over, and where it came in."""

    emission: Emission
    in_port: int


class SimulatedHost:
    """Owns one host's forwarding. Flows are made for the first packet: thousands of hosts are cheap.

    `now_s`: seconds of a clock that never steps back. While it stands still, meters let a burst pass, no more.
    """

    def __init__(self, facts: HostFacts, *, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self.facts = facts
        self._now_s = now_s
        self._state = HostState()
        self.holds_more = False  # than the state, perhaps: it was not to be removed
        self._engine: Engine | None = None
        self._ofports: dict[PortId, int] = {}
        self._ports: dict[int, PortId] = {}
        self._sub_ports = SubPorts()
        self._next_ofport = _FIRST_OFPORT
        self._asking: Asking[_HandedOver] | None = None
        self.on_announced: Callable[[PortId, bytes], None] | None = None

    @property
    def workloads(self) -> Sequence[PortId]:
        """Name the ports that workloads are attached as, sorted."""
        return sorted(self._ofports)

    @property
    def plugged(self) -> Sequence[PortId]:
        """Name the ports that are reached through attached workloads, sorted; known or not."""
        found = self.reached_through(self._ofports)
        return sorted(port_id for port_id in found if self.ofport(port_id) is not None)

    def reached_through(self, port_ids: Iterable[PortId]) -> set[PortId]:
        """Name the ports, and their sub-ports."""
        return self._sub_ports.reached_through(port_ids)

    @property
    def is_running(self) -> bool:
        """Were flows made already?"""
        return self._engine is not None

    def follow(self, state: HostState, updates: Sequence[SectionUpdate]) -> None:
        """Put updates in force. `state` has them already."""
        self._state = state
        self._note_sub_ports(updates)
        if self._engine is not None:
            self._engine.switch.apply(self._engine.program.change(state, updates))
            self._forget_gone()

    def hold(self, state: HostState, *, remove: bool) -> None:
        """Make the host hold the state; what it does not name goes only with `remove`."""
        if self._engine is None and not remove and self._state is not state and self._state.sections:
            self.engine()  # remembers what the new state does not name
        is_other = self._state is not state and bool(self._state.sections)
        self.holds_more = not remove and (self.holds_more or is_other)
        self._state = state
        self._sub_ports = SubPorts.of(state)
        if self._engine is not None:
            program, switch = self._engine
            change = program.replace(state) if remove else program.change(state, state.full_updates())
            switch.apply(change)
            self._forget_gone()

    def plug(self, port_id: PortId) -> None:
        """Attach a workload."""
        if port_id in self._ofports:
            return
        ofport = self._next_ofport
        self._next_ofport += 1
        self._ofports[port_id] = ofport
        self._ports[ofport] = port_id
        if self._engine is not None:
            self._engine.switch.apply(self._engine.program.attach(port_id, ofport))

    def unplug(self, port_id: PortId) -> None:
        """Take a workload away."""
        ofport = self._ofports.pop(port_id, None)
        if ofport is None:
            return
        del self._ports[ofport]
        if self._engine is not None:
            self._engine.switch.apply(self._engine.program.detach(port_id))

    def engine(self) -> Engine:
        """Give the program and the switch, made now if they were not yet."""
        if self._engine is None:
            program, switch = FlowProgram(self.facts, TUNNEL_PORT), Switch(self._now_s)
            switch.apply(program.base())
            switch.apply(program.replace(self._state))
            for port_id, ofport in sorted(self._ofports.items()):
                switch.apply(program.attach(port_id, ofport))
            self._engine = Engine(program, switch)
        return self._engine

    def ofport(self, port_id: PortId) -> int | None:
        """Give the OpenFlow port by which a port is reached: a sub-port by its parent's."""
        return self._ofports.get(self._sub_ports.carrier(port_id))

    def port_at(self, ofport: int, tagged: int | None = None) -> PortId | None:
        """Name the port that frames at an OpenFlow port are of. `tagged`: their VLAN_VID, if they have one."""
        carrier = self._ports.get(ofport)
        if carrier is None or tagged is None:
            return carrier
        return self._sub_ports.at(carrier, tagged & ~VLAN_PRESENT)

    def send(self, port_id: PortId, packet: Packet) -> Passage:
        """Run a packet of a plugged workload, a sub-port's tagged. Raises KeyError when it is not plugged."""
        tag = self._sub_ports.tag(port_id)
        if tag is not None:
            packet = replace(packet, fields={**packet.fields, Field.VLAN_VID: VLAN_PRESENT | tag.vlan})
        return self.engine().switch.run(packet, self._ofports[self._sub_ports.carrier(port_id)])

    def sender_of(self, passage: Passage, in_port: int) -> PortId | None:
        """Name the port that a packet came from; None for the tunnel."""
        values = passage.steps[0].values
        if values[Field.REG1]:  # it goes on after it has waited
            return self.engine().program.port_of_key(values[Field.REG1])
        return self.port_at(in_port, values.get(Field.VLAN_VID))

    def asks_by(self, ask: Callable[[Vni, bytes], bool] | None, resume: Callable[[Passage, int], None]) -> None:
        """Ask the agent for addresses that are not held; packets that waited are run on by `resume`."""
        self._asking = (
            Asking(
                ask=ask,
                mac_of=lambda vni, ip: self.engine().program.mac_of(vni, ip),
                resume=lambda handed: resume(
                    self.engine().switch.resume(handed.emission, handed.in_port), handed.in_port
                ),
            )
            if ask is not None
            else None
        )

    def ask(self, emission: Emission, in_port: int) -> None:
        """Let a packet wait whose address is not held. Without an agent it is dropped."""
        fields, way = emission.packet.fields, ASKING[emission.table]
        version = IPV6 if fields[Field.ETH_TYPE] == ETHERTYPE_IPV6 else IPV4
        if way.is_next_hop:
            asked = emission.registers[version.next_hop]
        elif way.asks_source:
            asked = fields[version.source]
        else:
            targets = (fields.get(field) for field in (Field.ARP_TPA, Field.ND_TARGET, version.destination))
            asked = next(target for target in targets if target is not None)
        if self._asking is not None:
            self._asking.handed_over(
                _HandedOver(emission, in_port),
                vni=emission.registers[way.vni],
                ip=asked.to_bytes(version.bits // 8, "big"),
                key=emission.registers[way.port],
                to_mac=fields[Field.ETH_DST] if emission.table == Table.REMOTE else None,
                now_s=self._now_s(),
            )

    def go_on(self) -> None:
        """Run on the packets whose address is held now."""
        if self._asking is not None and self._asking.addresses:
            self._asking.go_on(self._now_s())

    def receive(self, packet: Packet, tunnel_id: int) -> Passage:
        """Run a packet from the tunnel."""
        return self.engine().switch.run_from_tunnel(packet, TUNNEL_PORT, tunnel_id)

    def answer(self, emission: Emission) -> Sequence[bytes]:
        """Say what the agent says to a packet that was handed over: frames to its sender."""
        if emission.table == Table.SPOOF and self._heard(emission):
            return ()
        key = emission.registers[Field.REG1]
        program = self.engine().program
        said = answering.answer(
            program, self.facts, vni=emission.registers[Field.REG0], key=key, frame=emission.packet.frame
        )
        port_id = program.port_of_key(key)
        tag = self._sub_ports.tag(port_id) if port_id is not None else None
        return said if tag is None else [frames.tagged(frame, tag.vlan) for frame in said]

    def _note_sub_ports(self, updates: Sequence[SectionUpdate]) -> None:
        if any(update.base is None for update in updates):  # says by silence what is gone
            self._sub_ports = SubPorts.of(self._state)
            return
        for update in updates:
            if isinstance(update.change, NetworkChange):
                for port_id in update.change.gone_ports:
                    self._sub_ports.put(port_id, None)
                for port in update.change.set_ports:
                    self._sub_ports.put(port.id, port)

    def _heard(self, emission: Emission) -> bool:
        """Tell the agent of an address that a workload says is its own. Is the packet of that kind?"""
        said = packets.said_by_neighbour(emission.packet)
        if said is None:
            return False
        mac, ip = said
        port_id = self.engine().program.announcer(emission.registers[Field.REG1], mac, ip)
        if port_id is not None and self.on_announced is not None:
            self.on_announced(port_id, ip)
        return True

    def _forget_gone(self) -> None:
        """Forget the connections of ports that are gone, so that their keys may be given again."""
        if self._engine is None:
            return
        program, switch = self._engine
        gone = program.resting_port_keys
        for key in gone:
            switch.conntrack.forget(key)
        program.wake_port_keys(gone)
