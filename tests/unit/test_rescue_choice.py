"""Which neighbour is chosen."""

from alcor.control_plane.health.rescue_choice import FORGET_FAILURE_S, RESCUES_MAX, Candidate, choose
from alcor.model.ids import HostId


def one(host: str, **values: object) -> Candidate:
    given: dict[str, object] = {"zone": "a", "rescues": 0, "ports": 10, **values}
    return Candidate(host=HostId(host), **given)  # type: ignore[arg-type]


def chosen(*candidates: Candidate, now_s: float = 1000.0) -> str | None:
    return choose("a", candidates, now_s).host


def test_the_same_zone_goes_before_everything_but_failure() -> None:
    assert chosen(one("far", zone="b", ports=0), one("near", ports=500)) == "near"
    assert chosen(one("far", zone="b"), one("near", failed_at_s=999.0)) == "far"


def test_the_least_loaded_neighbour_is_chosen() -> None:
    assert chosen(one("x", rescues=1, ports=0), one("y", ports=500)) == "y"
    assert chosen(one("x", ports=11), one("y", ports=10)) == "y"


def test_recent_success_counts_more_than_ports() -> None:
    assert chosen(one("x", ports=1), one("y", ports=50, succeeded_at_s=900.0)) == "y"


def test_all_that_failed_have_their_turn_again_the_longest_ago_first() -> None:
    assert chosen(one("x", failed_at_s=999.0), one("y", failed_at_s=998.0)) == "y"
    old = 1000.0 - FORGET_FAILURE_S - 1
    assert chosen(one("x", failed_at_s=old), one("y", failed_at_s=998.0)) == "x"


def test_a_neighbour_takes_only_so_many_and_nobody_is_said_in_words() -> None:
    choice = choose("a", [one("x", rescues=RESCUES_MAX)], 0.0)
    assert choice.host is None
    assert "no neighbour" in choice.reason
