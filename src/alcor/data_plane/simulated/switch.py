"""Runs packets through flows the way an OpenFlow switch does, and says what each table decided."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, assert_never

from alcor.data_plane.pipeline import hand_over, prerequisites
from alcor.data_plane.pipeline.flow import (
    VLAN_PRESENT,
    Action,
    AnyFlow,
    Commit,
    Conjunction,
    DecTtl,
    Field,
    FlowChange,
    ForgetTrack,
    Goto,
    Move,
    Output,
    OutputInPort,
    Pattern,
    PatternFlow,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    ToAgent,
    Track,
)
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.pipeline.unknown import ASKING, RESUMED_FIELDS
from alcor.data_plane.simulated.classifier import Classifier, Decision
from alcor.data_plane.simulated.conntrack import Conntrack
from alcor.data_plane.simulated.meters import Meters
from alcor.data_plane.simulated.packet import Packet, Working

_LOW_32 = 0xFFFFFFFF
_REGISTERS = (Field.REG0, Field.REG1, Field.REG2, Field.REG4, Field.REG5, Field.XXREG2)
_NO_REGISTERS: Mapping[Field, int] = MappingProxyType({})


class Emission(NamedTuple):
    """A packet that leaves the switch, by a port or (None) to the agent."""

    port: int | None
    packet: Packet
    tunnel_id: int = 0
    tunnel_destination: int = 0
    table: int = 0  # that it left from
    registers: Mapping[Field, int] = _NO_REGISTERS  # which the agent is told


class Step(NamedTuple):
    """What one table did with the packet. No decision: nothing matched, which drops."""

    table: int
    decision: Decision | None
    values: dict[Field, int]  # as they were when the table looked


class Passage(NamedTuple):
    """All that happened to one packet in one switch."""

    emissions: tuple[Emission, ...]
    steps: tuple[Step, ...]

    def is_copied(self, emission: Emission) -> bool:
        """Did the packet go on in later tables after this was emitted?"""
        own = [step.table for step in self.steps if step.table != Table.HAND_OVER]
        return emission.table != own[-1]


class Switch:
    """Owns the tables, meters and connections of one host. `now_s`: the time that meters go by."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._tables: dict[int, Classifier] = {}
        self._meters = Meters(hand_over.METERS, now_s)
        self._fit: set[Pattern] = set()  # whose prerequisites were looked at
        self.conntrack = Conntrack()

    def apply(self, change: FlowChange) -> None:
        """Install and remove flows."""
        for flow in change.remove:
            if flow.table in self._tables:
                self._tables[flow.table].remove(flow)
        for flow in change.install:
            if not isinstance(flow, PatternFlow):
                _require_fit(flow)
            elif flow.pattern not in self._fit:  # its numbers make no difference
                _require_fit(flow)
                self._fit.add(flow.pattern)
            self._tables.setdefault(flow.table, Classifier()).install(flow)

    def flows(self) -> list[AnyFlow]:
        """Give all flows of all tables, in no order."""
        return [flow for table in self._tables.values() for flow in table.flows()]

    def run(self, packet: Packet, in_port: int) -> Passage:
        """Run a packet from where it comes in to where it leaves."""
        working = Working.enter(packet, in_port)
        return self._run(working)

    def run_from_tunnel(self, packet: Packet, in_port: int, tunnel_id: int) -> Passage:
        """Run a packet that another host sent."""
        working = Working.enter(packet, in_port)
        working.values[Field.TUN_ID] = tunnel_id
        return self._run(working)

    def resume(self, emission: Emission, in_port: int) -> Passage:
        """Run a packet on that was handed to the agent, where the table that handed it over says."""
        working = Working.enter(emission.packet, in_port)
        for field in RESUMED_FIELDS:
            working.values[field] = emission.registers[field]
        return self._run(working, ASKING[emission.table].resume)

    def _run(self, working: Working, first: int = 0) -> Passage:
        emissions: list[Emission] = []
        steps: list[Step] = []
        table: int | None = first
        while table is not None:
            table = self._visit(table, working, emissions, steps)
        return Passage(tuple(emissions), tuple(steps))

    def _visit(self, table: int, working: Working, emissions: list[Emission], steps: list[Step]) -> int | None:
        """Do what one table says; give the table to go on in."""
        classifier = self._tables.get(table)
        decision = classifier.look_up(working.values) if classifier else None
        steps.append(Step(table, decision, dict(working.values)))
        return None if decision is None else self._act(decision.flow, working, emissions, steps)

    def _act(self, flow: AnyFlow, working: Working, emissions: list[Emission], steps: list[Step]) -> int | None:
        """Carry out the actions; give the table to go on in."""
        following: int | None = None
        for action in flow.actions:
            if isinstance(action, DecTtl):
                if working.values[Field.IP_TTL] <= 1:
                    return None
                working.values[Field.IP_TTL] -= 1
                continue
            if isinstance(action, Resubmit):
                onward = self._visit(action.table, working, emissions, steps)
                assert onward is None, "what is resubmitted ends there"
                continue
            if isinstance(action, ToAgent) and not self._meters.let(action.meter):
                continue
            onward = self._do(action, working, emissions, flow.table)
            following = onward if onward is not None else following
        assert following is None or following > flow.table, "a packet never goes back"
        return following

    def _do(self, action: Action, working: Working, emissions: list[Emission], table: int) -> int | None:
        values = working.values
        match action:
            case SetField():
                values[action.field] = action.value
            case Move():
                value = values[action.source]
                values[action.target] = value & _LOW_32 if action.source == Field.TUN_ID else value
            case PopVlan():
                del values[Field.VLAN_VID]
            case PushVlan():
                assert Field.VLAN_VID not in values, "frames in the pipeline have no tag"
                values[Field.VLAN_VID] = VLAN_PRESENT
            case Output():
                if action.port != values[Field.IN_PORT]:  # OpenFlow never sends back by a plain output
                    emissions.append(_emission(working, action.port, table))
            case OutputInPort():
                emissions.append(_emission(working, values[Field.IN_PORT], table))
            case ToAgent():
                emissions.append(_emission(working, None, hand_over.table_of(values[Field.REG6])))
            case Track():
                zone = values[action.zone] & 0xFFFF
                state, mark = self.conntrack.look_up(zone, working.packet, values)
                values[Field.CT_STATE], values[Field.CT_MARK] = state, mark
                return action.table
            case Commit():
                self.conntrack.commit(values[action.zone] & 0xFFFF, working.packet, values, action.mark)
            case ForgetTrack():
                values[Field.CT_STATE] = values[Field.CT_MARK] = 0
            case Goto():
                return action.table
            case Conjunction() | DecTtl() | Resubmit():
                raise AssertionError(
                    "a clause decides nothing on its own, and the others are carried out above"
                )
            case _:
                assert_never(action)
        return None


def _require_fit(flow: AnyFlow) -> None:
    unfit = prerequisites.missing(flow)
    assert not unfit, f"a switch would refuse {flow}: no match says that there is {', '.join(unfit)}"


def _emission(working: Working, port: int | None, table: int) -> Emission:
    values = working.values
    return Emission(
        port,
        working.leave(),
        values[Field.TUN_ID],
        values[Field.TUN_DST],
        table,
        {field: values[field] for field in _REGISTERS} if port is None else _NO_REGISTERS,
    )
