"""Look-ups at the controller: tenancy, limits, and the same work in any network."""

import io

import msgspec
import pytest

from alcor.contracts.agent_channel import Ask, Want
from alcor.control_plane.compiler.incremental import IncrementalCompiler
from alcor.control_plane.delivery.look_ups import ABSENT_BURST, LookUps
from alcor.control_plane.region import OnDemandBounds
from alcor.model.ids import HostId, ProjectId, Vni
from alcor.model.records import RecordSet
from alcor.runtime.event_log import EventLog
from doubles.control_plane import group, network, port, subnet
from doubles.grown_region import HOSTS, changed, grown

BOUNDS = OnDemandBounds(above=100, below=50)
BURST = 2 * BOUNDS.look_ups_per_s
HOST = HostId(HOSTS[0])


class Time:
    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)


class Desk:
    """Look-ups over a network of a thousand ports; the second, another project's, is not on the asking host."""

    def __init__(self) -> None:
        self.compiler: IncrementalCompiler = grown(1_000, BOUNDS)
        other = RecordSet(
            networks=(msgspec.structs.replace(network(2), project_id=ProjectId("blue")),),
            subnets=(subnet(2),),
            ports=tuple(port(500_000 + number, HOSTS[5], net=2) for number in range(200)),
            security_groups=(group("x"),),
        )
        self.compiler.fold(changed(self.compiler.region, other))
        self.said = io.StringIO()
        self.time = Time()
        self.look_ups = LookUps(
            self.compiler.region, self.compiler.interest, self.time, EventLog(stream=self.said)
        )

    def ask(self, *wants: tuple[int, bytes], host: HostId = HOST):
        return self.look_ups.answer(host, Ask(1, tuple(Want(Vni(vni), ip) for vni, ip in wants)))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def address(number: int, net: int = 1) -> bytes:
    return port(number, net=net).fixed_ips[0].ip


def absent(number: int) -> tuple[int, bytes]:
    return (1, (0x0BFF0000 + number).to_bytes(4, "big"))


def test_what_is_found_in_one_message_leaves_in_one_section(desk: Desk) -> None:
    answer = desk.ask((1, address(1)), (1, address(2)), absent(1))
    [section] = answer.sections
    assert {placement.ips[0] for placement in section.set_placements} == {address(1), address(2)}
    [unknown] = answer.unknown
    assert [(want.vni, want.ip) for want in unknown.wants] == [absent(1)]
    assert not unknown.limited


def test_an_address_that_is_learned_already_is_not_told_again(desk: Desk) -> None:
    assert desk.ask((1, address(1))).sections
    again = desk.ask((1, address(1)))
    assert (again.sections, again.unknown) == ([], [])


def test_a_port_of_the_host_itself_is_not_learned(desk: Desk) -> None:
    own = next(number for number in range(1, 50) if HOSTS[number % 20] == HOST)
    assert desk.ask((1, address(own))).sections == []


def test_a_host_learns_nothing_of_a_network_that_is_not_its_tenants(desk: Desk) -> None:
    asked = (2, address(500_001, 2))
    assert desk.ask(asked).sections == []
    assert desk.ask(asked).unknown
    assert desk.ask(asked, host=HostId(HOSTS[5])).unknown == [], "its own port"
    assert desk.ask((99, address(1))).unknown


def test_a_scan_of_absent_addresses_is_limited_counted_and_said_and_hurts_no_other_network(desk: Desk) -> None:
    burst = int(ABSENT_BURST)
    desk.ask(*(absent(number) for number in range(burst)))
    assert desk.look_ups.limited == 0
    [unknown] = desk.ask(*(absent(burst + number) for number in range(10))).unknown
    assert unknown.limited
    assert desk.look_ups.limited == 10
    assert desk.said.getvalue().count("look_ups_limited") == 1
    desk.ask(absent(burst + 100))
    assert desk.said.getvalue().count("look_ups_limited") == 1, "once in a while is enough"
    assert desk.ask((1, address(1))).sections, "what is there is found all the same"
    [other] = desk.ask((2, b"\x0b\x00\x00\x01"), host=HostId(HOSTS[5])).unknown
    assert not other.limited
    desk.time.now_s += 1.0
    assert not desk.ask(absent(burst + 200)).unknown[0].limited


def test_the_look_ups_of_one_project_are_limited_over_all_its_networks_found_or_not(desk: Desk) -> None:
    """However many workloads it scans from: no other project waits for it."""
    for _ in range(int(BURST) // 2):
        desk.ask((1, address(1)), (99, address(1)))
    assert desk.look_ups.limited == int(BURST) // 2 - int(ABSENT_BURST), "absent ones beyond their own limit"
    for _ in range(int(BURST) // 2):
        assert not any(unknown.limited for unknown in desk.ask((1, address(1))).unknown)
    [unknown] = desk.ask((1, address(1))).unknown
    assert unknown.limited
    assert desk.ask((2, address(500_001, 2)), host=HostId(HOSTS[5])).unknown == [], "another project's"
    desk.time.now_s += 1.0
    assert not desk.ask((1, address(1))).unknown


def test_what_a_host_asks_of_networks_that_it_does_not_have_costs_no_tenant_anything(desk: Desk) -> None:
    for _ in range(int(BURST) + 10):
        [unknown] = desk.ask((2, address(500_001, 2))).unknown
    assert unknown.limited
    assert desk.ask((2, address(500_001, 2)), host=HostId(HOSTS[5])).unknown == [], "its own port"
    [absent_one] = desk.ask((2, b"\x0b\x00\x00\x01"), host=HostId(HOSTS[5])).unknown
    assert not absent_one.limited


def test_looking_up_touches_one_port_in_any_network() -> None:
    """Law 4: counted as look-ups in the index and placements made."""
    counts = []
    for ports in (1_000, 100_000):
        compiler = grown(ports, BOUNDS)
        look_ups = LookUps(compiler.region, compiler.interest, Time(), EventLog(stream=io.StringIO()))
        node = compiler.region.network_of(Vni(1))
        assert node is not None
        node.addresses = CountingDict(node.addresses)  # type: ignore[assignment]
        node.bound = CountingDict(node.bound)  # type: ignore[assignment]
        look_ups.answer(HOST, Ask(1, (Want(Vni(1), address(1)), Want(*absent(1)))))
        counts.append((node.addresses.touched, node.bound.touched))  # type: ignore[attr-defined]
    assert counts[0] == counts[1] == (2, 0)


class CountingDict(dict):
    """A dictionary that may be looked into, but not walked through."""

    touched = 0

    def get(self, key, default=None):
        self.touched += 1
        return super().get(key, default)

    def __iter__(self):
        raise AssertionError("nobody walks through a network to look up an address")

    def values(self):
        raise AssertionError("nobody walks through a network to look up an address")

    items = values
