"""When which port is told what (RFC 4861, sections 6.2.4 to 6.2.6)."""

import pytest

from alcor.data_plane.advertisements import of_former_router
from alcor.data_plane.advertising import AGAIN_S, PAUSE_S, PERIOD_MAX_S, PERIOD_MIN_S, Advertising, period_s
from doubles.advertised import LEG_MAC, leg, subnet, told

WITHOUT, WITH = told(subnet()), told(subnet(), legs=(leg(),))


class Region:
    """What is true for ports, and what was said when. Owner of the clock."""

    def __init__(self, **truth) -> None:
        self.truth = dict(truth)
        self.asked: list[str] = []
        self.advertising = Advertising(self._told)
        self.now_s = 1_000.0

    def _told(self, port_id: str):
        self.asked.append(port_id)
        return self.truth.get(port_id, ())

    def change(self, **truth) -> None:
        self.truth |= truth
        self.advertising.look(truth, self.now_s)

    def said(self, *, for_s: float = 0.0, at_most: int = 1_000) -> list[tuple[float, str, tuple]]:
        """Let time go by, and give what was said: since when, to whom, what."""
        began_s, found = self.now_s, []
        while True:
            found += [
                (self.now_s - began_s, *due) for due in self.advertising.take(self.now_s, at_most=at_most)
            ]
            next_s = self.advertising.next_s
            if next_s is None or max(next_s, self.now_s) > began_s + for_s or next_s <= self.now_s:
                self.now_s = began_s + for_s
                return found
            self.now_s = next_s


def test_what_is_new_is_said_at_once_and_twice_again() -> None:
    region = Region()
    region.change(a=WITHOUT)
    assert region.said(for_s=100) == [(0, "a", WITHOUT), (AGAIN_S, "a", WITHOUT), (2 * AGAIN_S, "a", WITHOUT)]


def test_what_is_known_is_repeated_long_before_it_lapses() -> None:
    region = Region()
    region.change(a=WITHOUT)
    region.said(for_s=2 * AGAIN_S)
    times = [at for at, _, _ in region.said(for_s=5 * PERIOD_MAX_S)]
    gaps = [later - sooner for sooner, later in zip([0.0, *times], times, strict=False)]
    assert all(PERIOD_MIN_S <= gap <= PERIOD_MAX_S for gap in gaps)


def test_a_change_is_said_at_once_with_what_is_taken_back() -> None:
    region = Region()
    region.change(a=WITHOUT)
    region.said(for_s=50)
    region.change(a=WITH)
    first, *_ = region.said(for_s=0)
    assert first[:2] == (0, "a")
    assert [(each.mac, each.router_lifetime_s) for each in first[2]] == [
        (WITHOUT[0].mac, 0),
        (LEG_MAC, WITH[0].router_lifetime_s),
    ]


def test_what_was_taken_back_three_times_is_forgotten() -> None:
    region = Region()
    region.change(a=WITH)
    region.said(for_s=50)
    region.change(a=WITHOUT)
    retractions = [each for each in region.said(for_s=3_000) if LEG_MAC in {said.mac for said in each[2]}]
    assert [at for at, _, _ in retractions] == [0, AGAIN_S, 2 * AGAIN_S]


def test_nothing_that_was_said_is_lost_when_changes_follow_each_other() -> None:
    region = Region()
    region.change(a=WITH)
    region.said()
    region.now_s += 1
    region.change(a=WITHOUT)
    region.change(a=told(subnet(dns_nameservers=())))
    _, _, last = region.said(for_s=100)[0]
    assert {each.mac for each in last} == {LEG_MAC, WITHOUT[0].mac}
    taken_back = next(each for each in last if each.mac == LEG_MAC)
    assert taken_back.router_lifetime_s == 0
    assert {seconds for _, seconds in taken_back.dns} == {0}


def test_nobody_is_told_twice_within_three_seconds() -> None:
    region = Region()
    region.change(a=WITHOUT)
    assert region.said()
    region.now_s += 1
    region.change(a=WITH)
    assert [at for at, _, _ in region.said(for_s=10)] == [PAUSE_S - 1]


def test_what_has_not_changed_is_not_said_again() -> None:
    region = Region()
    region.change(a=WITH)
    region.said(for_s=50)
    region.change(a=WITH)
    assert region.said(for_s=50) == []


def test_what_another_said_of_a_router_is_taken_back_unless_it_is_true() -> None:
    for truth, lifetimes in ((WITHOUT, {LEG_MAC: 0, WITHOUT[0].mac: 0}), (WITH, {LEG_MAC: 0xFFFF})):
        region = Region()
        region.advertising.remember("a", of_former_router(LEG_MAC))
        region.change(a=truth)
        ((_, _, said), *_) = region.said()
        assert {each.mac: each.router_lifetime_s for each in said} == lifetimes
        region.said(for_s=50)
        region.advertising.remember("a", of_former_router(5))
        region.change(a=truth)
        ((_, _, said), *_) = region.said()
        assert {each.mac: each.router_lifetime_s for each in said}[5] == 0
        assert {each.mac: each.routes for each in said}[5] == (((bytes(16), 0), 0),)


def test_ports_that_hear_nothing_cost_nothing() -> None:
    region = Region()
    region.change(**{f"p{number}": () for number in range(100)})
    assert region.advertising.next_s is None
    assert not region.advertising.ports


def test_who_hears_nothing_any_longer_is_told_so_and_forgotten() -> None:
    region = Region()
    region.change(a=WITH)
    region.said(for_s=50)
    region.change(a=())
    assert len(region.said(for_s=3_000)) == 3
    assert region.advertising.next_s is None
    assert not region.advertising.ports


def test_a_port_whose_workload_is_gone_is_told_nothing() -> None:
    region = Region()
    region.change(a=WITH, b=WITH)
    region.advertising.forget(["a", "never there"])
    assert {port for _, port, _ in region.said(for_s=3_000)} == {"b"}


def test_another_workload_is_told_anew() -> None:
    region = Region()
    region.change(a=WITH)
    region.said(for_s=50)
    region.advertising.forget(["a"])
    region.change(a=WITH)
    assert region.said() == [(0, "a", WITH)]


def test_only_ports_that_are_concerned_are_looked_at() -> None:
    region = Region()
    region.change(**{f"p{number}": WITH for number in range(100)})
    region.asked.clear()
    region.change(p7=WITHOUT)
    assert region.asked == ["p7"]


def test_so_many_are_told_at_once_and_the_longest_due_go_first() -> None:
    region = Region()
    region.change(**{f"p{number:03}": WITH for number in range(100)})
    region.now_s += 1
    region.change(late=WITH)
    told_first = [due.port_id for due in region.advertising.take(region.now_s, at_most=30)]
    assert len(told_first) == 30
    rest = [due.port_id for due in region.advertising.take(region.now_s, at_most=1_000)]
    assert rest[-1] == "late"
    assert sorted(told_first + rest[:-1]) == [f"p{number:03}" for number in range(100)]


def test_ports_have_periods_of_their_own() -> None:
    periods = [period_s(f"port-{number}") for number in range(500)]
    assert all(PERIOD_MIN_S <= each <= PERIOD_MAX_S for each in periods)
    in_one_second = max(
        sum(start <= each < start + 1 for each in periods) for start in map(float, range(420, 600))
    )
    assert in_one_second <= 12


@pytest.mark.parametrize("count", [1, 300])
def test_the_queue_does_not_grow_with_changes(count: int) -> None:
    region = Region()
    for number in range(count):
        region.change(a=WITH if number % 2 else WITHOUT)
        region.said(for_s=5)
    assert len(region.advertising._queue) <= 4
