"""Asking at both ends, by the clock: what is asked for once, what waits, what is limited, and whom it hurts."""

from alcor.contracts.agent_channel import Ask, Unknown, Update, Want
from alcor.data_plane.asking import (
    ADDRESSES_MAX,
    ADDRESSES_PER_PORT_MAX,
    BURST,
    PACKETS_PER_ADDRESS_MAX,
    RATE_PER_S,
    WAIT_S,
    Asking,
)
from alcor.host_agent.neighbours import ASKED_MAX, ASKED_S, Neighbours
from alcor.model.goal_state import (
    HostState,
    NetworkChange,
    NetworkEntry,
    NetworkSection,
    Placement,
    SectionUpdate,
    network_key,
)
from alcor.model.ids import NetworkId, PortId, Vni
from alcor.model.version import Version

VNI = Vni(7)


def ip(number: int) -> bytes:
    return (0x0A000000 + number).to_bytes(4, "big")


def asked(neighbours: Neighbours) -> list[Want]:
    return [want for ask in neighbours.take() for want in ask.wants]


class TestAgent:
    def test_an_address_is_asked_for_once_while_an_answer_may_come(self) -> None:
        neighbours = Neighbours()
        assert neighbours.want(VNI, ip(1), 0.0)
        assert neighbours.want(VNI, ip(1), ASKED_S / 2)
        assert asked(neighbours) == [Want(VNI, ip(1))]
        assert neighbours.want(VNI, ip(1), ASKED_S)
        assert asked(neighbours) == [Want(VNI, ip(1))], "the answer is lost"

    def test_the_same_address_of_another_network_is_another_question(self) -> None:
        neighbours = Neighbours()
        neighbours.want(VNI, ip(1), 0.0)
        neighbours.want(Vni(8), ip(1), 0.0)
        assert len(asked(neighbours)) == 2

    def test_what_is_nobodys_is_not_asked_for_until_its_time_is_over(self) -> None:
        neighbours = Neighbours()
        neighbours.want(VNI, ip(1), 0.0)
        neighbours.take()
        neighbours.heard(Unknown(1, (Want(VNI, ip(1)),), 2.0), 0.1)
        assert not neighbours.want(VNI, ip(1), 2.0)
        assert not neighbours.has_questions
        assert neighbours.want(VNI, ip(1), 2.2)

    def test_a_placement_that_arrives_ends_both_waiting_and_absence(self) -> None:
        neighbours = Neighbours()
        neighbours.want(VNI, ip(1), 0.0)
        neighbours.heard(Unknown(1, (Want(VNI, ip(2)),), 60.0), 0.0)
        neighbours.take()
        neighbours.arrived(*told(ip(1), ip(2)))
        assert neighbours.want(VNI, ip(1), 0.1)
        assert neighbours.want(VNI, ip(2), 0.1)
        assert asked(neighbours) == [Want(VNI, ip(1)), Want(VNI, ip(2))]

    def test_a_stream_that_ends_takes_its_questions_with_it(self) -> None:
        neighbours = Neighbours()
        neighbours.want(VNI, ip(1), 0.0)
        neighbours.forget()
        assert not neighbours.has_questions
        assert neighbours.want(VNI, ip(1), 0.0)
        assert asked(neighbours) == [Want(VNI, ip(1))]

    def test_questions_are_bounded_in_all_and_in_each_message(self) -> None:
        neighbours = Neighbours()
        allowed = [neighbours.want(VNI, ip(number), 0.0) for number in range(ASKED_MAX + 10)]
        assert sum(allowed) == ASKED_MAX
        assert neighbours.turned_away == 10
        asks = neighbours.take()
        assert all(isinstance(ask, Ask) and len(ask.wants) <= 256 for ask in asks)
        assert len({ask.number for ask in asks}) == len(asks)
        assert neighbours.want(VNI, ip(ASKED_MAX + 10), ASKED_S), "room is made by time"


def told(*ips: bytes) -> tuple[HostState, list[Update]]:
    """A state in which these addresses arrived, and the update that brought them."""
    key, state = network_key("n"), HostState()
    entry = NetworkEntry(NetworkId("n"), VNI, 1450, True, True)
    change = NetworkChange(network=entry, set_placements=(Placement(PortId("p"), 1, ips, b"\x01\x02\x03\x04"),))
    section = NetworkSection()
    section.apply(change)
    state.sections[key] = section
    return state, [Update(1, (SectionUpdate(key, None, Version(1, 1), change),))]


class Switch:
    """Stands in for a switch: what is held, what was asked for and what was sent on."""

    def __init__(self) -> None:
        self.held: dict[bytes, int] = {}
        self.asked: list[bytes] = []
        self.resumed: list[str] = []
        self.is_useful = True
        self.asking: Asking[str] = Asking(
            ask=self._ask, mac_of=lambda vni, address: self.held.get(address), resume=self.resumed.append
        )

    def _ask(self, vni: Vni, address: bytes) -> bool:
        self.asked.append(address)
        return self.is_useful

    def packet(
        self, name: str, number: int, *, key: int = 1, at_s: float = 0.0, to_mac: int | None = None
    ) -> None:
        self.asking.handed_over(name, vni=VNI, ip=ip(number), key=key, to_mac=to_mac, now_s=at_s)

    def learns(self, number: int, *, mac: int = 0xAA, at_s: float = 0.1) -> None:
        self.held[ip(number)] = mac
        self.asking.go_on(at_s)


class TestDataPlane:
    def test_packets_wait_and_go_on_in_order(self) -> None:
        switch = Switch()
        switch.packet("first", 1)
        switch.packet("second", 1)
        switch.packet("other", 2)
        assert switch.resumed == []
        switch.learns(1)
        assert switch.resumed == ["first", "second"]
        assert switch.asking.addresses == 1

    def test_a_packet_that_crosses_the_answer_goes_on_at_once(self) -> None:
        switch = Switch()
        switch.learns(1)
        switch.packet("late", 1)
        assert switch.resumed == ["late"]

    def test_a_packet_that_comes_back_is_not_sent_round_for_ever(self) -> None:
        switch = Switch()
        switch.learns(1)
        for _ in range(100):
            switch.packet("round", 1)
        assert len(switch.resumed) < 10

    def test_a_packet_for_a_mac_address_that_nobody_has_is_dropped(self) -> None:
        switch = Switch()
        switch.packet("stale", 1, to_mac=0xBB)
        switch.packet("right", 1, to_mac=0xAA)
        switch.learns(1, mac=0xAA)
        assert switch.resumed == ["right"]
        assert switch.asking.dropped == 1

    def test_what_is_known_to_be_absent_does_not_wait(self) -> None:
        switch = Switch()
        switch.is_useful = False
        switch.packet("vain", 1)
        assert switch.asking.addresses == 0
        assert switch.asking.dropped == 1

    def test_what_waited_too_long_is_dropped(self) -> None:
        switch = Switch()
        switch.packet("old", 1)
        switch.learns(1, at_s=WAIT_S + 0.1)
        assert switch.resumed == []
        assert switch.asking.addresses == 0

    def test_a_scan_is_limited_and_displaces_only_itself(self) -> None:
        switch = Switch()
        switch.packet("mine", 1, key=2)
        for number in range(100, 5_100):
            switch.packet("scan", number, key=1, at_s=(number - 100) / 5_000)
        assert len(switch.asked) <= 1 + BURST + RATE_PER_S + 1
        assert switch.asking.limited == 5_000 - (len(switch.asked) - 1)
        assert switch.asking.addresses <= ADDRESSES_PER_PORT_MAX + 1
        switch.learns(1, at_s=1.0)
        assert switch.resumed == ["mine"]

    def test_packets_are_bounded_for_each_address_and_in_all(self) -> None:
        switch = Switch()
        for _ in range(10):
            switch.packet("same", 1)
        switch.learns(1)
        assert len(switch.resumed) == PACKETS_PER_ADDRESS_MAX
        for number in range(2 * ADDRESSES_MAX):
            switch.packet("flood", 100 + number % 60, key=10 + number // 60)
        assert switch.asking.addresses == ADDRESSES_MAX
        switch.packet("after", 5_000, key=1, at_s=WAIT_S + 1)
        assert switch.asking.addresses == 1, "what waited in vain makes room"
