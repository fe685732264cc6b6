"""How often agents are told to beat."""

import pytest

from alcor.control_plane.health import detector, pace


def test_agents_beat_quickly_where_a_neighbour_can_help_and_once_a_second_where_none_can() -> None:
    assert pace.beat_s(1.0, hosts=4, helpers=4) == pace.QUICK_S
    assert pace.beat_s(1.0, hosts=4, helpers=1) == 1.0
    assert pace.beat_s(1.0, hosts=10_000, helpers=0) == 1.0


def test_all_beats_together_stay_within_the_budget() -> None:
    for hosts in (100, 5_500, 5_550, 10_000, 20_000, 100_000):
        for helpers in (0, hosts):
            beat_s = pace.beat_s(pace.QUICK_S, hosts=hosts, helpers=helpers)
            assert hosts / beat_s <= pace.BEATS_PER_S * 1.001


@pytest.mark.parametrize(("hosts", "within_s"), [(4, 0.81), (4_950, 0.96), (10_000, 2.11)])
def test_a_hung_agent_is_noticed_within_a_second_of_its_last_beat_or_little_more(
    hosts: int, within_s: float
) -> None:
    beat_s = pace.beat_s(1.0, hosts=hosts, helpers=hosts)
    assert detector.late_after_s(beat_s) < detector.quiet_after_s(beat_s) < within_s


def test_the_pace_moves_in_steps_and_does_not_flap() -> None:
    paces = {pace.beat_s(0.3, hosts=hosts, helpers=9) for hosts in range(2_800, 3_301, 50)}
    assert paces == {0.3}
    assert pace.beat_s(0.35, hosts=3_400, helpers=9) == 0.35
    assert pace.beat_s(0.35, hosts=2_500, helpers=9) == pace.QUICK_S
