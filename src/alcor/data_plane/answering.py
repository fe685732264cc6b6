"""What an agent says to a packet that its pipeline handed over; shared by every flow-based data plane."""

from collections.abc import Sequence

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane import advertisements, dhcp, dhcpv6, frames, icmp, icmp6
from alcor.data_plane.advertisements import Advertisement
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.model.addressing import Cidr
from alcor.model.goal_state import RouterInterface
from alcor.model.ids import PortId


def answer(program: FlowProgram, facts: HostFacts, *, vni: int, key: int, frame: bytes) -> Sequence[bytes]:
    """Make the frames to send back to the workload it came from; none when there is nothing to say.

    `vni` and `key` are reg0 and reg1 of the packet. Any bytes are fine.
    """
    port_id = program.port_of_key(key)
    if port_id is None:
        return ()
    if (packet := frames.parse_ipv4(frame)) is not None:
        said = _to_ipv4(program, facts, port_id, vni, packet, frame)
    elif (of_ipv6 := frames.parse_ipv6(frame)) is None:
        return ()
    elif advertisements.is_solicitation(of_ipv6):
        return [
            answer
            for each in told(program, facts, port_id)
            for answer in advertisements.in_answer(each, of_ipv6)
        ]
    else:
        said = _to_ipv6(program, facts, port_id, vni, of_ipv6, frame)
    return () if said is None else (said,)


def told(program: FlowProgram, facts: HostFacts, port_id: PortId) -> tuple[Advertisement, ...]:
    """Give what the host advertises to a port of its own. Short for ports without IPv6, as most changes are."""
    port = program.local_port(port_id)
    if port is None or not port.admin_state_up or not any(len(fixed.ip) == 16 for fixed in port.fixed_ips):
        return ()
    scope = program.port_scope(port_id)
    if scope is None or not scope.network.admin_state_up:
        return ()
    legs = program.legs(scope.network.vni)
    return advertisements.told(port, scope.network, scope.beside, legs, host_mac=facts.router_mac)


def _to_ipv4(
    program: FlowProgram, facts: HostFacts, port_id: PortId, vni: int, packet: frames.Ipv4Frame, frame: bytes
) -> bytes | None:
    if dhcp.is_request(packet):
        scope = program.port_scope(port_id)
        if scope is None:
            return None
        return dhcp.reply(frame, scope.port, scope.network, scope.subnets, server_mac=facts.router_mac)
    leg = _leg(program, vni, packet.eth_dst, packet.source)
    if leg is None or packet.ttl > 1:
        return None
    return icmp.time_exceeded(frame, gateway_ip=leg.ip, gateway_mac=leg.mac)


def _to_ipv6(
    program: FlowProgram, facts: HostFacts, port_id: PortId, vni: int, packet: frames.Ipv6Frame, frame: bytes
) -> bytes | None:
    if dhcpv6.is_request(packet):
        scope = program.port_scope(port_id)
        if scope is None:
            return None
        return dhcpv6.reply(frame, scope.port, scope.network, scope.subnets, server_mac=facts.router_mac)
    leg = _leg(program, vni, packet.eth_dst, packet.source)
    if leg is None or packet.hop_limit > 1:
        return None
    return icmp6.time_exceeded(packet, gateway_ip=leg.ip, gateway_mac=leg.mac)


def _leg(program: FlowProgram, vni: int, mac: int, source: bytes) -> RouterInterface | None:
    """Find the leg that a packet came in by: if several have the MAC address, that of the sender's subnet."""
    legs = [leg for leg in program.legs(vni) if leg.mac == mac and len(leg.ip) == len(source)]
    near = (leg for leg in legs if Cidr(*leg.cidr).contains(source))
    return next(near, legs[0] if legs else None)
