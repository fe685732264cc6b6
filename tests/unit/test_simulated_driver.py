"""The simulated data plane behind the contract."""

import asyncio

from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.driver import SimulatedDataPlane
from alcor.data_plane.simulated.fabric import Fabric
from alcor.model.goal_state import (
    GroupChange,
    GroupSection,
    HostState,
    NetworkChange,
    Rule,
    SectionUpdate,
    group_key,
    network_key,
)
from alcor.model.ids import RuleId
from alcor.model.version import Version
from doubles.simulated_region import one_network
from doubles.topology import Region, address


class Heard:
    """Writes down what a data plane tells."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def plugged(self, port_id: str) -> None:
        self.events.append(f"+{port_id}")

    def unplugged(self, port_id: str) -> None:
        self.events.append(f"-{port_id}")

    def unknown(self, vni: int, ip: bytes) -> bool:
        self.events.append(f"?{vni}/{ip.hex()}")
        return True

    def announced(self, port_id: str, ip: bytes) -> None:
        self.events.append(f"!{port_id}/{ip.hex()}")

    def lost(self, reason: str) -> None:
        self.events.append("lost")

    def ready(self) -> None:
        self.events.append("ready")


def started(region: Region, fabric: Fabric, host: str) -> tuple[SimulatedDataPlane, Heard]:
    plane, heard = SimulatedDataPlane(region.facts(host), fabric), Heard()
    asyncio.run(plane.start(heard))
    return plane, heard


def test_a_workload_is_announced_once_its_port_is_known() -> None:
    region, fabric = one_network(), Fabric()
    plane, heard = started(region, fabric, "h1")
    plane.plug("a")
    assert heard.events == ["ready"]
    assert plane.plugged_ports() == []
    state = region.state("h1")
    asyncio.run(plane.apply(state, state.full_updates()))
    assert heard.events == ["ready", "+a"]
    assert plane.plugged_ports() == ["a"]
    plane.unplug("a")
    assert heard.events == ["ready", "+a", "-a"]


def test_updates_are_in_force_for_the_next_packet() -> None:
    region, fabric = one_network(), Fabric()
    planes = {host: started(region, fabric, host)[0] for host in ("h1", "h2")}
    for host, plane in planes.items():
        asyncio.run(plane.synchronise(region.state(host), remove=True))
    planes["h1"].plug("a")
    planes["h2"].plug("b")
    assert exchange.ping(fabric, "a", address("10.0.0.11")).succeeded
    region.rules["open"] = {}
    for host, plane in planes.items():
        state = region.state(host)
        asyncio.run(plane.apply(state, state.full_updates()))
    assert not exchange.ping(fabric, "a", address("10.0.0.11"), identifier=2).succeeded


def test_what_an_incomplete_state_does_not_name_is_left_alone() -> None:
    region, fabric = one_network(), Fabric()
    planes = {host: started(region, fabric, host)[0] for host in ("h1", "h2")}
    for host, plane in planes.items():
        asyncio.run(plane.synchronise(region.state(host), remove=True))
    planes["h1"].plug("a")
    planes["h2"].plug("b")
    asyncio.run(planes["h1"].synchronise(HostState(), remove=False))
    assert exchange.ping(fabric, "a", address("10.0.0.11")).succeeded
    asyncio.run(planes["h1"].synchronise(HostState(), remove=True))
    assert len(planes["h1"].host.engine().program.flows) == len(
        planes["h1"].host.engine().program.base().install
    )


def test_a_rule_that_cannot_be_enforced_is_refused() -> None:
    region, fabric = one_network(), Fabric()
    plane, _ = started(region, fabric, "h1")
    state = region.state("h1")
    section = state.sections[group_key("open")]
    assert isinstance(section, GroupSection)
    ports_of_dccp = Rule(RuleId("dccp"), True, 4, 33, 80, 80, None, None)
    change = GroupChange(set_rules=(ports_of_dccp,))
    section.apply(change)
    update = SectionUpdate(group_key("open"), Version(1, 1), Version(1, 2), change)
    [refusal] = asyncio.run(plane.apply(state, [update]))
    assert refusal.key == group_key("open")
    assert "rule dccp" in refusal.reason


def test_nothing_is_rendered_for_hosts_that_no_packet_visits() -> None:
    region, fabric = one_network(), Fabric()
    plane, _ = started(region, fabric, "h1")
    state = region.state("h1")
    asyncio.run(plane.apply(state, state.full_updates()))
    update = SectionUpdate(network_key("n"), Version(1, 1), Version(1, 2), NetworkChange())
    asyncio.run(plane.apply(state, [update]))
    assert not plane.host.is_running
