"""What an agent says to a packet that its pipeline handed over; shared by every flow-based data plane."""

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane import dhcp, frames, icmp
from alcor.data_plane.pipeline.program import FlowProgram


def answer(program: FlowProgram, facts: HostFacts, *, vni: int, key: int, frame: bytes) -> bytes | None:
    """Make the frame to send back to the workload it came from; None when there is nothing to say.

    `vni` and `key` are reg0 and reg1 of the packet. Any bytes are fine.
    """
    packet = frames.parse_ipv4(frame)
    port_id = program.port_of_key(key)
    if packet is None or port_id is None:
        return None
    if dhcp.is_request(packet):
        scope = program.port_scope(port_id)
        if scope is None:
            return None
        return dhcp.reply(frame, scope.port, scope.network, scope.subnets, server_mac=facts.router_mac)
    interface = program.interface(vni, packet.eth_dst)
    if interface is None or packet.ttl > 1:
        return None
    return icmp.time_exceeded(frame, gateway_ip=interface.ip, gateway_mac=interface.mac)
