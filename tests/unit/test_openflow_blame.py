"""Which section a refused flow belongs to, and how often a port may ask."""

from alcor.data_plane.ovs import blame
from alcor.data_plane.ovs.flow_table import RefusedByBridge
from alcor.data_plane.pipeline.flow import Flow, FlowKey
from alcor.model.goal_state import (
    LocalPort,
    NetworkChange,
    RouterChange,
    SectionUpdate,
    network_key,
    router_key,
)
from alcor.model.ids import PortId
from alcor.model.version import Version
from alcor.runtime.limits import TokenBuckets

UPDATES = [
    SectionUpdate(
        network_key("n"),
        None,
        Version(1, 1),
        NetworkChange(set_ports=(LocalPort(PortId("p"), 1, (), (), True, True),)),
    ),
    SectionUpdate(router_key("r"), None, Version(1, 1), RouterChange()),
]


def refused(origin: str) -> list[RefusedByBridge]:
    return [RefusedByBridge(Flow(FlowKey(0, 0, ()), (), origin), "the table is full")]


def test_the_section_that_holds_the_port_is_blamed() -> None:
    (found,) = blame.refusals(refused("own ARP of port p"), UPDATES)
    assert found.key == network_key("n")
    assert "the table is full" in found.reason


def test_a_flow_of_unknown_origin_blames_all() -> None:
    assert [one.key for one in blame.refusals(refused("static"), UPDATES)] == ["network:n", "router:r"]


def test_a_port_may_ask_in_a_burst_and_then_at_its_rate() -> None:
    buckets = TokenBuckets(rate_per_s=2.0, burst=3.0)
    assert [buckets.take(1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert not buckets.take(1, 0.4)
    assert buckets.take(1, 0.6)


def test_one_port_does_not_use_up_what_another_has() -> None:
    buckets = TokenBuckets(rate_per_s=1.0, burst=1.0)
    assert buckets.take(1, 0.0)
    assert buckets.take(2, 0.0)
    assert not buckets.take(1, 0.0)
