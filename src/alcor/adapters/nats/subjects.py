"""Names on the queue. Host names may hold what a subject must not: dots, wildcards, spaces. Pure.

alcor.goal.<partition>.<host>.<section>     kept: the last value of each
alcor.goal.<partition>.<host>.index         kept: which sections those are, for who reads them later
alcor.goal.<partition>.<host>.tell.<n>      not kept: one token more
alcor.answer.<partition>.<host>.<session>   from agents
alcor.beat.<partition>                      to all agents
alcor.inbox.<partition>.<host>.<n>          what an agent asked the queue for
"""

import re
from functools import lru_cache

from alcor.model.goal_state import SectionKey
from alcor.model.ids import HostId

NAMES_KEPT_MAX = 65_536  # every message has a host's: with room for fewer than all, none is found again
KEPT = "alcor.goal.*.*.*"
STREAM = "ALCOR_GOAL"
GETS = f"$JS.API.DIRECT.GET.{STREAM}"
EVERY_HOST = "*"
_INDEX = "index"  # no section's: their names have a colon
_not_plain = re.compile(r"[^a-zA-Z0-9_-]")


def goal(partition: str, host: HostId, key: SectionKey) -> str:
    """Name the place of a host's section."""
    return f"alcor.goal.{partition}.{encoded(host)}.{encoded(key)}"


def index(partition: str, host: HostId) -> str:
    """Name the place of the list of a host's sections."""
    return f"alcor.goal.{partition}.{encoded(host)}.{_INDEX}"


def get(kept: str) -> str:
    """Name where the last value of a subject is asked for. Only this way of asking names whose it is."""
    return f"{GETS}.{kept}"


def inbox(partition: str, host: HostId) -> str:
    """Give what begins the names of a host's own answers."""
    return f"alcor.inbox.{partition}.{encoded(host)}"


def agent_may(partition: str, host: HostId | None) -> tuple[list[str], list[str]]:
    """Give what an agent publishes and what it subscribes to; host None: for every host."""
    token = EVERY_HOST if host is None else encoded(host)
    publishes = [f"alcor.answer.{partition}.{token}.*", f"{GETS}.alcor.goal.{partition}.{token}.*"]
    subscribes = [f"alcor.goal.{partition}.{token}.>", beat(partition), f"alcor.inbox.{partition}.{token}.>"]
    return publishes, subscribes


def tell(partition: str, host: HostId) -> str:
    """Name what is said to a host and not kept."""
    return f"alcor.goal.{partition}.{encoded(host)}.tell.now"


def to_host(partition: str, host: HostId) -> str:
    """Match all that is for a host."""
    return f"alcor.goal.{partition}.{encoded(host)}.>"


def beat(partition: str) -> str:
    """Name what is said to all agents."""
    return f"alcor.beat.{partition}"


def answer(partition: str, host: HostId, session: int) -> str:
    """Name what a host says in a session."""
    return f"alcor.answer.{partition}.{encoded(host)}.{session}"


def answers(partition: str) -> str:
    """Match what all hosts say."""
    return f"alcor.answer.{partition}.*.*"


def speaker(subject: str) -> tuple[HostId, int] | None:
    """Read the host and the session out of an answer's subject; None when it is none."""
    parts = subject.split(".")
    if len(parts) != 5 or not parts[4].isdigit():
        return None
    try:
        return HostId(decoded(parts[3])), int(parts[4])
    except ValueError:
        return None


@lru_cache(NAMES_KEPT_MAX)
def encoded(name: str) -> str:
    """Write any text as one token: what is not a letter, digit, - or _ becomes =XX of its UTF-8 bytes."""
    return _not_plain.sub(_escaped, name)


@lru_cache(NAMES_KEPT_MAX)
def decoded(token: str) -> str:
    """Give back the text of a token. Raises ValueError when nothing is encoded so."""
    found = bytearray()
    position = 0
    while position < len(token):
        if token[position] == "=":
            found.append(int(token[position + 1 : position + 3], 16))
            position += 3
        else:
            found += token[position].encode()
            position += 1
    return found.decode()


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in found[0].encode())
