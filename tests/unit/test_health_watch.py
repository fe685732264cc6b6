"""Watching for silence: who is asked about, who is taken for dead and when. Time is given.

The last test is an hour of a loaded region in which nobody dies.
"""

import heapq
import random
from collections.abc import Callable, Mapping

import pytest

from alcor.contracts.agent_channel import BEAT_S, Channel
from alcor.contracts.memory_channel import MemoryChannel, pair
from alcor.control_plane.health import pace
from alcor.control_plane.health.watch import QUESTIONS_PER_TURN, TURN_S, Heard, Watch
from alcor.model.ids import HostId

NOBODY: Mapping[str, str] = {}


class HandClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.now_s


class Stream:
    """One session as it is watched."""

    def __init__(self, host: str, channel: Channel, path: str = "fast", rescuer: str = "") -> None:
        self.host = HostId(host)
        self.rescuer = HostId(rescuer)
        self.channel = channel
        self.last_heard_s = 0.0
        self.last_heard_at = 0
        self.path = path
        self.is_busy = False


class Scene:
    """A watch with `hosts` sessions. Keeps what it does."""

    def __init__(
        self,
        hosts: int = 1,
        *,
        path: str = "fast",
        helpers: int = 2,
        rescuers: Mapping[str, str] = NOBODY,
        datagrams: bool = False,
    ) -> None:
        """`rescuers`: who speaks for a host instead of its own agent. `datagrams`: beats come as these."""
        self.clock = HandClock()
        self.streams: dict[HostId, Heard] = {}
        self.asked: list[str] = []
        self.told: list[float] = []
        self.questioned: list[str] = []  # told again what they do already
        self.lost: list[tuple[str, str, float]] = []
        self.watch = Watch(self.clock, ask=self.asked.append, lost=self._lose, tell=self._tell)
        self.helpers = helpers
        for number in range(hosts):
            channel = pair()[0]
            channel.hears_datagrams = datagrams
            stream = Stream(f"h{number}", channel, path, rescuers.get(f"h{number}", ""))
            self.streams[stream.host] = stream
        self.watch.set_pace(helpers=helpers)
        for heard in self.streams.values():
            self.watch.came(heard)
        self.questioned.clear()

    def stream(self, host: str = "h0") -> Stream:
        stream = self.streams[HostId(host)]
        assert isinstance(stream, Stream)
        return stream

    def pass_s(self, seconds: float, each_turn: Callable[[], None] = lambda: None) -> None:
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s - 1e-9:
            self.clock.now_s += TURN_S
            each_turn()
            self.watch.turn(self.clock.now_s)

    def stall(self, seconds: float) -> None:
        """Take no turn for so long, and then one."""
        self.clock.now_s += seconds
        self.watch.turn(self.clock.now_s)

    def beat_for(self, seconds: float, every_s: float) -> None:
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s - 1e-9:
            for stream in list(self.streams.values()):
                self.watch.heard(stream, is_beat=True)
            self.pass_s(every_s)

    def _lose(self, session: Heard, reason: str) -> None:
        self.lost.append((session.host, reason, self.clock.now_s))
        del self.streams[session.host]
        self.watch.left(session.host)

    def _tell(self, session: Heard, beat_s: float) -> None:
        self.told.append(beat_s)
        self.questioned.append(session.host)


async def test_a_silent_agent_whose_data_plane_answers_is_dead_within_a_second_of_its_last_beat() -> None:
    scene = Scene()
    scene.beat_for(5.0, pace.QUICK_S)
    assert scene.asked == []
    hung_s = scene.clock.now_s - pace.QUICK_S  # the last beat
    scene.pass_s(0.4)
    assert scene.asked == ["h0"]
    scene.watch.answered(HostId("h0"), 0.02)
    scene.pass_s(0.4)
    assert [host for host, _, _ in scene.lost] == ["h0"]
    assert "while its data plane answers" in scene.lost[0][1]
    assert scene.lost[0][2] - hung_s < 1.0


async def test_without_an_answer_it_is_asked_once_and_taken_for_dead_after_a_long_silence() -> None:
    scene = Scene()
    scene.beat_for(2.0, pace.QUICK_S)
    scene.pass_s(3.0)
    assert (scene.asked, scene.lost) == (["h0"], [])
    scene.pass_s(0.5)
    assert len(scene.lost) == 1


async def test_a_beat_after_the_question_ends_the_suspicion_and_the_answer_counts_no_longer() -> None:
    scene = Scene()
    scene.beat_for(1.0, pace.QUICK_S)
    scene.pass_s(0.45)
    assert scene.asked == ["h0"]
    scene.watch.heard(scene.stream(), is_beat=True)
    scene.watch.answered(HostId("h0"), 0.02)
    scene.pass_s(0.5)
    assert scene.lost == []
    scene.pass_s(0.5)  # late again: asked anew, and without the new answer it is not dead
    assert (scene.asked, scene.lost) == (["h0", "h0"], [])


async def test_an_agent_whose_datagrams_may_be_lost_is_asked_on_its_stream_before_it_is_blamed() -> None:
    scene = Scene(hosts=2, datagrams=True)
    scene.beat_for(2.0, pace.QUICK_S)
    assert (scene.questioned, scene.asked) == ([], [])
    scene.pass_s(0.45)
    assert (scene.questioned, scene.asked) == (["h0", "h1"], ["h0", "h1"])
    for host in scene.asked:
        scene.watch.answered(HostId(host), 0.02)
    scene.watch.heard(scene.stream("h1"), is_beat=True)  # it lives: only its datagrams did not come
    scene.pass_s(0.4)
    assert [host for host, _, _ in scene.lost] == ["h0"]


async def test_a_word_after_the_question_ends_the_suspicion_though_the_loop_s_clock_is_behind() -> None:
    """Some loops tell the time when their turn began, in whole milliseconds: a beat seems to be of before."""
    scene = Scene(datagrams=True)
    scene.beat_for(2.0, pace.QUICK_S)
    while not scene.questioned:
        scene.pass_s(TURN_S)
    channel = scene.stream().channel
    assert isinstance(channel, MemoryChannel)
    channel.beat_at_s = scene.clock.now_s - TURN_S / 2
    scene.watch.answered(HostId("h0"), 0.02)
    scene.pass_s(0.9)
    assert scene.questioned == ["h0", "h0"]
    assert scene.lost == []


async def test_however_many_are_late_few_are_asked_at_once_and_none_is_blamed_unasked() -> None:
    hosts = 20 * QUESTIONS_PER_TURN
    scene = Scene(hosts=hosts, datagrams=True)
    scene.beat_for(2.0, pace.QUICK_S)
    answered, most, before = 0, 0, 0

    def each_turn() -> None:
        nonlocal answered, most, before
        for host in scene.asked[answered:]:
            scene.watch.answered(HostId(host), 0.01)
        answered = len(scene.asked)
        most, before = max(most, len(scene.questioned) - before), len(scene.questioned)
        assert {host for host, _, _ in scene.lost} <= set(scene.questioned)

    scene.pass_s(3.0, each_turn)
    assert most == QUESTIONS_PER_TURN
    assert len(scene.questioned) == len(set(scene.questioned)) == 2 * QUESTIONS_PER_TURN
    scene.pass_s(1.0)
    assert len(scene.lost) == hosts  # unasked, after the long silence


async def test_a_controller_that_was_held_up_suspects_nobody_before_it_has_read_what_came() -> None:
    scene = Scene(hosts=3, datagrams=True)
    scene.beat_for(2.0, pace.QUICK_S)
    scene.stall(2.0)
    scene.pass_s(0.1)
    assert (scene.questioned, scene.asked) == ([], [])
    scene.beat_for(1.0, pace.QUICK_S)
    assert (scene.questioned, scene.asked) == ([], [])


async def test_an_agent_that_was_given_much_to_do_is_waited_for() -> None:
    scene = Scene()
    scene.beat_for(1.0, pace.QUICK_S)
    scene.stream().is_busy = True
    scene.pass_s(0.45)
    scene.watch.answered(HostId("h0"), 0.02)
    scene.pass_s(2.5)
    assert scene.lost == []


async def test_a_controller_that_was_held_up_blames_nobody_for_it() -> None:
    scene = Scene()
    scene.beat_for(1.0, pace.QUICK_S)
    scene.pass_s(0.45)
    scene.watch.answered(HostId("h0"), 0.02)
    scene.stall(8.0)
    assert scene.lost == []
    scene.watch.heard(scene.stream(), is_beat=True)  # it had spoken meanwhile
    scene.beat_for(2.0, pace.QUICK_S)
    assert scene.lost == []


async def test_a_rescuer_is_not_judged_by_the_data_plane_that_it_writes_to() -> None:
    """It is on another machine: that one's load says nothing about this one's."""
    scene = Scene(hosts=2, rescuers={"h0": "h1"})
    scene.beat_for(2.0, pace.QUICK_S)
    talker = scene.stream("h1")
    scene.pass_s(2.0, lambda: scene.watch.heard(talker, is_beat=True))
    assert (scene.asked, scene.lost) == ([], [])
    scene.watch.answered(HostId("h0"), 0.01)
    scene.pass_s(1.0, lambda: scene.watch.heard(talker, is_beat=True))
    assert scene.lost == []
    scene.pass_s(0.6, lambda: scene.watch.heard(talker, is_beat=True))
    assert [host for host, _, _ in scene.lost] == ["h0"]


async def test_a_rescue_is_lost_with_the_neighbour_s_own_agent_which_is_the_same_process() -> None:
    scene = Scene(hosts=3, rescuers={"h0": "h1"})
    scene.beat_for(2.0, pace.QUICK_S)
    other = scene.stream("h2")
    scene.pass_s(0.45, lambda: scene.watch.heard(other, is_beat=True))
    assert scene.asked == ["h1"]
    scene.watch.answered(HostId("h1"), 0.01)
    scene.pass_s(0.4, lambda: scene.watch.heard(other, is_beat=True))
    assert [host for host, _, _ in scene.lost] == ["h1", "h0"]


async def test_where_nobody_can_help_a_beat_a_second_is_all_that_is_asked_for() -> None:
    scene = Scene(helpers=0)
    assert scene.told == []
    scene.beat_for(5.0, BEAT_S)
    assert (scene.asked, scene.lost) == ([], [])


async def test_an_agent_is_told_the_pace_and_expected_to_keep_it_from_then_on_only() -> None:
    scene = Scene(helpers=0)
    scene.beat_for(2.0, BEAT_S)
    scene.watch.set_pace(helpers=2)
    scene.pass_s(0.4)
    scene.watch.answered(HostId("h0"), 0.01)
    scene.pass_s(0.3)
    assert (scene.told, scene.lost) == ([pace.QUICK_S], [])


async def test_over_the_queue_a_quick_pace_is_expected_only_of_who_has_shown_it() -> None:
    scene = Scene(path="queue")
    scene.beat_for(30.0, 3.0)
    assert (scene.asked, scene.lost) == ([], [])
    scene.beat_for(3.0, pace.QUICK_S)
    assert scene.asked == []
    scene.pass_s(0.6)
    assert scene.asked == ["h0"]


async def test_work_is_proportional_to_those_that_are_due() -> None:
    scene = Scene(hosts=50)
    looked = 0
    before = scene.watch._look

    def count(*given: object, **named: object) -> None:
        nonlocal looked
        looked += 1
        before(*given, **named)  # type: ignore[arg-type]

    scene.watch._look = count  # type: ignore[method-assign]
    scene.beat_for(10.0, pace.QUICK_S)
    assert looked < 50 * 10 * 4  # a look for each beat's time, not for each turn


@pytest.mark.parametrize(("seed", "lost"), [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.05), (4, 0.3)])
async def test_nobody_is_blamed_in_an_hour_of_a_loaded_region(seed: int, lost: float) -> None:
    """Machines stall for up to 2.5 seconds with all that runs on them, and so does the controller.

    `lost`: so many of the datagrams that beats come as; 0: they come on streams.
    """
    chance = random.Random(seed)
    hosts = 20
    scene = Scene(hosts=hosts, rescuers={"h0": "h1", "h2": "h3", "h4": "h3"}, datagrams=lost > 0)
    machines = {0: 1, 2: 3, 4: 3}  # of who speaks for a host, if it is not its own
    stalled_until_s = dict.fromkeys(range(hosts), 0.0)
    events: list[tuple[float, int, int]] = [
        (100.0 + pace.QUICK_S * chance.random(), number, 1) for number in range(hosts)
    ]  # (when, host, 1: a beat is due; 0: one that a stall held up is sent)
    heapq.heapify(events)
    answers: list[tuple[float, str, float]] = []
    words: list[tuple[float, str]] = []  # on streams, by who is asked there
    questions = stalls = questioned = 0
    now_s = scene.clock.now_s
    while now_s < 100.0 + 3600:
        held_up = chance.random() < 0.001
        stalls += held_up
        now_s = scene.clock.now_s = now_s + (8.0 * chance.random() if held_up else TURN_S)
        if held_up and chance.random() < 0.5:
            scene.watch.turn(now_s)  # before what has arrived meanwhile is read, as a busy loop may do
        while events and events[0][0] <= now_s:
            due_s, number, is_due = heapq.heappop(events)
            machine = machines.get(number, number)
            if is_due and chance.random() < 0.002:
                stalled_until_s[machine] = due_s + 2.5 * chance.random()
            sent_s = max(due_s, stalled_until_s[machine])
            if sent_s > now_s:
                heapq.heappush(events, (sent_s, number, 0))
                continue
            if not lost or chance.random() >= lost:
                scene.watch.heard(scene.stream(f"h{number}"), is_beat=True)
            heapq.heappush(events, (sent_s + pace.QUICK_S + 0.1 * chance.random() ** 4, number, 1))
        scene.watch.turn(now_s)
        for host in scene.asked[questions:]:  # the witness is on the same machine, and stalls with it
            wait_s = max(0.0, stalled_until_s[int(host[1:])] - now_s) + 0.02
            if wait_s < 2.0:
                heapq.heappush(answers, (now_s + wait_s, host, wait_s))
        while answers and answers[0][0] <= now_s:
            _, host, wait_s = heapq.heappop(answers)
            scene.watch.answered(HostId(host), wait_s)
        questions = len(scene.asked)
        for host in scene.questioned[questioned:]:
            number = int(host[1:])
            heapq.heappush(words, (max(now_s, stalled_until_s[machines.get(number, number)]) + 0.01, host))
        questioned = len(scene.questioned)
        while words and words[0][0] <= now_s:
            scene.watch.heard(scene.stream(heapq.heappop(words)[1]), is_beat=True)
        assert scene.lost == [], f"at {now_s - 100:.1f} s"
    assert questions > 100
    assert bool(questioned) is bool(lost)
    assert stalls > 20
