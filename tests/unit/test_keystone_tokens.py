"""What is remembered of Keystone's answers: how long, how much, and what happens while it does not answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alcor.contracts.identity import Identity, unauthorized
from alcor.management_plane.identity import keystone
from alcor.management_plane.identity.keystone import UNDER_WAY_MAX, UNREACHABLE, KeystoneTokens, Validated
from alcor.model import errors
from alcor.model.ids import ProjectId
from alcor.model.roles import Level
from alcor.runtime.event_log import SILENT

LIFE_S = 3600.0


class _Clock:
    now_s = 1000.0

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.now_s


class _Keystone:
    """Knows tokens until they are revoked or expire, counts questions, and can be away or slow."""

    url = "http://keystone.test/v3"

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self.asked = 0
        self.is_away = False
        self.is_broken = False
        self.revoked: set[str] = set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def validate(self, token: str) -> Validated:
        self.asked += 1
        await self.may_answer.wait()
        if self.is_away:
            raise errors.Unavailable("away", retry_after_s=1, reason=UNREACHABLE)
        if self.is_broken:
            raise errors.Unavailable("status 500", retry_after_s=1)
        if not token.startswith("good") or token in self.revoked:
            raise unauthorized("no")
        identity = Identity(ProjectId("blue"), token, ("member",), Level.MEMBER)
        return Validated(identity, int((1000.0 + LIFE_S) * 1_000_000))


class _World:
    def __init__(self) -> None:
        self.clock = _Clock()
        self.keystone = _Keystone(self.clock)
        self.source = KeystoneTokens(self.keystone, self.clock, SILENT)

    async def ask(self, token: str) -> Identity:
        """Do what the gate does."""
        headers = {"x-auth-token": token}
        known = self.source.known(headers)
        return known if known is not None else await self.source.identify(headers)

    async def settle(self) -> None:
        """Let questions beside requests be answered."""
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[_World]:
    made = _World()
    yield made
    made.keystone.may_answer.set()
    await made.source.close()


async def test_a_known_token_costs_keystone_nothing_for_a_minute_and_then_one_question(world: _World) -> None:
    for _ in range(100):
        assert (await world.ask("good")).user_id == "good"
    assert world.keystone.asked == 1
    world.clock.now_s += 61
    for _ in range(100):
        await world.ask("good")
    await world.settle()
    assert world.keystone.asked == 2
    await world.ask("good")
    assert world.keystone.asked == 2


async def test_many_requests_with_one_new_token_make_one_question(world: _World) -> None:
    world.keystone.may_answer.clear()
    requests = [asyncio.create_task(world.ask("good")) for _ in range(50)]
    await world.settle()
    requests[0].cancel()
    await world.settle()
    world.keystone.may_answer.set()
    await asyncio.gather(*requests[1:])
    assert world.keystone.asked == 1
    assert requests[0].cancelled()


async def test_a_revoked_token_ends_with_the_next_question(world: _World) -> None:
    await world.ask("good")
    world.keystone.revoked.add("good")
    world.clock.now_s += 59
    await world.ask("good")
    world.clock.now_s += 2
    await world.ask("good")  # asked beside it
    await world.settle()
    with pytest.raises(errors.Invalid):
        await world.ask("good")


async def test_a_token_that_was_not_used_for_long_waits_for_the_answer(world: _World) -> None:
    await world.ask("good")
    world.keystone.revoked.add("good")
    world.clock.now_s += 301
    with pytest.raises(errors.Invalid):
        await world.ask("good")


@pytest.mark.parametrize("age_s", [10, 61, 301, LIFE_S - 1])
async def test_while_keystone_is_away_a_known_token_goes_on(world: _World, age_s: float) -> None:
    await world.ask("good")
    world.keystone.is_away = True
    world.clock.now_s += age_s
    for _ in range(3):
        assert (await world.ask("good")).user_id == "good"
        await world.settle()


async def test_no_token_outlives_its_end_whether_keystone_answers_or_not(world: _World) -> None:
    await world.ask("good")
    world.clock.now_s += LIFE_S
    asked = world.keystone.asked
    for world.keystone.is_away in (False, True):
        with pytest.raises(errors.Invalid) as refused:
            await world.ask("good")
        assert refused.value.reason == "HTTPUnauthorized"
    assert world.keystone.asked == asked


async def test_while_keystone_is_away_unknown_tokens_wait_and_it_is_seldom_asked(world: _World) -> None:
    world.keystone.is_away = True
    for number in range(20):
        with pytest.raises(errors.Unavailable) as told:
            await world.ask(f"good-{number}")
        assert told.value.retry_after_s <= 2.0
    assert world.keystone.asked == 1
    world.keystone.is_away = False
    world.clock.now_s += 2.1
    await world.ask("good-0")
    await world.ask("good-1")
    assert world.keystone.asked == 3


async def test_one_token_that_keystone_fails_at_stops_nobody_else(world: _World) -> None:
    world.keystone.is_broken = True
    with pytest.raises(errors.Unavailable):
        await world.ask("strange")
    world.keystone.is_broken = False
    await world.ask("good")


async def test_questions_under_way_and_tokens_remembered_are_bounded(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystone, "KNOWN_MAX", 5)
    world.keystone.may_answer.clear()
    requests = [asyncio.create_task(world.ask(f"good-{number}")) for number in range(UNDER_WAY_MAX + 10)]
    await world.settle()
    assert world.keystone.asked == UNDER_WAY_MAX
    world.keystone.may_answer.set()
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert sum(isinstance(outcome, errors.Unavailable) for outcome in outcomes) == 10
    await world.settle()
    for number in range(20):
        await world.ask(f"good-more-{number}")
    world.keystone.asked = 0
    await world.ask("good-more-19")
    assert world.keystone.asked == 0
    await world.ask("good-more-0")
    assert world.keystone.asked == 1


async def test_what_is_no_token_is_not_asked_for(world: _World) -> None:
    for headers in ({}, {"x-auth-token": ""}, {"authorization": "Basic Z29vZDpnb29k"}, {"x-roles": "admin"}):
        assert world.source.known(headers) is None
        with pytest.raises(errors.Invalid):
            await world.source.identify(headers)
    assert world.keystone.asked == 0
