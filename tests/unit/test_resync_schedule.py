"""Who is synchronised next: priority, bounds, turns that end, and nobody waiting for ever."""

import itertools

from alcor.control_plane.delivery.resync import AGED_EVERY, ResyncLimits, ResyncSchedule
from alcor.model.ids import HostId


def schedule(hosts: int = 2, size: int = 1000, turn_s: float = 10.0) -> ResyncSchedule:
    return ResyncSchedule(ResyncLimits(hosts=hosts, bytes=size, turn_s=turn_s))


def admitted(made: ResyncSchedule, now_s: float = 0.0) -> list[str]:
    found = []
    while (host := made.admit(now_s)) is not None:
        found.append(host)
    return found


def test_no_more_hosts_than_the_limit_are_synchronised_at_once() -> None:
    made = schedule(hosts=2)
    for name in "abcd":
        made.wait(HostId(name), priority=50, size=1)
    assert admitted(made) == ["a", "b"]
    assert (made.admitted, made.waiting) == (2, 2)
    made.leave(HostId("a"))
    assert admitted(made) == ["c"]


def test_tenants_of_higher_priority_go_first_then_hosts_with_less_to_send() -> None:
    made = schedule(hosts=3)
    made.wait(HostId("small"), priority=50, size=1)
    made.wait(HostId("large"), priority=50, size=100)
    made.wait(HostId("gold"), priority=90, size=500)
    made.wait(HostId("low"), priority=10, size=0)
    assert admitted(made) == ["gold", "small", "large"]


def test_bytes_under_way_are_bounded_but_one_host_is_always_admitted() -> None:
    made = schedule(hosts=9, size=1000)
    made.wait(HostId("huge"), priority=90, size=5000)
    made.wait(HostId("a"), priority=50, size=600)
    made.wait(HostId("b"), priority=50, size=600)
    assert admitted(made) == ["huge"]
    made.leave(HostId("huge"))
    assert admitted(made) == ["a"]
    assert (made.bytes_admitted, made.bytes_waiting) == (600, 600)
    made.leave(HostId("a"))
    assert admitted(made) == ["b"]


def test_what_does_not_fit_is_not_overtaken() -> None:
    made = schedule(hosts=9, size=1000)
    made.wait(HostId("first"), priority=90, size=400)
    made.wait(HostId("large"), priority=80, size=900)
    made.wait(HostId("small"), priority=10, size=1)
    assert admitted(made) == ["first"]
    made.leave(HostId("first"))
    assert admitted(made) == ["large", "small"]


def test_a_low_priority_is_not_starved_by_newcomers() -> None:
    made = schedule(hosts=1)
    made.wait(HostId("poor"), priority=0, size=900)
    for number in itertools.count(1):
        made.wait(HostId(f"rich-{number}"), priority=100, size=1)
        [host] = admitted(made)
        if host == "poor":
            break
        made.leave(host)
    assert number <= AGED_EVERY


def test_a_slow_host_lets_others_go_first_and_gets_another_turn() -> None:
    made = schedule(hosts=1, turn_s=10)
    for name in ("dead", "b", "c"):
        made.wait(HostId(name), priority=50, size=1)
    assert admitted(made, 0.0) == ["dead"]
    assert made.expire(9.9) == []
    assert made.expire(10.0) == ["dead"]
    assert admitted(made, 10.0) == ["b"]
    made.leave(HostId("b"))
    assert admitted(made, 11.0) == ["c"]
    made.leave(HostId("c"))
    assert admitted(made, 12.0) == ["dead"]


def test_a_slow_host_keeps_its_turn_while_nobody_waits() -> None:
    made = schedule(hosts=1, turn_s=10)
    made.wait(HostId("slow"), priority=50, size=1)
    assert admitted(made, 0.0) == ["slow"]
    assert made.expire(100.0) == []
    assert made.is_admitted(HostId("slow"))


def test_a_host_that_left_is_not_admitted_and_one_that_comes_again_is_once() -> None:
    made = schedule(hosts=5)
    made.wait(HostId("a"), priority=50, size=1)
    made.leave(HostId("a"))
    assert admitted(made) == []
    made.wait(HostId("a"), priority=50, size=1)
    made.wait(HostId("a"), priority=60, size=2)
    assert admitted(made) == ["a"]
    made.leave(HostId("a"))
    assert (made.admitted, made.waiting, made.bytes_admitted, made.bytes_waiting) == (0, 0, 0, 0)
