"""The engine of `alcor trace`: one packet through what the hosts are given, in words."""

from collections.abc import Mapping
from dataclasses import replace

from alcor.contracts.convergence import TraceResult, TraceStep
from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline import hand_over, matching
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
    Resubmit,
    SetField,
    ToAgent,
    Track,
)
from alcor.data_plane.pipeline.matching import IPV4, IpVersion, version_of
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated import packet as packets
from alcor.data_plane.simulated.classifier import Decision
from alcor.data_plane.simulated.exchange import Workload
from alcor.data_plane.simulated.fabric import Fabric, Verdict, Visit
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.data_plane.simulated.packet import Packet
from alcor.model import errors
from alcor.model.addressing import ip_from_int, ip_to_int, ip_to_text
from alcor.model.goal_state import HostState, NetworkSection
from alcor.model.ids import HostId, PortId

_SOURCE_PORT = 49_152  # first of the dynamic range (RFC 6335)
_AFTER = {int(Table.RETURN), int(Table.HAND_OVER)}  # where what was decided before is carried out
_RULES = {int(Table.EGRESS_RULES), int(Table.INGRESS_RULES)}
_REFUSED = {int(Table.EGRESS_REFUSED): ("egress", "to"), int(Table.INGRESS_REFUSED): ("ingress", "from")}


def trace(
    states: Mapping[HostId, tuple[HostFacts, HostState]],
    *,
    port_id: PortId,
    to_ip: bytes,
    protocol: str,
    dst_port: int = 0,
    icmp_type: int | None = None,
) -> TraceResult:
    """Send one new packet from a port through the hosts' states, as if every workload were plugged.

    `states` must hold the hosts that the packet may visit: the port's own and its domain's. The address says
    the packet's IP version, and so what `protocol` icmp is; `icmp_type` None: a ping's.
    Raises Missing when no host has the port, Invalid when the protocol cannot be traced.
    """
    fabric = _fabric(states)
    version = version_of(to_ip)
    if all(version_of(fixed.ip) is not version for fixed in fabric.scope_of(port_id).port.fixed_ips):
        decided = f"port {port_id} has no IPv{version.number} address to send from"
        return TraceResult(delivered=False, to_port=None, decided_by=decided, steps=())
    sender = exchange.workload(fabric, port_id, version, to_ip)
    mac, question = exchange.resolve(fabric, sender, to_ip)
    if mac is None:
        return _unresolved(sender, to_ip, question)
    if icmp_type is None:
        icmp_type = version.echo_request
    packet = _packet(sender, mac, to_ip, protocol, dst_port, icmp_type)
    verdict = fabric.inject(port_id, packet)
    what = _in_words(version, protocol, dst_port, icmp_type)
    reached = verdict.delivered[0].port_id if verdict.delivered else None
    return TraceResult(
        delivered=bool(verdict.delivered or verdict.returned),
        to_port=reached,
        decided_by=_decision(fabric, sender, to_ip, what, verdict),
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


def _packet(sender: Workload, mac: int, to_ip: bytes, protocol: str, dst_port: int, icmp_type: int) -> Packet:
    version = sender.version
    macs, ends = (sender.mac, mac), (sender.ip, ip_to_int(to_ip))
    if protocol == "icmp":
        typed = {version.icmp_type.name.lower(): icmp_type, version.icmp_code.name.lower(): 0}
        made = packets.ip(version, macs, ends, version.icmp, **typed)
        return replace(made, is_opening=icmp_type != version.echo_reply)
    if protocol == "tcp":
        return packets.ip(version, macs, ends, matching.TCP, tcp_src=_SOURCE_PORT, tcp_dst=dst_port)
    if protocol == "udp":
        return packets.ip(version, macs, ends, matching.UDP, udp_src=_SOURCE_PORT, udp_dst=dst_port)
    if protocol == "sctp":
        return packets.ip(version, macs, ends, matching.SCTP, sctp_src=_SOURCE_PORT, sctp_dst=dst_port)
    raise errors.Invalid(f"protocol '{protocol}' cannot be traced: use icmp, tcp, udp or sctp")


def _unresolved(sender: Workload, to_ip: bytes, question: Verdict | None) -> TraceResult:
    if question is None:
        decided = f"{ip_to_text(to_ip)} is in no subnet of port {sender.port_id}, and there is no gateway"
        return TraceResult(delivered=False, to_port=None, decided_by=decided, steps=())
    hop = sender.next_hop(to_ip)
    assert hop is not None
    asked = ip_to_text(to_ip) if hop == ip_to_int(to_ip) else f"the gateway {_address(sender.version, hop)}"
    is_ipv4 = sender.version is IPV4
    ask = packets.arp_request if is_ipv4 else packets.neighbour_solicitation
    by = "ARP" if is_ipv4 else "neighbour solicitations"
    return TraceResult(
        delivered=False,
        to_port=None,
        decided_by=f"nobody answers {by} for {asked}: {question.dropped_by or 'no reply'}",
        steps=_steps(question),
        packet=ask(sender.mac, sender.ip, hop).describe(),
    )


def _decision(fabric: Fabric, sender: Workload, to_ip: bytes, what: str, verdict: Verdict) -> str:
    """Write the sentence that answers why."""
    last = next(visit for visit in reversed(verdict.visits) if visit.step.table not in _AFTER)
    if verdict.delivered:
        port_id = verdict.delivered[0].port_id
        allowed = [_rule(visit.step.decision) for visit in verdict.visits if visit.step.table in _RULES]
        return f"delivered to port {port_id}" + (f": {'; then '.join(allowed)}" if allowed else "")
    if verdict.returned:
        return _rule(last.step.decision)
    if verdict.handed_over:
        return f"handed to the agent: {_rule(last.step.decision)}"
    return _drop(fabric, sender, to_ip, what, last)


def _drop(fabric: Fabric, sender: Workload, to_ip: bytes, what: str, last: Visit) -> str:
    if last.step.table not in _REFUSED or _is_fixed(last.step.decision):
        return f"dropped in {Table(last.step.table).title}: {_rule(last.step.decision)}"
    direction, preposition = _REFUSED[last.step.table]
    if direction == "egress":
        port_id, peer = sender.port_id, ip_to_text(to_ip)
    else:
        receiver = _receiver(fabric, last)
        assert receiver is not None, "what comes in is for a port"
        port_id, peer = receiver, _address(sender.version, sender.ip)
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
            value = packets.field_text(action.field, action.value) or action.value
            return f"set {action.field.name.lower()} to {value}"
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
            meter = hand_over.METERS[action.meter]
            return f"hand to the agent, at most {meter.rate_per_s} packets a second, {meter.burst} at once"
        case Resubmit():
            return f"by way of {Table(action.table).title}"
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


def _in_words(version: IpVersion, protocol: str, dst_port: int, icmp_type: int) -> str:
    if protocol != "icmp":
        return f"{protocol}/{dst_port}"
    return "ping" if icmp_type == version.echo_request else f"icmp type {icmp_type}"


def _address(version: IpVersion, ip: int) -> str:
    return ip_to_text(ip_from_int(ip, length=version.bits // 8))
