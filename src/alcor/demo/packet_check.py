"""Tries every pair of endpoints and compares with what the tenants' rules say."""

from collections.abc import Sequence

import msgspec

from alcor.demo import scenario
from alcor.demo.hosts import DemoHosts
from alcor.demo.results import Packets
from alcor.demo.scenario import Attempt, Endpoint


async def attempt_all(
    hosts: DemoHosts, endpoints: Sequence[Endpoint], *, beside: Sequence[Endpoint] = (), rounds: int = 1
) -> Packets:
    """Try all of them with each other; what must reach and does not has so many rounds.

    `beside`: what is plugged too, and may answer where the tenants' addresses are the same.
    More than one round is for moments in which agents start: on a busy machine they take the processor from
    the switches. What must be refused is never tried again.
    """
    attempts = list(scenario.attempts(endpoints, beside))
    expected = [scenario.may_reach(attempt) for attempt in attempts]
    seen = await hosts.attempt(attempts)
    for _ in range(rounds - 1):
        missed = [index for index, wanted in enumerate(expected) if wanted and not seen[index]]
        answers = await hosts.attempt([attempts[index] for index in missed]) if missed else []
        for index, answer in zip(missed, answers, strict=True):
            seen[index] = answer
    outcomes = list(zip(attempts, expected, seen, strict=True))
    ipv6 = _counted([each for each in outcomes if each[0].version == 6])
    return msgspec.structs.replace(_counted(outcomes), ipv6=ipv6)


def _counted(outcomes: Sequence[tuple[Attempt, bool, bool]]) -> Packets:
    wrong = tuple(
        f"{attempt.words}: {'must reach but does not' if wanted else 'must be refused but arrives'}"
        for attempt, wanted, reached in outcomes
        if wanted != reached
    )
    expected_reach = sum(wanted for _, wanted, _ in outcomes)
    return Packets(
        pairs=len(outcomes),
        expected_reach=expected_reach,
        reached=sum(wanted and reached for _, wanted, reached in outcomes),
        expected_blocked=len(outcomes) - expected_reach,
        blocked=sum(not wanted and not reached for _, wanted, reached in outcomes),
        wrong=wrong,
    )


def joined(one: Packets, other: Packets) -> Packets:
    """Add two checks up."""
    return Packets(
        pairs=one.pairs + other.pairs,
        expected_reach=one.expected_reach + other.expected_reach,
        reached=one.reached + other.reached,
        expected_blocked=one.expected_blocked + other.expected_blocked,
        blocked=one.blocked + other.blocked,
        wrong=(*one.wrong, *other.wrong),
        ipv6=joined(one.ipv6, other.ipv6) if one.ipv6 is not None and other.ipv6 is not None else None,
    )
