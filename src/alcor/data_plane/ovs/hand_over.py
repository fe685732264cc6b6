"""What the agent says to packets: answers them, asks for addresses in their name, advertises routers.

handed over --+--> asking ---> agent; resumed when the address is in force
              +--> announced -> agent: a workload says that an address is its own
              +--> answers ---> packet out
retold, due ------> advertiser -> packet out
"""

from collections.abc import Iterable, Mapping, Sequence

from alcor.contracts.data_plane import DataPlaneEvents, HostFacts
from alcor.data_plane import answering, frames
from alcor.data_plane.advertisements import Advertisement
from alcor.data_plane.asking import Asking, asked_address
from alcor.data_plane.ovs.advertiser import Advertiser
from alcor.data_plane.ovs.answers import Answers
from alcor.data_plane.ovs.messages import PacketIn
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.pipeline.flow import Field, Output, SetField
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.retold import Retold
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.pipeline.unknown import ASKING, RESUMED_FIELDS
from alcor.model.ids import PortId
from alcor.runtime import supervision
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.limits import TokenBuckets
from alcor.runtime.supervision import Supervisor

ANNOUNCED_PER_S = 2.0  # of each port: each that is new is a commit
ANNOUNCED_BURST = 16.0


class HandedOver:
    """Owner of the packets that wait, of what ports were told, and of the limits on both."""

    def __init__(self, facts: HostFacts, clock: Clock, log: EventLog) -> None:
        self._facts = facts
        self._log = log
        self._clock = clock
        self._events: DataPlaneEvents
        self._program: FlowProgram | None = None
        self._switch: OpenFlowConnection | None = None
        self._answers = Answers(answer=self._answer, send=self._send, clock=clock)
        self._advertiser = Advertiser(
            told=self._told, send=self._tell, can_send=lambda: self._switch is not None, clock=clock
        )
        self._asking: Asking[PacketIn] = Asking(
            ask=lambda vni, ip: self._events.unknown(vni, ip), mac_of=self._mac_of, resume=self._resume
        )
        self._announcements: TokenBuckets[int] = TokenBuckets(rate_per_s=ANNOUNCED_PER_S, burst=ANNOUNCED_BURST)

    def start(self, events: DataPlaneEvents, supervisor: Supervisor) -> None:
        """Begin to answer and to advertise, once there is a switch."""
        self._events = events
        supervisor.start("ovs answers", self._answers.run())
        supervisor.start("ovs advertisements", self._advertiser.run())

    def take(self, program: FlowProgram, switch: OpenFlowConnection) -> None:
        """Speak by this program, through this switch."""
        self._program, self._switch = program, switch

    def let_go(self) -> None:
        """Say nothing until there is a switch again."""
        self._switch = None

    @property
    def retold(self) -> Retold:
        """Where a program notes which ports may have to be told something else."""
        return self._advertiser.retold

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many packets were dropped so far, by why."""
        return {
            "answers": self._answers.dropped,
            "looking_up": self._asking.dropped,
            "asking_too_often": self._asking.limited,
        }

    def put(self, packet: PacketIn) -> None:
        """Take a packet in. Never blocks, never raises: what a workload made up must not cost the session."""
        with supervision.contained(self._log, "ovs packets"):
            self._put(packet)

    def _put(self, packet: PacketIn) -> None:
        way = ASKING.get(packet.table)
        ip = None if way is None else asked_address(way, packet.fields, packet.data)
        if way is None or ip is None:
            if packet.table != Table.SPOOF or not self._took_announcement(packet):
                self._answers.put(packet)
            return
        self._asking.handed_over(
            packet,
            vni=packet.fields.get(way.vni, 0),
            ip=ip,
            key=packet.fields.get(way.port, 0),
            to_mac=int.from_bytes(packet.data[:6], "big") if packet.table == Table.REMOTE else None,
            now_s=self._clock.monotonic_s(),
        )

    def go_on(self) -> None:
        """Send on what has waited for addresses that are in force now. O(addresses waited for)."""
        self._asking.go_on(self._clock.monotonic_s())

    def succeed(self, program: FlowProgram, legs: Iterable[tuple[int, int]]) -> None:
        """Take over from who advertised before, see `Advertiser.succeed`."""
        self._advertiser.succeed(program, legs)

    def meet(self, port_ids: set[PortId]) -> None:
        """Know that the workloads of these ports are others than before: they have heard nothing yet."""
        self._advertiser.meet(port_ids)

    def look(self, program: FlowProgram, *, is_complete: bool) -> None:
        """Find out who is to be told something else, see `Advertiser.look`."""
        self._advertiser.look(program, is_complete=is_complete)

    def _took_announcement(self, packet: PacketIn) -> bool:
        """Tell the agent of an address that a workload says is its own. Is the packet of that kind?"""
        said = frames.said_by_neighbour(packet.data)
        if said is None or self._program is None:
            return said is not None
        key = packet.fields.get(Field.REG1, 0)
        port_id = self._program.announcer(key, *said)
        if port_id is not None and self._announcements.take(key, self._clock.monotonic_s()):
            self._events.announced(port_id, said[1])
        return True

    def _mac_of(self, vni: int, ip: bytes) -> int | None:
        return None if self._program is None else self._program.mac_of(vni, ip)

    def _resume(self, packet: PacketIn) -> None:
        if self._switch is not None:
            actions = tuple(SetField(field, packet.fields.get(field, 0)) for field in RESUMED_FIELDS)
            self._switch.resume_packet(packet, actions, ASKING[packet.table].resume)

    def _answer(self, vni: int, key: int, frame: bytes) -> Sequence[bytes]:
        if self._program is None:
            return ()
        with supervision.contained(self._log, "ovs answers"):  # a frame that a workload made up ends no agent
            return answering.answer(self._program, self._facts, vni=vni, key=key, frame=frame)
        return ()

    def _told(self, port_id: PortId) -> Sequence[Advertisement]:
        return () if self._program is None else answering.told(self._program, self._facts, port_id)

    def _tell(self, port_id: PortId, frame: bytes) -> None:
        if self._switch is not None and self._program is not None:
            self._switch.packet_out(self._program.way_to(port_id), frame)

    def _send(self, packet: PacketIn, frame: bytes) -> None:
        if self._switch is not None and self._program is not None:
            tagging = self._program.tagging(packet.fields.get(Field.REG1, 0))
            self._switch.packet_out((*tagging, Output(packet.in_port)), frame)
