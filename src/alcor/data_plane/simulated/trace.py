"""The engine of `alcor trace`: one packet through what the hosts are given, in words."""

from collections.abc import Mapping
from dataclasses import replace

from alcor.contracts.convergence import TraceResult, TraceStep
from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.flow import (
    Action,
    Commit,
    Conjunction,
    DecTtl,
    Field,
    ForgetTrack,
    Goto,
    Move,
    Output,
    OutputInPort,
    PopVlan,
    PushVlan,
    SetField,
    ToAgent,
    Track,
)
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated import packet as packets
from alcor.data_plane.simulated.classifier import Decision
from alcor.data_plane.simulated.exchange import Workload
from alcor.data_plane.simulated.fabric import Fabric, Verdict, Visit
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.data_plane.simulated.packet import Packet
from alcor.model import errors
from alcor.model.addressing import ip_to_text, mac_to_text
from alcor.model.goal_state import HostState, NetworkSection
from alcor.model.ids import HostId, PortId

_SOURCE_PORT = 49_152  # first of the dynamic range (RFC 6335)
_RULES = {int(Table.EGRESS_RULES), int(Table.INGRESS_RULES)}
_REFUSED = {int(Table.EGRESS_REFUSED): ("egress", "to"), int(Table.INGRESS_REFUSED): ("ingress", "from")}


def trace(
    states: Mapping[HostId, tuple[HostFacts, HostState]],
    *,
    port_id: PortId,
    to_ip: bytes,
    protocol: str,
    dst_port: int = 0,
    icmp_type: int = matching.ICMP_ECHO_REQUEST,
) -> TraceResult:
    """Send one new packet from a port through the hosts' states, as if every workload were plugged.

    `states` must hold the hosts that the packet may visit: the port's own and its domain's.
    Raises Missing when no host has the port, Invalid when the protocol or address cannot be traced.
    """
    if len(to_ip) != 4:
        raise errors.Invalid("only IPv4 packets can be traced")
    fabric = _fabric(states)
    sender = exchange.workload(fabric, port_id)
    target = int.from_bytes(to_ip, "big")
    mac, question = exchange.resolve(fabric, sender, target)
    if mac is None:
        return _unresolved(sender, target, question)
    packet = _packet(sender, mac, target, protocol, dst_port, icmp_type)
    verdict = fabric.inject(port_id, packet)
    what = _in_words(protocol, dst_port, icmp_type)
    reached = verdict.delivered[0].port_id if verdict.delivered else None
    return TraceResult(
        delivered=bool(verdict.delivered or verdict.returned),
        to_port=reached,
        decided_by=_decision(fabric, sender, target, what, verdict),
        steps=_steps(verdict),
        packet=packet.describe(),
        far_end=reached or _receiver(fabric, verdict.visits[-1]),
    )


def _fabric(states: Mapping[HostId, tuple[HostFacts, HostState]]) -> Fabric:
    fabric = Fabric()
    for _, (facts, state) in sorted(states.items()):
        host = SimulatedHost(facts)
        host.hold(state, remove=True)
        for section in state.sections.values():
            if isinstance(section, NetworkSection):
                for port_id in section.ports:
                    host.plug(port_id)
        fabric.join(host)
    return fabric


def _packet(sender: Workload, mac: int, target: int, protocol: str, dst_port: int, icmp_type: int) -> Packet:
    ends = (sender.mac, mac, sender.ip, target)
    if protocol == "icmp":
        made = packets.ipv4(*ends, matching.ICMP, icmp_type=icmp_type, icmp_code=0)
        return replace(made, is_opening=icmp_type != matching.ICMP_ECHO_REPLY)
    if protocol == "tcp":
        return packets.ipv4(*ends, matching.TCP, tcp_src=_SOURCE_PORT, tcp_dst=dst_port)
    if protocol == "udp":
        return packets.ipv4(*ends, matching.UDP, udp_src=_SOURCE_PORT, udp_dst=dst_port)
    if protocol == "sctp":
        return packets.ipv4(*ends, matching.SCTP, sctp_src=_SOURCE_PORT, sctp_dst=dst_port)
    raise errors.Invalid(f"protocol '{protocol}' cannot be traced: use icmp, tcp, udp or sctp")


def _unresolved(sender: Workload, target: int, question: Verdict | None) -> TraceResult:
    if question is None:
        decided = f"{_address(target)} is in no subnet of port {sender.port_id}, and there is no gateway"
        return TraceResult(delivered=False, to_port=None, decided_by=decided, steps=())
    hop = sender.next_hop(target)
    assert hop is not None
    asked = _address(hop) if hop == target else f"the gateway {_address(hop)}"
    return TraceResult(
        delivered=False,
        to_port=None,
        decided_by=f"nobody answers ARP for {asked}: {question.dropped_by or 'no reply'}",
        steps=_steps(question),
        packet=packets.arp_request(sender.mac, sender.ip, hop).describe(),
    )


def _decision(fabric: Fabric, sender: Workload, target: int, what: str, verdict: Verdict) -> str:
    """Write the sentence that answers why."""
    last = next(visit for visit in reversed(verdict.visits) if visit.step.table != Table.RETURN)
    if verdict.delivered:
        port_id = verdict.delivered[0].port_id
        allowed = [_rule(visit.step.decision) for visit in verdict.visits if visit.step.table in _RULES]
        return f"delivered to port {port_id}" + (f": {'; then '.join(allowed)}" if allowed else "")
    if verdict.returned:
        return _rule(last.step.decision)
    if verdict.handed_over:
        return f"handed to the agent: {_rule(last.step.decision)}"
    return _drop(fabric, sender, target, what, last)


def _drop(fabric: Fabric, sender: Workload, target: int, what: str, last: Visit) -> str:
    if last.step.table not in _REFUSED or _is_fixed(last.step.decision):
        return f"dropped in {Table(last.step.table).title}: {_rule(last.step.decision)}"
    direction, preposition = _REFUSED[last.step.table]
    if direction == "egress":
        port_id, peer = sender.port_id, _address(target)
    else:
        receiver = _receiver(fabric, last)
        assert receiver is not None, "what comes in is for a port"
        port_id, peer = receiver, _address(sender.ip)
    groups = fabric.scope_of(port_id).port.groups
    if not groups:
        return f"port {port_id} is in no security group, so nothing is allowed: {what} {preposition} {peer}"
    rules = f"{direction} rule of the security groups {', '.join(groups)} of port {port_id}"
    return f"no {rules} allows {what} {preposition} {peer}"


def _receiver(fabric: Fabric, visit: Visit) -> PortId | None:
    """Name the port whose key is in reg2, on the host where the packet was; None: it is for no port there."""
    key = visit.step.values[Field.REG2]
    return fabric.host_named(visit.host).engine().program.port_of_key(key) if key else None


def _is_fixed(decision: Decision | None) -> bool:
    """Is it a rule of connection tracking rather than the want of a security group rule?"""
    return decision is not None and decision.flow.key.priority != 0


def _steps(verdict: Verdict) -> tuple[TraceStep, ...]:
    return tuple(
        TraceStep(
            visit.host,
            Table(visit.step.table).title,
            _rule(visit.step.decision),
            _actions(visit.step.decision),
        )
        for visit in verdict.visits
    )


def _rule(decision: Decision | None) -> str:
    """Say what decided: for a conjunction the security group rule among its clauses."""
    if decision is None:
        return "no flow matched"
    if not decision.clauses:
        return decision.flow.origin
    group = decision.flow.origin.removeprefix("security group ").partition(":")[0]
    named = decision.clauses[-1].origin.split("; ")
    rules = [rule for rule in named if rule.endswith(f"of security group {group}")]
    return f"{decision.flow.origin} by {', '.join(rules or named)}"


def _actions(decision: Decision | None) -> str:
    if decision is None or not decision.flow.actions:
        return "drop"
    return ", ".join(_action(action) for action in decision.flow.actions)


def _action(action: Action) -> str:
    match action:
        case SetField():
            return f"set {action.field.name.lower()} to {_value(action.field, action.value)}"
        case Move():
            return f"copy {action.source.name.lower()} to {action.target.name.lower()}"
        case DecTtl():
            return "decrement TTL"
        case PopVlan():
            return "take the VLAN tag off"
        case PushVlan():
            return "put a VLAN tag on"
        case Output():
            return f"send by OpenFlow port {action.port}"
        case OutputInPort():
            return "send back"
        case ToAgent():
            return "hand to the agent"
        case Track():
            return f"track the connection, go to {Table(action.table).title}"
        case Commit():
            return "remember the connection" if action.mark == 0 else "mark the connection as revoked"
        case ForgetTrack():
            return "judge the packet by itself"
        case Goto():
            return f"go to {Table(action.table).title}"
        case Conjunction():
            return "conjunction"


def _value(name: Field, value: int) -> str:
    if name in (Field.ETH_SRC, Field.ETH_DST, Field.ARP_THA):
        return mac_to_text(value)
    if name in (Field.IP_SRC, Field.IP_DST, Field.TUN_DST, Field.REG5):
        return _address(value)
    return str(value)


def _in_words(protocol: str, dst_port: int, icmp_type: int) -> str:
    if protocol != "icmp":
        return f"{protocol}/{dst_port}"
    return "ping" if icmp_type == matching.ICMP_ECHO_REQUEST else f"icmp type {icmp_type}"


def _address(ip: int) -> str:
    return ip_to_text(ip.to_bytes(4, "big"))
