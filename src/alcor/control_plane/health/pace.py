"""How often agents beat: as often as noticing a hung one within a second takes, within a budget of beats. Pure.

Quick beats serve the rescue alone. Where no neighbour could help, one a second is enough.
"""

from alcor.contracts.agent_channel import BEAT_S

QUICK_S = 0.25
BEATS_PER_S = 11_000  # of all agents of a controller, as datagrams: decision 30 says what they cost
QUEUE_BEATS_PER_S = 2_000  # each is a message through the queue's server, and costs ten times as much
STEP_S = 0.05  # hosts come and go: agents are told a new pace at steps only
EASE = 0.8  # and of a quicker one only when it is quicker by so much


def beat_s(now_s: float, *, hosts: int, helpers: int, beats_per_s: int = BEATS_PER_S) -> float:
    """Give the time between two beats of an agent. `now_s`: the time that holds now.

    `hosts`: that are heard. `helpers`: neighbours that can rescue; one cannot help itself.
    """
    affordable_s = hosts / beats_per_s
    if helpers < 2:
        wanted_s = max(BEAT_S, affordable_s)
    else:
        steps = -(-max(QUICK_S, affordable_s) // STEP_S)
        wanted_s = round(steps * STEP_S, 3)
    return wanted_s if wanted_s > now_s or wanted_s <= EASE * now_s else now_s
