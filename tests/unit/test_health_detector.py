"""Verdicts on hosts."""

import pytest

from alcor.control_plane.health.detector import (
    USUAL,
    BeatWatch,
    Evidence,
    Surroundings,
    Verdict,
    judge,
)

ALONE = Surroundings(hosts=100, lost_lately=1)


def verdict(evidence: Evidence, now_s: float, around: Surroundings = ALONE) -> Verdict:
    return judge(evidence, around, now_s).verdict


@pytest.mark.parametrize(
    ("beat_s", "quiet_s", "expected"),
    [
        (0.25, 0.0, Verdict.ALIVE),
        (0.25, 0.45, Verdict.ALIVE),
        (0.25, 0.6, Verdict.SUSPECTED),
        (0.25, 3.4, Verdict.SUSPECTED),
        (0.25, 3.6, Verdict.AGENT_DEAD),
        (1.0, 1.2, Verdict.ALIVE),
        (1.0, 2.2, Verdict.SUSPECTED),
        (1.0, 3.6, Verdict.AGENT_DEAD),
        (3.0, 10.0, Verdict.SUSPECTED),
        (3.0, 10.6, Verdict.AGENT_DEAD),
    ],
)
def test_one_missed_beat_is_nothing_and_several_are_silence(
    beat_s: float, quiet_s: float, expected: Verdict
) -> None:
    assert verdict(Evidence(heard_at_s=10.0, beat_s=beat_s), 10.0 + quiet_s) is expected


@pytest.mark.parametrize("beat_s", [0.25, 0.4, 1.0])
def test_with_a_witness_two_missed_beats_are_enough_and_one_never_is(beat_s: float) -> None:
    seen = Evidence(heard_at_s=10.0, beat_s=beat_s, answer_s=0.05)
    assert verdict(seen, 10.0 + 1.9 * beat_s) in (Verdict.ALIVE, Verdict.SUSPECTED)
    assert verdict(seen, 10.0 + max(0.95, 2.3 * beat_s)) is Verdict.AGENT_DEAD
    assert "while its data plane answers" in judge(seen, ALONE, 12.5).reason


def test_a_slow_witness_or_a_busy_agent_is_waited_for() -> None:
    slow = Evidence(heard_at_s=10.0, beat_s=0.25, answer_s=0.5)
    busy = Evidence(heard_at_s=10.0, beat_s=0.25, answer_s=0.05, is_busy=True)
    for evidence in (slow, busy):
        assert verdict(evidence, 13.0) is Verdict.SUSPECTED
        assert verdict(evidence, 13.6) is Verdict.AGENT_DEAD


def test_an_ended_stream_is_believed_after_the_grace_and_within_a_second() -> None:
    gone = Evidence(heard_at_s=9.9, left_at_s=10.0, left_reason="closed by the peer", grace_s=USUAL.grace_s)
    assert verdict(gone, 10.3) is Verdict.SUSPECTED
    assert verdict(gone, 10.5) is Verdict.AGENT_DEAD
    assert "closed by the peer" in judge(gone, ALONE, 10.5).reason


def test_a_data_plane_that_does_not_answer_makes_the_host_gone() -> None:
    gone = Evidence(heard_at_s=9.9, left_at_s=10.0, left_reason="closed", no_answer="no database")
    assert verdict(gone, 11.0) is Verdict.HOST_GONE
    assert "no database" in judge(gone, ALONE, 11.0).reason


def test_many_hosts_lost_at_once_are_the_controller_s_own_loss() -> None:
    gone = Evidence(heard_at_s=9.9, left_at_s=10.0, left_reason="closed")
    assert verdict(gone, 11.0, Surroundings(hosts=10, lost_lately=6)) is Verdict.CUT_OFF
    assert verdict(gone, 11.0, Surroundings(hosts=100, lost_lately=6)) is Verdict.AGENT_DEAD
    assert verdict(gone, 11.0, Surroundings(hosts=4, lost_lately=4)) is Verdict.AGENT_DEAD  # too few to tell


def test_a_watcher_that_was_held_up_knows_it() -> None:
    watch = BeatWatch(1.0, 0.0)
    assert not watch.was_held_up(1.1)
    assert watch.was_held_up(6.0)
    assert not watch.was_held_up(7.0)
