"""Which neighbour writes for a host whose agent is dead. Pure."""

from collections.abc import Iterable

import msgspec

from alcor.model.ids import HostId

RESCUES_MAX = 2  # at once by one neighbour
FORGET_FAILURE_S = 60.0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A host with a living agent that can help. Times: monotonic seconds; None: never."""

    host: HostId
    zone: str
    rescues: int  # that it carries out
    ports: int
    failed_at_s: float | None = None  # for the host in question
    succeeded_at_s: float | None = None  # for any


class Choice(msgspec.Struct, frozen=True):
    """Who, or nobody, and why."""

    host: HostId | None
    reason: str


def choose(zone: str, candidates: Iterable[Candidate], now_s: float) -> Choice:
    """Choose: who has not failed lately, of the same zone, with little to do, who has succeeded before."""
    able = [one for one in candidates if one.rescues < RESCUES_MAX]
    if not able:
        return Choice(None, "no neighbour with a living agent can help")
    best = min(able, key=lambda one: _rank(one, zone, now_s))
    place = f"of its zone '{zone}'" if best.zone == zone else f"of zone '{best.zone}'"
    return Choice(best.host, f"{place}, {best.rescues} other rescues, {best.ports} ports")


def _rank(one: Candidate, zone: str, now_s: float) -> tuple[bool, float, bool, int, bool, int, HostId]:
    failed = one.failed_at_s is not None and now_s - one.failed_at_s < FORGET_FAILURE_S
    # Of those that failed, the one whose failure is the longest ago: so that all of them have their turn.
    failure = one.failed_at_s if failed and one.failed_at_s is not None else 0.0
    return (
        failed,
        failure,
        one.zone != zone,
        one.rescues,
        one.succeeded_at_s is None,
        one.ports,
        one.host,
    )
