"""Simulated hosts that hold what a region of `topology` wants, and what is sent through them."""

from dataclasses import replace

from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.simulated import exchange, packet
from alcor.data_plane.simulated.fabric import Fabric, Verdict
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.model.ids import PortId
from doubles.topology import TCP, UDP, Region, address


def fabric_of(region: Region) -> Fabric:
    fabric = Fabric()
    for host, (facts, state) in region.states().items():
        simulated = SimulatedHost(facts)
        simulated.hold(state, remove=True)
        fabric.join(simulated)
        for port in region.ports.values():
            if port.host == host and port.tag is None:
                simulated.plug(PortId(port.id))
    return fabric


def one_network() -> Region:
    """Two ports that may do anything, on two hosts."""
    region = Region()
    region.add_net("n", 7, "10.0.0.0/24", "10.0.1.0/24")
    for direction in (True, False):
        region.add_rule("open", f"open-{direction}", ingress=direction)
    region.add_port("a", "n-s0", 10, "h1", "open")
    region.add_port("b", "n-s0", 11, "h2", "open")
    region.add_port("far", "n-s1", 12, "h2", "open")
    return region


def syn(region: Region, source: str, target: str, **changes: int) -> packet.Packet:
    a, b = region.ports[source], region.ports[target]
    ends = (a.mac, b.mac, int.from_bytes(a.ip, "big"), int.from_bytes(b.ip, "big"))
    made = packet.ipv4(*ends, TCP, tcp_src=1000, tcp_dst=80)
    return replace(made, fields={**made.fields, **{Field[name]: value for name, value in changes.items()}})


def sent(fabric: Fabric, source: str, to_ip: str, **changes: int) -> Verdict:
    sender = exchange.workload(fabric, PortId(source))
    mac, _ = exchange.resolve(fabric, sender, address(to_ip))
    assert mac is not None
    made = packet.ipv4(sender.mac, mac, sender.ip, address(to_ip), UDP, udp_src=1, udp_dst=2)
    return fabric.inject(
        sender.port_id,
        replace(made, fields={**made.fields, **{Field[name]: value for name, value in changes.items()}}),
    )


def reached(region: Region, source: str, to_ip: str) -> str | None:
    delivered = sent(fabric_of(region), source, to_ip).delivered
    return delivered[0].port_id if delivered else None
