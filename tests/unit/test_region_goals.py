"""The revision from which a port is in force: the last that changed what hosts must hold for it."""

import pytest

from alcor.contracts.store import Change
from alcor.control_plane.region import Region
from alcor.model.ids import PortId, RequestId
from alcor.model.records import ROUTER_INTERFACE, Port, RecordSet
from doubles.control_plane import PROJECT, network, port, subnet


def fold(region: Region, *ports: Port, **others: object) -> None:
    puts = RecordSet(ports=ports, **others)  # type: ignore[arg-type]
    region.fold(Change(region.revision + 1, 0, RequestId("req-1"), PROJECT, puts, RecordSet()))


@pytest.fixture
def region() -> Region:
    made = Region()
    fold(made, networks=(network(),), subnets=(subnet(),))
    return made


def goal(region: Region) -> int:
    return region.ports[PortId("port-000001")].goal


def test_a_port_of_a_host_has_the_revision_of_its_last_change(region: Region) -> None:
    fold(region, port(1, "a"))
    fold(region, port(1, "a", name="other"))
    assert goal(region) == 2
    fold(region, port(1, "a", admin_state_up=False))
    assert goal(region) == 4


def test_a_router_interface_keeps_its_revision_when_no_router_section_changes(region: Region) -> None:
    interface = {"device_owner": ROUTER_INTERFACE, "device_id": "r"}
    fold(region, port(1, **interface))
    fold(region, port(1, groups=("web",), port_security_enabled=False, **interface))
    assert goal(region) == 2  # no host is told, so that none could acknowledge a later one
    fold(region, port(1, net=1, **{**interface, "device_id": "s"}))
    assert goal(region) == 4


def test_a_router_interface_that_is_down_is_nothing_to_hosts(region: Region) -> None:
    interface = {"device_owner": ROUTER_INTERFACE, "device_id": "r"}
    fold(region, port(1, admin_state_up=False, **interface))
    assert goal(region) == 0
    fold(region, port(1, **interface))
    assert goal(region) == 3
    fold(region, port(1, admin_state_up=False, **interface))
    assert goal(region) == 4
    fold(region, port(1, admin_state_up=False, groups=("web",), **interface))
    assert goal(region) == 4


def test_a_port_that_becomes_an_interface_nobody_is_told_of_asks_for_nothing(region: Region) -> None:
    fold(region, port(1, "a"))
    assert goal(region) == 2
    fold(region, port(1, admin_state_up=False, device_owner=ROUTER_INTERFACE, device_id="r"))
    assert (
        goal(region) == 0
    )  # the router's section did not change: its hosts have no later revision to acknowledge
    fold(region, port(1, device_owner=ROUTER_INTERFACE, device_id="r"))
    assert goal(region) == 4
