"""Flows for this host's own ports: classification, anti-spoofing, local forwarding, delivery."""

from alcor.data_plane.pipeline import discovery, hand_over, pairs, tables
from alcor.data_plane.pipeline.flow import (
    VLAN_PRESENT,
    Action,
    Field,
    Flow,
    FlowKey,
    Goto,
    Match,
    Output,
    OutputInPort,
    PopVlan,
    PushVlan,
    SetField,
    Term,
)
from alcor.data_plane.pipeline.matching import IS_ARP, IS_ARP_REQUEST, IS_IPV4, UDP, ordered, version_of
from alcor.data_plane.pipeline.tables import Table
from alcor.model.addressing import ip_to_int
from alcor.model.goal_state import LocalPort

_TO_ARP = (Goto(Table.ARP),)
_TO_TRACK = (Goto(Table.EGRESS_TRACK),)
_TO_FORWARD = (Goto(Table.FORWARD),)
_TO_AGENT = hand_over.way(Table.SPOOF, hand_over.Reason.ANSWER)
_DHCP_PORTS = (Term(Field.UDP_SRC, 68), Term(Field.UDP_DST, 67))


def port_flows(port: LocalPort, vni: int, key: int) -> list[Flow]:
    """Make what is programmed when the port is delivered, before any workload is there."""
    spoof = _guarded(port, key) if port.port_security else _unguarded(port, key)
    return [*spoof, _local(port, vni, key)]


def plug_flows(port: LocalPort, vni: int, key: int, ofport: int, *, is_parent: bool) -> list[Flow]:
    """Make the two flows that join a workload's OpenFlow port to the pipeline.

    The ports of a trunk share one: what they send each other goes back to where it came from.
    """
    origin = f"plug of port {port.id}"
    tagging = tagging_of(port)
    came = Term(Field.IN_PORT, ofport)
    to_port = Term(Field.REG2, key)
    inward = (SetField(Field.REG1, key), SetField(Field.REG0, vni), Goto(Table.SPOOF))
    flows = [Flow(FlowKey(Table.DELIVER, tables.NORMAL, (to_port,)), (*tagging, Output(ofport)), origin)]
    if port.tag is None:
        flows.append(Flow(FlowKey(Table.CLASSIFY, tables.NORMAL, (came,)), inward, origin))
    else:
        tagged = (came, Term(Field.VLAN_VID, VLAN_PRESENT | port.tag.vlan))
        enter = FlowKey(Table.CLASSIFY, tables.CLASSIFY_SUB_PORT, tagged)
        flows.append(Flow(enter, (PopVlan(), *inward), origin))
        back = FlowKey(Table.RETURN, tables.NORMAL, (Term(Field.REG1, key),))
        flows.append(Flow(back, (*tagging, OutputInPort()), origin))
    if port.tag is not None or is_parent:
        hairpin = FlowKey(Table.DELIVER, tables.DELIVER_BACK, (came, to_port))
        flows.append(Flow(hairpin, (*tagging, OutputInPort()), origin))
    return flows


def tagging_of(port: LocalPort) -> tuple[Action, ...]:
    """Give what is done to a frame before it goes to the port's workload."""
    if port.tag is None:
        return ()
    return (PushVlan(), SetField(Field.VLAN_VID, VLAN_PRESENT | port.tag.vlan))


def _guarded(port: LocalPort, key: int) -> list[Flow]:
    """Let through only what carries the port's own addresses."""
    sender = Term(Field.REG1, key)
    own_mac = Term(Field.ETH_SRC, port.mac)
    own_sha = Term(Field.ARP_SHA, port.mac)
    ips = _addresses(port, 4)
    flows = [_question_for_itself(port, ip, key) for ip in ips]
    match: Match
    for spa in (0, *ips):
        match = (own_mac, IS_ARP, Term(Field.ARP_SPA, spa), own_sha, sender)
        flows.append(_spoof(tables.SPOOF_ARP, match, _TO_ARP, f"own ARP of port {port.id}"))
    dhcp = (own_mac, IS_IPV4, Term(Field.IP_PROTO, UDP), *_DHCP_PORTS, sender)
    flows.append(_spoof(tables.SPOOF_DHCP, dhcp, _TO_AGENT, f"DHCP of port {port.id}"))
    for fixed in port.fixed_ips:
        version = version_of(fixed.ip)
        match = ordered(own_mac, version.is_ip, Term(version.source, ip_to_int(fixed.ip)), sender)
        flows.append(_spoof(tables.SPOOF_IP, match, _TO_TRACK, f"own addresses of port {port.id}"))
    if of_ipv6 := _addresses(port, 16):
        flows.extend(discovery.guarded_flows(port, key, of_ipv6))
    return [*flows, *pairs.sender_flows(port, key)] if port.pairs else flows


def _unguarded(port: LocalPort, key: int) -> list[Flow]:
    """Let through any address: port security is off."""
    sender = Term(Field.REG1, key)
    origin = f"port {port.id} without port security"
    dhcp = (IS_IPV4, Term(Field.IP_PROTO, UDP), *_DHCP_PORTS, sender)
    return [
        *(_question_for_itself(port, ip, key) for ip in _addresses(port, 4)),
        _spoof(tables.SPOOF_ARP, (IS_ARP, IS_ARP_REQUEST, sender), _TO_ARP, origin),
        _spoof(tables.SPOOF_DHCP, dhcp, _TO_AGENT, f"DHCP of port {port.id}"),
        _spoof(tables.SPOOF_IP, (IS_IPV4, sender), _TO_FORWARD, origin),
        *discovery.unguarded_flows(port, key, _addresses(port, 16)),
    ]


def _question_for_itself(port: LocalPort, ip: int, key: int) -> Flow:
    """Drop a question for the port's own address: a client would take the answer for a conflict (RFC 5227)."""
    match = (IS_ARP, Term(Field.ARP_TPA, ip), Term(Field.REG1, key))
    return _spoof(tables.SPOOF_OWN_ADDRESS, match, (), f"address probe of port {port.id}")


def _local(port: LocalPort, vni: int, key: int) -> Flow:
    match = (Term(Field.ETH_DST, port.mac), Term(Field.REG0, vni))
    onward = Goto(Table.INGRESS_TRACK if port.port_security else Table.DELIVER)
    flow_key = FlowKey(Table.LOCAL, tables.NORMAL, match)
    return Flow(flow_key, (SetField(Field.REG2, key), onward), f"port {port.id} on this host")


def _spoof(priority: int, match: Match, actions: tuple[Action, ...], origin: str) -> Flow:
    return Flow(FlowKey(Table.SPOOF, priority, match), actions, origin)


def _addresses(port: LocalPort, length: int) -> list[int]:
    return [ip_to_int(fixed.ip) for fixed in port.fixed_ips if len(fixed.ip) == length]
