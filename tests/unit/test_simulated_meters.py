"""What a workload sends its host's agent is limited in the simulated switch, too, by the time there."""

import msgspec

from alcor.data_plane.pipeline.hand_over import METERS, Reason, meter_of
from alcor.data_plane.simulated import dhcp_client, trace
from alcor.data_plane.simulated.fabric import Fabric
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.model.goal_state import NetworkSection
from doubles.simulated_region import one_network
from doubles.topology import Region

LIMIT = METERS[meter_of(Reason.ANSWER, 1)]


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def host_of_two(clock: Clock) -> Fabric:
    """Two plugged ports on one host."""
    region = one_network()
    region.add_port("a2", "n-s0", 20, "h1", "open")
    facts, state = region.states()["h1"]
    host, fabric = SimulatedHost(facts, now_s=clock), Fabric()
    host.hold(state, remove=True)
    fabric.join(host)
    host.plug(region.ports["a"].id)
    host.plug(region.ports["a2"].id)
    return fabric


def answered(fabric: Fabric, port_id: str, questions: int) -> int:
    """Ask by DHCP, twice for each lease; count the leases."""
    return sum(dhcp_client.acquire(fabric, port_id) is not None for _ in range(questions))


def test_a_flood_is_answered_up_to_the_burst_and_takes_nothing_from_another_port() -> None:
    fabric = host_of_two(Clock())
    assert answered(fabric, "a", 10 * LIMIT.burst) == LIMIT.burst // 2
    assert answered(fabric, "a2", 1) == 1


def test_tokens_come_back_with_the_time() -> None:
    clock = Clock()
    fabric = host_of_two(clock)
    answered(fabric, "a", 10 * LIMIT.burst)
    clock.s += 0.5
    assert answered(fabric, "a", LIMIT.burst) == LIMIT.rate_per_s // 2 // 2


def test_what_a_meter_drops_says_so() -> None:
    fabric = host_of_two(Clock())
    answered(fabric, "a", LIMIT.burst)
    verdict = fabric.inject("a", dhcp_client.discovery(fabric.scope_of("a").port.mac))
    assert verdict.answers == ()
    assert (
        verdict.dropped_by == f"at most {LIMIT.rate_per_s} packets a second of one port for its agent as answer"
    )


def test_a_trace_names_the_limit_of_what_goes_to_the_agent() -> None:
    states = on_demand(one_network())
    result = trace.trace(states, port_id="a", to_ip=bytes((10, 0, 0, 77)), protocol="icmp")
    limit = METERS[meter_of(Reason.QUESTION, 1)]
    said = f"hand to the agent, at most {limit.rate_per_s} packets a second, {limit.burst} at once"
    assert [(step.table, step.action) for step in result.steps][-2:] == [
        ("neighbour", "set reg6 to 778, copy reg1 to reg7, by way of hand_over"),
        ("hand_over", said),
    ]


def on_demand(region: Region):
    """Give the region's states with every network told on demand."""
    states = region.states()
    for _, state in states.values():
        for section in state.sections.values():
            if isinstance(section, NetworkSection) and section.network is not None:
                section.network = msgspec.structs.replace(section.network, on_demand=True)
    return states
