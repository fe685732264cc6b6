"""Verdicts on hosts, and an hour of a loaded region in which nobody dies."""

import random

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
    ("quiet_s", "expected"),
    [
        (0.0, Verdict.ALIVE),
        (1.2, Verdict.ALIVE),
        (2.2, Verdict.SUSPECTED),
        (3.4, Verdict.SUSPECTED),
        (3.6, Verdict.AGENT_DEAD),
    ],
)
def test_one_missed_beat_is_nothing_and_several_are_silence(quiet_s: float, expected: Verdict) -> None:
    assert verdict(Evidence(heard_at_s=10.0), 10.0 + quiet_s) is expected


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


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_blamed_in_an_hour_of_a_loaded_region(seed: int) -> None:
    """Beats up to two seconds late (a stream loses none), a controller that stalls for up to eight seconds."""
    chance = random.Random(seed)
    hosts = 20
    arrivals: list[tuple[float, int]] = []
    for host in range(hosts):
        at_s = chance.random()
        while at_s < 3600:
            arrivals.append((at_s + 2.0 * chance.random() ** 6, host))
            at_s += USUAL.beat_s
    arrivals.sort()
    heard = dict.fromkeys(range(hosts), 0.0)
    watch = BeatWatch(USUAL.beat_s, 0.0)
    blamed, stalls, read, now_s = [], 0, 0, 0.0
    while now_s < 3600:
        stalled = chance.random() < 0.01
        now_s += 8.0 * chance.random() if stalled else USUAL.beat_s
        held_up = watch.was_held_up(now_s)
        stalls += held_up
        for host in range(hosts):  # judged before what has arrived meanwhile is read, as a busy loop may do
            if verdict(Evidence(heard_at_s=heard[host]), now_s) is Verdict.AGENT_DEAD and not held_up:
                blamed.append((host, now_s))
        while read < len(arrivals) and arrivals[read][0] <= now_s:
            heard[arrivals[read][1]] = now_s
            read += 1
    assert stalls > 5
    assert blamed == []
