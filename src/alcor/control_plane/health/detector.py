"""What has become of a host: a verdict with its reason in words, from what was seen of it. Pure.

    stream open, beats come                       alive
    a beat is late, or the stream ended just now  suspected; a neighbour asks the data plane of a silent one
    two beats are missed, and it answers at once  agent dead: the machine is not at fault
    no stream after the grace, or long silent     agent dead; a neighbour asks the data plane
        ... which answers                         the neighbour writes for it
        ... which does not                        host gone
    many hosts of a zone at the same time         the controller is cut off, not they

An ended stream is strong evidence: the kernel ends it when the process dies. Silence is weak, because a loaded
machine is silent too: it counts early only with a second witness, a data plane on the same machine that
answers a neighbour without delay. An agent that was given much to do may be silent for longer all the same. A
controller that was held up itself has not read what agents said meanwhile, and blames nobody (`BeatWatch`).
"""

from enum import Enum

import msgspec

from alcor.contracts.agent_channel import BEAT_S, SILENCE_S


class Verdict(Enum):
    """What is held of a host."""

    ALIVE = "alive"
    SUSPECTED = "suspected"
    AGENT_DEAD = "agent dead"
    HOST_GONE = "host gone"
    CUT_OFF = "cut off"


class DetectorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When is what held for true. Times in seconds."""

    # From here on an agent is suspected, which costs a question to a neighbour: the later of both.
    late_s: float = 0.5
    late_beats: float = 1.5
    # From here on it is taken for dead if its data plane answers: the later of both. Two beats are missed.
    quiet_s: float = 0.8
    quiet_beats: float = 2.1
    quick_answer_s: float = 0.2  # a data plane that takes longer is no witness: its machine is loaded
    silence_s: float = SILENCE_S  # without a witness
    grace_s: float = 0.4  # a stream that ended may be back: connecting again takes 0.1 s
    start_grace_s: float = 10.0  # after a controller's start all agents connect anew, spread over seconds
    cut_off_hosts_min: int = 5
    cut_off_share: float = 0.5
    cut_off_s: float = 10.0  # so long many losses at once are our own; then neighbours are asked anyway


USUAL = DetectorSettings()
LATE_TURN_S = 0.25  # an idle loop is late by milliseconds


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one host's own agent. Times: monotonic seconds.

    `left_at_s` None: its stream is open. `no_answer`: what the neighbour met that asked the data plane last.
    `beat_s`: how often it is to beat. `answer_s`: how long its data plane took to answer a neighbour since it
    is suspected; None: it did not. `is_busy`: it was given much to do, and has not answered yet.
    """

    heard_at_s: float
    beat_s: float = BEAT_S
    answer_s: float | None = None
    is_busy: bool = False
    left_at_s: float | None = None
    left_reason: str = ""
    grace_s: float = 0.0
    no_answer: str = ""


class Surroundings(msgspec.Struct, frozen=True):
    """The host's zone: how many hosts it has, and how many were lost lately (within `cut_off_s`)."""

    hosts: int
    lost_lately: int


class Judgement(msgspec.Struct, frozen=True):
    """A verdict and why."""

    verdict: Verdict
    reason: str


def judge(
    evidence: Evidence, around: Surroundings, now_s: float, settings: DetectorSettings = USUAL
) -> Judgement:
    """Say what has become of a host."""
    if evidence.left_at_s is None:
        return _judge_connected(evidence, now_s, settings)
    away_s = now_s - evidence.left_at_s
    if _is_cut_off(around, settings):
        return Judgement(
            Verdict.CUT_OFF,
            f"{around.lost_lately} of the {around.hosts} hosts of its zone were lost at the same time: "
            "the controller is cut off from them",
        )
    if away_s < evidence.grace_s:
        return Judgement(Verdict.SUSPECTED, f"its stream ended: {evidence.left_reason}")
    if evidence.no_answer:
        return Judgement(
            Verdict.HOST_GONE,
            f"its agent is dead ({evidence.left_reason}), and so is its data plane: {evidence.no_answer}",
        )
    return Judgement(Verdict.AGENT_DEAD, f"its agent is dead: {evidence.left_reason}")


def late_after_s(beat_s: float, settings: DetectorSettings = USUAL) -> float:
    """Give how long an agent may be quiet that is to beat every `beat_s`, before it is suspected."""
    return max(settings.late_s, settings.late_beats * beat_s)


def quiet_after_s(beat_s: float, settings: DetectorSettings = USUAL) -> float:
    """Give how long it must be quiet to be taken for dead when its data plane answers."""
    return max(settings.quiet_s, settings.quiet_beats * beat_s)


def silent_after_s(beat_s: float, settings: DetectorSettings = USUAL) -> float:
    """Give how long it must be quiet to be taken for dead without a witness."""
    return settings.silence_s * max(1.0, beat_s / BEAT_S)


class BeatWatch:
    """Tells whether the watcher itself was held up since its last turn. Owner of that moment."""

    def __init__(self, turn_s: float, now_s: float) -> None:
        self._turn_s = turn_s
        self._turn_at_s = now_s

    def was_held_up(self, now_s: float) -> bool:
        """Take a turn: one is due every `turn_s`."""
        held_up = now_s - self._turn_at_s > self._turn_s + LATE_TURN_S
        self._turn_at_s = now_s
        return held_up


def _judge_connected(evidence: Evidence, now_s: float, settings: DetectorSettings) -> Judgement:
    quiet_s = now_s - evidence.heard_at_s
    if quiet_s > silent_after_s(evidence.beat_s, settings):
        return Judgement(Verdict.AGENT_DEAD, f"its agent has been silent for {quiet_s:.1f} s")
    has_witness = evidence.answer_s is not None and evidence.answer_s <= settings.quick_answer_s
    if has_witness and not evidence.is_busy and quiet_s > quiet_after_s(evidence.beat_s, settings):
        return Judgement(
            Verdict.AGENT_DEAD,
            f"its agent has been silent for {quiet_s:.1f} s while its data plane answers",
        )
    if quiet_s > late_after_s(evidence.beat_s, settings):
        return Judgement(Verdict.SUSPECTED, f"its agent was heard {quiet_s:.1f} s ago")
    return Judgement(Verdict.ALIVE, "its agent is heard")


def _is_cut_off(around: Surroundings, settings: DetectorSettings) -> bool:
    return (
        around.lost_lately >= settings.cut_off_hosts_min
        and around.lost_lately >= settings.cut_off_share * around.hosts
    )
