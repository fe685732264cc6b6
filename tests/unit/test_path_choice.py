"""Which path is chosen, and the sentence that says why."""

import pytest

from alcor.contracts.queue import QueueState
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.path_choice import Asked, Place, StreamState
from alcor.host_agent import session
from alcor.host_agent.settings import AgentTiming

ONE, FAST, BULK = Asked(False, 1), Asked(True, 1), Asked(False, 1000)
UP, DOWN, CONGESTED = StreamState(True), StreamState(False), StreamState(True, is_congested=True)
RESCUED = StreamState(True, by_rescuer="neighbour")
NO_QUEUE = Place(None)
HEARD = Place(QueueState(True), is_offered=True, is_heard=True)
AWAY = Place(QueueState(True), is_offered=True)
NEVER_THERE = Place(QueueState(True))
FULL = Place(QueueState(True, is_full=True, reason="the queue keeps no more"), is_offered=True)
LOST = Place(QueueState(False, reason="it was killed"), is_offered=True)
HEARD_WHILE_FULL = Place(QueueState(True, is_full=True), is_offered=True, is_heard=True)


@pytest.mark.parametrize(
    ("asked", "stream", "place", "path", "words"),
    [
        (ONE, UP, NO_QUEUE, "fast", "stream is up"),
        (ONE, UP, AWAY, "fast", "stream is up"),
        (FAST, UP, AWAY, "fast", "asked for"),
        (FAST, CONGESTED, AWAY, "fast", "asked for"),
        (BULK, UP, AWAY, "fast", "1000 hosts goes in turns"),
        (BULK, CONGESTED, AWAY, "fast", "congested"),
        (ONE, DOWN, HEARD, "queue", "answers over the queue."),
        (FAST, DOWN, HEARD, "queue", "although the fast path is asked for"),
        (ONE, DOWN, HEARD_WHILE_FULL, "queue", "answers over the queue"),
        (ONE, DOWN, AWAY, "queue", "keeps the newest until it is back"),
        (ONE, DOWN, FULL, "none", "the queue keeps no more"),
        (ONE, DOWN, LOST, "none", "so is the queue (it was killed)"),
        (ONE, DOWN, NEVER_THERE, "none", "no place at the queue"),
        (ONE, DOWN, NO_QUEUE, "none", "no place at the queue"),
        (ONE, RESCUED, AWAY, "rescue", "'neighbour' writes for it"),
    ],
)
def test_the_path_and_its_reason_follow_from_what_is_seen(
    asked: Asked, stream: StreamState, place: Place, path: str, words: str
) -> None:
    choice = path_choice.choose(asked, stream, place)
    assert choice.path == path
    assert words in choice.reason
    assert choice.reason.endswith(".")


def test_when_nothing_is_there_the_reason_says_who_keeps_it() -> None:
    for place in (FULL, LOST, NEVER_THERE, NO_QUEUE):
        assert "the ledger keeps it" in path_choice.choose(ONE, DOWN, place).reason


def test_a_stream_that_lasted_is_trusted_at_once_again() -> None:
    timing = AgentTiming(steady_s=5.0)
    assert session.next_attempt(7, lasted_s=5.0, is_welcomed=True, timing=timing) == 1


def test_to_a_stream_that_ends_soon_the_agent_returns_more_and_more_slowly() -> None:
    timing = AgentTiming(steady_s=5.0, reconnect_min_s=0.1, reconnect_max_s=5.0)
    attempt, ceilings = 1, []
    for _ in range(5):
        attempt = session.next_attempt(attempt, lasted_s=0.3, is_welcomed=True, timing=timing)
        ceilings.append(min(5.0, 0.1 * 2 ** (attempt - 1)))
    assert ceilings == sorted(ceilings)
    assert ceilings[-1] > 8 * ceilings[0]


def test_a_stream_without_welcome_is_not_trusted_however_long_it_lasted() -> None:
    assert session.next_attempt(2, lasted_s=60.0, is_welcomed=False, timing=AgentTiming()) == 3
