"""Sub-ports of a trunk: frames under VLAN tags, with everything else as for any port."""

from dataclasses import replace

import pytest

from alcor.data_plane.pipeline.flow import VLAN_PRESENT, Field
from alcor.data_plane.simulated import dhcp_client, exchange, packet
from alcor.data_plane.simulated.driver import SimulatedDataPlane
from alcor.data_plane.simulated.fabric import Fabric, Verdict
from alcor.data_plane.simulated.trace import trace
from alcor.model.addressing import ip_from_text
from alcor.model.ids import PortId
from doubles.simulated_region import fabric_of
from doubles.topology import TCP, Region, address


@pytest.fixture
def region() -> Region:
    """On h1 the parent `p` in net n with sub-ports `s` (net m, VLAN 100) and `t` (net m, VLAN 200)."""
    region = Region()
    region.add_net("n", 7, "10.0.0.0/24")
    region.add_net("m", 8, "10.0.1.0/24")
    for direction in (True, False):
        region.add_rule("open", f"open-{direction}", ingress=direction)
    region.add_rule("quiet", "quiet-out", ingress=False)
    region.add_port("p", "n-s0", 10, "h1", "open")
    region.add_port("s", "m-s0", 11, "h1", "open").tag = ("p", 100)
    region.add_port("t", "m-s0", 12, "h1", "open").tag = ("p", 200)
    region.add_port("x", "m-s0", 13, "h1", "open")
    region.add_port("y", "m-s0", 14, "h2", "open")
    region.add_port("q", "m-s0", 15, "h2", "quiet")
    return region


def tagged(fabric: Fabric, region: Region, vlan: int, *, mac: int, ip: int, target: str) -> Verdict:
    """Send a frame from p's workload under any tag and addresses."""
    made = packet.ipv4(mac, region.ports[target].mac, ip, address("10.0.1.14"), TCP, tcp_src=1, tcp_dst=2)
    return fabric.inject(
        PortId("p"), replace(made, fields={**made.fields, Field.VLAN_VID: VLAN_PRESENT | vlan})
    )


@pytest.mark.parametrize("target", ["10.0.1.12", "10.0.1.13", "10.0.1.14"])
def test_a_sub_port_reaches_others_of_its_network_and_they_it(region: Region, target: str) -> None:
    fabric = fabric_of(region)
    assert exchange.ping(fabric, PortId("s"), address(target)).succeeded
    assert exchange.connect_tcp(fabric, PortId("s"), address(target), 80).succeeded
    [peer] = [port.id for port in region.ports.values() if port.ip == ip_from_text(target)]
    assert exchange.ping(fabric, PortId(peer), address("10.0.1.11")).succeeded


def test_tags_are_on_the_wire_of_the_parent_and_nowhere_else(region: Region) -> None:
    fabric = fabric_of(region)
    out = exchange.ping(fabric, PortId("s"), address("10.0.1.13")).verdicts
    assert Field.VLAN_VID not in out[0].delivered[0].packet.fields
    assert out[1].delivered[0].packet.fields[Field.VLAN_VID] == VLAN_PRESENT | 100
    _, question = exchange.resolve(fabric, exchange.workload(fabric, PortId("s")), address("10.0.1.13"))
    assert question is not None
    assert [reply.fields[Field.VLAN_VID] for reply in question.returned] == [VLAN_PRESENT | 100]


def test_a_parent_and_its_sub_ports_are_apart_but_for_a_router(region: Region) -> None:
    fabric = fabric_of(region)
    assert not exchange.ping(fabric, PortId("p"), address("10.0.1.11")).succeeded
    region.routers["r"] = {"n-s0", "m-s0"}
    fabric = fabric_of(region)
    assert exchange.ping(fabric, PortId("p"), address("10.0.1.11")).succeeded
    assert exchange.ping(fabric, PortId("s"), address("10.0.0.10")).succeeded
    assert exchange.ping(fabric, PortId("s"), address("10.0.1.1")).succeeded, "its gateway"


def test_a_sub_port_gets_its_own_address(region: Region) -> None:
    fabric = fabric_of(region)
    for port_id in ("p", "s", "t"):
        lease = dhcp_client.acquire(fabric, PortId(port_id))
        assert lease is not None
        assert lease.ip == region.ports[port_id].ip


def test_frames_under_a_tag_that_no_sub_port_has_are_dropped(region: Region) -> None:
    fabric = fabric_of(region)
    s, x = region.ports["s"], region.ports["x"]
    ends = {"mac": s.mac, "ip": address("10.0.1.11"), "target": "y"}
    assert tagged(fabric, region, 100, **ends).delivered
    assert tagged(fabric, region, 101, **ends).dropped_by == "no sub-port of the port has this VLAN"
    made = packet.ipv4(x.mac, s.mac, address("10.0.1.13"), address("10.0.1.11"), TCP, tcp_src=1, tcp_dst=2)
    for vlan in (0, 100):
        fields = {**made.fields, Field.VLAN_VID: VLAN_PRESENT | vlan}
        dropped = fabric.inject(PortId("x"), replace(made, fields=fields)).dropped_by
        assert dropped == "no sub-port of the port has this VLAN"


def test_a_sub_port_sends_from_its_own_addresses_only(region: Region) -> None:
    fabric = fabric_of(region)
    p, s, t = (region.ports[name] for name in "pst")
    for mac, ip in ((p.mac, "10.0.0.10"), (s.mac, "10.0.1.12"), (t.mac, "10.0.1.11"), (t.mac, "10.0.1.12")):
        dropped = tagged(fabric, region, 100, mac=mac, ip=address(ip), target="y").dropped_by
        assert dropped is not None
        assert "anti-spoofing" in dropped


def test_security_groups_are_a_sub_ports_own(region: Region) -> None:
    region.ports["s"].groups = ("quiet",)
    fabric = fabric_of(region)
    assert exchange.ping(fabric, PortId("s"), address("10.0.1.14")).succeeded, "replies come back"
    assert not exchange.ping(fabric, PortId("y"), address("10.0.1.11")).succeeded
    assert not exchange.ping(fabric, PortId("t"), address("10.0.1.11")).succeeded, "nor beside it"
    assert not exchange.ping(fabric, PortId("s"), address("10.0.1.15")).succeeded


def test_a_trace_follows_a_sub_port(region: Region) -> None:
    result = trace(region.states(), port_id="s", to_ip=ip_from_text("10.0.1.12"), protocol="tcp", dst_port=80)
    assert result.to_port == "t"
    assert result.steps[0].action.startswith("take the VLAN tag off")
    assert result.steps[-1].action.startswith("put a VLAN tag on")


def test_a_sub_port_that_is_gone_leaves_the_parent_as_any_port(region: Region) -> None:
    fabric = fabric_of(region)
    assert exchange.ping(fabric, PortId("s"), address("10.0.1.14")).succeeded
    host = fabric.host_of(PortId("p"))
    del region.ports["s"], region.ports["t"]
    host.hold(region.state("h1"), remove=True)
    origins = [flow.origin for flow in host.engine().switch.flows()]
    assert origins.count("plug of port p") == 2
    assert not [origin for origin in origins if origin.endswith(("port s", "port t"))]


class Told:
    """Notes what a data plane tells."""

    def __init__(self) -> None:
        self.plugs: set[str] = set()

    def plugged(self, port_id: str) -> None:
        self.plugs.add(port_id)

    def unplugged(self, port_id: str) -> None:
        self.plugs.discard(port_id)

    def unknown(self, vni: int, ip: bytes) -> bool:
        return False

    def ready(self) -> None: ...
    def announced(self, port_id: str, ip: bytes) -> None: ...


async def test_sub_ports_are_plugged_when_their_parent_is(region: Region) -> None:
    facts, state = region.states()["h1"]
    told, plane = Told(), SimulatedDataPlane(facts, Fabric())
    await plane.start(told)  # type: ignore[arg-type]  # of what it tells, only plugs are looked at
    await plane.synchronise(state, remove=True)
    plane.plug(PortId("s"))
    assert told.plugs == set(), "not by an interface of its own"
    assert plane.plugged_ports() == []
    plane.plug(PortId("p"))
    assert told.plugs == {"p", "s", "t"}
    assert set(plane.plugged_ports()) == {"p", "s", "t"}
    region.ports["t"].tag = None
    await plane.synchronise(region.state("h1"), remove=True)
    assert told.plugs == {"p", "s"}
    plane.unplug(PortId("p"))
    assert told.plugs == set()
